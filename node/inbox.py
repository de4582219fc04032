"""Messages that wait for the replica. One law: each neighbour waits in a queue of its own, and the queues take turns.

So whoever floods waits for itself: the next message of everybody else is never more than a turn away. A neighbour is
known by the connection that a message came by; who wrote the message is for the replica to find out.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

LETTERS_MAX: Final = 4_096
"""Of one neighbour; beyond that the newest is dropped, since whoever sent it says it again."""

BYTES_MAX: Final = 2 << 20
"""Of one neighbour; a single message may always wait."""


NEIGHBOUR_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Letter:
    """One message."""

    via: bytes
    """The account it is on; it begins with the neighbour it came by, and so does its place in the queue."""

    is_own: bool
    """Whether that neighbour says that the words are its own."""

    data: bytes


class Inbox:
    """One bounded queue a neighbour."""

    def __init__(self) -> None:
        self._queues: Final[OrderedDict[bytes, deque[Letter]]] = OrderedDict()
        self._bytes: Final[dict[bytes, int]] = {}

    @property
    def size_bytes(self) -> int:
        """Bytes of all messages that wait."""
        return sum(self._bytes.values())

    def __bool__(self) -> bool:
        """Tell whether anything waits."""
        return bool(self._queues)

    def put(self, letter: Letter) -> bool:
        """Queue a message; False when its neighbour has too many waiting."""
        via = letter.via[:NEIGHBOUR_BYTES]
        queue, held = self._queues.get(via), self._bytes.get(via, 0)
        if queue and (len(queue) >= LETTERS_MAX or held + len(letter.data) > BYTES_MAX):
            return False
        if queue is None:
            queue = self._queues[via] = deque()
        queue.append(letter)
        self._bytes[via] = held + len(letter.data)
        return True

    def take(self) -> Letter | None:
        """Return the next message: the oldest of the neighbour whose turn it is."""
        if not self._queues:
            return None
        via, queue = next(iter(self._queues.items()))
        letter = queue.popleft()
        self._bytes[via] -= len(letter.data)
        if queue:
            self._queues.move_to_end(via)
        else:
            del self._queues[via], self._bytes[via]
        return letter
