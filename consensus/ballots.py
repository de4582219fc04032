"""Counting votes. One law: a vote is verified before it counts, and a second one in a view is evidence."""

from __future__ import annotations

from typing import Final

from consensus.committee import Committee
from consensus.events import DropReason, Evidence
from consensus.messages import (
    Commit,
    Prepare,
    PreparedClaim,
    PrePrepare,
    ViewChange,
    ViewChangeCertificate,
    Vote,
    encode_message,
)
from consensus.outbox import Outbox
from consensus.view_change import ViewChangeBook, require_view_change, require_view_change_certificate
from consensus.voter import Voter
from consensus.votes import VoteBook
from ledger.certificate import PREPARE, CertificateError, QuorumCertificate
from ledger.evidence import forgets
from ledger.fields import Height, View


class Ballots:
    """The PREPAREs, COMMITs and VIEW-CHANGEs of one height."""

    def __init__(self, committee: Committee, height: Height, voter: Voter, outbox: Outbox) -> None:
        """Begin with none.

        Args:
            committee: whose votes count.
            height: the height.
            voter: this replica's own voice; loses it when somebody else has it too.
            outbox: takes what is dropped, and evidence.
        """
        self.prepares: Final[VoteBook[Prepare]] = VoteBook(height, len(committee))
        self.commits: Final[VoteBook[Commit]] = VoteBook(height, len(committee))
        self.changes: Final = ViewChangeBook(height, len(committee))
        self._committee: Final = committee
        self._voter: Final = voter
        self._outbox: Final = outbox

    def voters(self) -> set[int]:
        """Return the members that are known to have said anything at this height."""
        return self.prepares.voters() | self.commits.voters() | self.changes.senders()

    def count_prepare(self, vote: Prepare) -> bool:
        """Count a PREPARE that came from the network; tell whether it was new."""
        if not self._may_count(vote, self.prepares, self._voter.last_prepare()):
            return False
        self.prepares.add(vote)
        self._compare_kinds(vote, self.commits)
        return True

    def count_commit(self, vote: Commit) -> bool:
        """Count a COMMIT that came from the network; tell whether it was new."""
        if not self._may_count(vote, self.commits, self._voter.last_commit()):
            return False
        self.commits.add(vote)
        self._compare_kinds(vote, self.prepares)
        change = self.changes.highest(vote.seal.validator)
        if change is not None:
            self._compare_claim(vote, change)
        return True

    def count_proposal(self, message: PrePrepare) -> None:
        """Count the PREPARE in an accepted proposal, whose seal has been verified."""
        vote = Prepare(message.height, message.view, message.block.id, message.seal)
        if vote.seal.validator == self._committee.me:
            self._voter.lose(vote.height, "a proposal")
        self._compare_kinds(vote, self.prepares)
        self._compare_kinds(vote, self.commits)
        self.prepares.add(vote)

    def judge_second_proposal(self, message: PrePrepare, primary: int) -> None:
        """Look at a proposal for a view that has one: the same again, or evidence against the primary."""
        vote = Prepare(message.height, message.view, message.block.id, message.seal)
        known = self.prepares.find(primary, vote.view)
        if vote.seal.validator != primary or known is None or known.block_id == vote.block_id:
            self._outbox.drop(message, vote.seal.validator, DropReason.DUPLICATE)
        else:
            self._judge_second(known, vote)

    def count_view_change(self, message: ViewChange, view: View) -> bool:
        """Count a VIEW-CHANGE that came from the network while in `view`; tell whether it was new."""
        sender = message.claim.seal.validator
        reason = self._why_not(message, view)
        if reason is not None:
            self._outbox.drop(message, sender, reason)
            return False
        try:
            require_view_change(self._committee, message)
        except CertificateError as error:
            self._outbox.drop(message, sender, DropReason.BAD_CERTIFICATE, str(error))
            return False
        if sender == self._committee.me:
            self._voter.lose(message.height, f"a VIEW-CHANGE to {message.view}")
            return False
        known = self.changes.highest(sender)
        if known is not None and known.view == message.view:
            self._outbox.add(Evidence(sender, encode_message(known), encode_message(message)))
            return False
        self.changes.add(message)
        for vote in self.commits.of(sender):
            self._compare_claim(vote, message)
        if message.certificate is not None:
            self.compare_certificate(PREPARE, message.certificate)
        return True

    def compare_certificate(self, kind: str, certificate: QuorumCertificate) -> None:
        """Look whether anybody signed something else in this view than a verified certificate shows."""
        for seal in certificate.seals:
            vote_type = Prepare if kind == PREPARE else Commit
            shown = vote_type(certificate.height, certificate.view, certificate.block_id, seal)
            for book in (self.prepares, self.commits):
                self._compare(book.find(seal.validator, shown.view), shown)

    def accept_certificate(self, certificate: ViewChangeCertificate, view: View) -> bool:
        """Check what came from the network to open a view, while in `view`; tell whether it does."""
        if certificate.view <= view:
            self._outbox.drop(certificate, None, DropReason.STALE)
            return False
        try:
            require_view_change_certificate(self._committee, certificate, self.changes)
        except CertificateError as error:
            self._outbox.drop(certificate, None, DropReason.BAD_CERTIFICATE, str(error))
            return False
        return True

    def _why_not(self, message: ViewChange, view: View) -> DropReason | None:
        sender = message.claim.seal.validator
        if sender >= len(self._committee):
            return DropReason.NOT_A_MEMBER
        known = self.changes.highest(sender)
        if message.view <= view or (known is not None and message.view < known.view):
            return DropReason.STALE
        is_same = known is not None and (message.view, message.claim) == (known.view, known.claim)
        return DropReason.DUPLICATE if is_same else None

    def _may_count(self, vote: Vote, book: VoteBook[Prepare] | VoteBook[Commit], own: Vote | None) -> bool:
        sender = vote.seal.validator
        if sender >= len(self._committee):
            self._outbox.drop(vote, sender, DropReason.NOT_A_MEMBER)
            return False
        known = book.find(sender, vote.view)
        if known is not None and known.block_id != vote.block_id:
            self._judge_second(known, vote)
            return False
        is_mine = sender == self._committee.me
        is_old = not book.has_room(sender, vote.view) or (is_mine and own is not None and vote.view < own.view)
        if known is not None or is_old:
            self._outbox.drop(vote, sender, DropReason.STALE if known is None else DropReason.DUPLICATE)
            return False
        if not self._committee.is_signed_vote(vote):
            self._outbox.drop(vote, sender, DropReason.BAD_SIGNATURE)
            return False
        if is_mine:
            self._voter.lose(vote.height, f"a {type(vote).__name__} in view {vote.view}")
        return not is_mine

    def _compare_kinds(self, vote: Vote, book: VoteBook[Prepare] | VoteBook[Commit]) -> None:
        self._compare(book.find(vote.seal.validator, vote.view), vote)

    def _compare(self, known: Vote | None, shown: Vote) -> None:
        """Report who has signed two blocks in one view; both are verified."""
        if known is not None and known.block_id != shown.block_id:
            self._outbox.add(Evidence(shown.seal.validator, encode_message(known), encode_message(shown)))

    def _compare_claim(self, vote: Commit, change: ViewChange) -> None:
        """Report who has committed and asks for a later view without telling so; both are verified."""
        committed = PreparedClaim(vote.view, vote.block_id)
        if change.view > vote.view and forgets(committed, change.claim.prepared):
            self._outbox.add(Evidence(vote.seal.validator, encode_message(vote), encode_message(change)))

    def _judge_second(self, first: Vote, second: Vote) -> None:
        offender = second.seal.validator
        if not self._committee.is_signed_vote(second):
            self._outbox.drop(second, offender, DropReason.BAD_SIGNATURE)
            return
        if offender == self._committee.me:
            self._voter.lose(second.height, f"a second {type(second).__name__} in view {second.view}")
        self._outbox.add(Evidence(offender, encode_message(first), encode_message(second)))
