"""Votes of one height, in slots that are there from the start. One law: a member counts once per view and block.

Each member has a fixed number of slots for each kind, the highest views stay. A liar can therefore displace its own
votes only.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from consensus.messages import Commit, Prepare
from ledger.certificate import QuorumCertificate, Seal, make_certificate
from ledger.digest import Digest
from ledger.fields import Height, View

VIEWS_PER_MEMBER_MAX: Final = 4
"""Views whose votes of one kind are kept for a member."""

VoteT = TypeVar("VoteT", Prepare, Commit)


class VoteBook(Generic[VoteT]):
    """Verified votes of one kind at one height."""

    def __init__(self, height: Height, members: int) -> None:
        """Make room for the votes of `members` validators."""
        self._height: Final = height
        self._slots: Final[tuple[dict[View, VoteT], ...]] = tuple({} for _ in range(members))

    def find(self, validator: int, view: View) -> VoteT | None:
        """Return the member's vote in this view, or None."""
        return self._slots[validator].get(view)

    def of(self, validator: int) -> tuple[VoteT, ...]:
        """Return the member's votes that are kept."""
        return tuple(self._slots[validator].values())

    def has_room(self, validator: int, view: View) -> bool:
        """Tell whether a vote in this view would be kept."""
        slots = self._slots[validator]
        return len(slots) < VIEWS_PER_MEMBER_MAX or view > min(slots)

    def add(self, vote: VoteT) -> None:
        """Keep a verified vote; the first one a member casts in a view stays."""
        slots = self._slots[vote.seal.validator]
        if vote.view in slots or not self.has_room(vote.seal.validator, vote.view):
            return
        if len(slots) == VIEWS_PER_MEMBER_MAX:
            del slots[min(slots)]
        slots[vote.view] = vote

    def seals(self, view: View, block_id: Digest) -> list[Seal]:
        """Return the seals for this block in this view, one a member, in ascending order of member."""
        found = (slots.get(view) for slots in self._slots)
        return [vote.seal for vote in found if vote is not None and vote.block_id == block_id]

    def certificate(self, view: View, block_id: Digest, quorum: int) -> QuorumCertificate | None:
        """Return the certificate for this block in this view, when `quorum` members voted for it."""
        seals = self.seals(view, block_id)
        return make_certificate(self._height, view, block_id, seals) if len(seals) >= quorum else None

    def voters(self) -> set[int]:
        """Return the members of whom any vote is known."""
        return {member for member, slots in enumerate(self._slots) if slots}
