"""What others said about heights this replica has not reached. One law: every slot is there from the start.

A few verified messages are kept, so that a replica that is a moment late loses nothing; the highest height each member
has been seen at tells whether blocks are missing and who has them.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from consensus.messages import Commit, Prepare, PrePrepare, ViewChange
from ledger.fields import Height
from ledger.identity import PublicKey
from ledger.validators import ValidatorSet

HEIGHTS_AHEAD_MAX: Final = 2
"""Messages for heights further ahead are not kept."""

FETCH_HEIGHTS_MAX: Final = 4_096
"""Blocks asked for at a time; the driver fetches and hands them on in parts, so that they are never all in memory."""

Early: TypeAlias = PrePrepare | Prepare | Commit | ViewChange
_ORDER: Final[tuple[type[Early], ...]] = (PrePrepare, Prepare, Commit, ViewChange)


class EarlyMessages:
    """One slot for each of the next heights, each kind and each member."""

    def __init__(self) -> None:
        """Begin with empty slots."""
        self._slots: Final[dict[tuple[Height, type[Early], int], Early]] = {}

    def __len__(self) -> int:
        """Return how many slots are in use."""
        return len(self._slots)

    def wants(self, height: Height, message: Early, sender: int) -> bool:
        """Tell whether this message would be kept for later, seen from `height`."""
        if message.height > height + HEIGHTS_AHEAD_MAX:
            return False
        known = self._slots.get((message.height, type(message), sender))
        return known is None or message.view > known.view

    def keep(self, message: Early, sender: int) -> None:
        """Keep a verified message of a member that is wanted, instead of its earlier one."""
        self._slots[message.height, type(message), sender] = message

    def take(self, height: Height) -> list[Early]:
        """Return what was kept for `height`, proposals first, and forget what is not above it."""
        due = [(key, message) for key, message in self._slots.items() if key[0] <= height]
        for key, _ in due:
            del self._slots[key]
        now = [(key, message) for key, message in due if key[0] == height]
        now.sort(key=lambda item: (_ORDER.index(item[0][1]), item[0][2]))
        return [message for _, message in now]


class Heights:
    """The highest height at which each member has been seen, by its own signature; outlives changes of the set."""

    def __init__(self, validators: ValidatorSet) -> None:
        """Make room for each member."""
        self._seen: dict[PublicKey, Height] = {}
        self._proven = Height(0)
        self._attempts = 0
        self.turn_to(validators)

    def turn_to(self, validators: ValidatorSet) -> None:
        """Look at these members from now on; what is known of those who stay is kept."""
        self._one_honest = validators.faulty_max + 1
        self._keys = [member.public_key for member in validators.members]
        self._seen = {key: self._seen.get(key, Height(0)) for key in self._keys}

    def see(self, key: PublicKey, height: Height) -> None:
        """Note that a member says that it works on `height`; who is no member is not noted."""
        if key in self._seen:
            self._seen[key] = max(self._seen[key], height)

    def prove(self, height: Height) -> None:
        """Note that a verified commit certificate makes blocks below `height` final."""
        self._proven = max(self._proven, height)

    def seen(self, key: PublicKey) -> Height:
        """Return the highest height the holder of a key has been seen at."""
        return self._seen.get(key, Height(0))

    def goal(self) -> Height:
        """Return the height that others have truly reached: proven, or said by one honest member at least."""
        said = sorted(self._seen.values(), reverse=True)[self._one_honest - 1]
        return max(self._proven, said)

    def claimed(self) -> Height:
        """Return the highest height that any member says, true or not."""
        return max(self._seen.values())

    def sources(self, height: Height) -> tuple[int, ...]:
        """Return the members above `height`, those further ahead first, beginning with another one each time."""
        seen = [self._seen[key] for key in self._keys]
        above = [member for member, reached in enumerate(seen) if reached > height]
        above.sort(key=lambda member: (-seen[member], member))
        self._attempts += 1
        start = self._attempts % len(above) if above else 0
        return tuple(above[start:] + above[:start])
