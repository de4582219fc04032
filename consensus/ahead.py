"""What others said about heights this replica has not reached. One law: every slot is there from the start.

A few verified messages are kept, so that a replica that is a moment late loses nothing; the highest height each member
has been seen at tells from whom blocks can be fetched.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from consensus.messages import Commit, Prepare, PrePrepare, ViewChange
from ledger.fields import Height

HEIGHTS_AHEAD_MAX: Final = 2
"""Messages for heights further ahead are not kept."""

FETCH_HEIGHTS_MAX: Final = 256
"""Blocks asked for at a time."""

Early: TypeAlias = PrePrepare | Prepare | Commit | ViewChange
_ORDER: Final[tuple[type[Early], ...]] = (PrePrepare, Prepare, Commit, ViewChange)


class Ahead:
    """Slots for messages of the next heights, and the height each member has been seen at."""

    def __init__(self, members: int) -> None:
        """Make room for the words of `members` validators."""
        self._members: Final = members
        self._heights: Final[list[Height]] = [Height(0)] * members
        self._slots: Final[dict[tuple[Height, type[Early], int], Early]] = {}
        self._attempts = 0

    def wants(self, height: Height, message: Early, sender: int) -> bool:
        """Tell whether this message would be kept for later, seen from `height`."""
        if message.height > height + HEIGHTS_AHEAD_MAX:
            return False
        known = self._slots.get((message.height, type(message), sender))
        return known is None or message.view > known.view

    def keep(self, message: Early, sender: int) -> None:
        """Keep a verified message that is wanted, instead of the sender's earlier one."""
        self._slots[message.height, type(message), sender] = message

    def take(self, height: Height) -> list[Early]:
        """Return what was kept for `height`, proposals first, and forget what is not above it."""
        due = [(key, message) for key, message in self._slots.items() if key[0] <= height]
        for key, _ in due:
            del self._slots[key]
        now = [(key, message) for key, message in due if key[0] == height]
        now.sort(key=lambda item: (_ORDER.index(item[0][1]), item[0][2]))
        return [message for _, message in now]

    def see(self, member: int, height: Height) -> None:
        """Note that a member, by its own signature, works on `height`."""
        self._heights[member] = max(self._heights[member], height)

    def seen(self, member: int) -> Height:
        """Return the highest height the member has been seen at."""
        return self._heights[member]

    def is_behind(self, height: Height) -> bool:
        """Tell whether any member has been seen above `height`."""
        return max(self._heights) > height

    def sources(self, height: Height) -> tuple[int, ...]:
        """Return the members that are above `height`, those further ahead first, a different one first each time."""
        above = [member for member in range(self._members) if self._heights[member] > height]
        above.sort(key=lambda member: (-self._heights[member], member))
        self._attempts += 1
        start = self._attempts % len(above) if above else 0
        return tuple(above[start:] + above[:start])

    def target(self, height: Height) -> Height:
        """Return the highest block worth asking for, seen from `height`."""
        highest = max((seen for seen in self._heights), default=height)
        return Height(min(highest - 1, height + FETCH_HEIGHTS_MAX - 1))
