"""The right to sign. One law: this replica signs once per height, view and kind, and nothing below a view it asked for.

Only a `Voter` makes votes, and whatever it makes is handed to be persisted before it can be sent.
"""

from __future__ import annotations

from typing import Final

from consensus.committee import Committee
from consensus.events import NoticeKind
from consensus.messages import Commit, Prepare, PreparedClaim, PrePrepare, ViewChange, ViewChangeCertificate
from consensus.outbox import Outbox
from consensus.safety import (
    CommitRecord,
    EnteredRecord,
    OwnWords,
    PrepareRecord,
    ProposalRecord,
    SafetyRecord,
    ViewChangeRecord,
    encode_record,
)
from ledger.block import Block
from ledger.certificate import COMMIT, PREPARE, QuorumCertificate
from ledger.fields import Height, View


class Voter:
    """This replica's voice at one height."""

    def __init__(
        self, committee: Committee, height: Height, words: OwnWords, outbox: Outbox, *, suspended: bool
    ) -> None:
        """Go on from what has been said.

        Args:
            committee: of the height.
            height: the height.
            words: what this replica has signed at it.
            outbox: takes what must be persisted.
            suspended: sign nothing at this height.
        """
        self._committee: Final = committee
        self.height: Final = height
        self._outbox: Final = outbox
        self._is_silent = suspended
        self.words: Final = words
        self.lost_at: Height | None = None
        """The height at which another process was seen signing with this key; None when it never was."""

    @property
    def can_sign(self) -> bool:
        """Tell whether this replica has a voice at this height."""
        return self._committee.me is not None and not self._is_silent

    @property
    def can_vote(self) -> bool:
        """Tell whether it may still vote in the view it is in."""
        return self.can_sign and self.words.asked <= self.words.view

    def retire(self) -> None:
        """Sign nothing more at this height: a later one is decided."""
        self._is_silent = True

    def lose(self, height: Height, what: str) -> None:
        """Sign nothing up to `height`: `what` came back from the network, signed by this key, but not here.

        The data directory was restored from an older state, or the key is in use twice.
        """
        if self._committee.me is not None and (self.lost_at is None or height > self.lost_at):
            self._is_silent = True
            self.lost_at = height
            self._outbox.notice(NoticeKind.SIGNED_ELSEWHERE, height, self.words.view, what)

    def enter(self, certificate: ViewChangeCertificate) -> None:
        """Be in the view that `certificate` opens."""
        self._say(EnteredRecord(certificate))

    def propose(self, block: Block) -> PrePrepare | None:
        """Propose and thereby prepare `block` in the current view, if nothing has been prepared in it."""
        words = self.words
        if not self.can_vote or self._has_prepared():
            return None
        seal = self._committee.seal_vote(PREPARE, self.height, words.view, block.id)
        message = PrePrepare(self.height, words.view, block, seal, words.entered)
        self._say(ProposalRecord(message))
        return message

    def prepare(self, block: Block) -> Prepare | None:
        """Prepare a block that is valid, if nothing has been prepared in the current view."""
        view = self.words.view
        if not self.can_vote or self._has_prepared():
            return None
        block_id = block.id
        seal = self._committee.seal_vote(PREPARE, self.height, view, block_id)
        self._say(PrepareRecord(self.height, view, block, seal))
        return Prepare(self.height, view, block_id, seal)

    def commit(self, certificate: QuorumCertificate) -> Commit | None:
        """Commit to the block that this replica and, as `certificate` shows, a quorum prepared in the current view."""
        words = self.words
        prepared, committed = words.prepare, words.commit
        if not self.can_vote or certificate.view != words.view:
            return None
        if prepared is None or prepared.view != words.view or prepared.block.id != certificate.block_id:
            return None
        if committed is not None and committed.certificate.view >= words.view:
            return None
        seal = self._committee.seal_vote(COMMIT, self.height, words.view, certificate.block_id)
        self._say(CommitRecord(certificate, seal))
        return Commit(self.height, words.view, certificate.block_id, seal)

    def ask(self, view: View) -> ViewChange | None:
        """Ask for a view above all that were asked for or entered, telling the highest prepared certificate."""
        words = self.words
        if not self.can_sign or view <= words.asked:
            return None
        lock = words.commit.certificate if words.commit else None
        prepared = PreparedClaim(lock.view, lock.block_id) if lock else None
        claim = self._committee.seal_view_change(self.height, view, prepared)
        message = ViewChange(self.height, view, claim, lock)
        self._say(ViewChangeRecord(message))
        return message

    def last_prepare(self) -> Prepare | None:
        """Return the PREPARE of the highest view, to be said again."""
        record = self.words.prepare
        return Prepare(self.height, record.view, record.block.id, record.seal) if record else None

    def last_commit(self) -> Commit | None:
        """Return the COMMIT of the highest view, to be said again."""
        record = self.words.commit
        if record is None:
            return None
        return Commit(self.height, record.certificate.view, record.certificate.block_id, record.seal)

    def _has_prepared(self) -> bool:
        return self.words.prepare is not None and self.words.prepare.view >= self.words.view

    def _say(self, record: SafetyRecord) -> None:
        self.words.add(record)
        if self.can_sign:
            self._outbox.persist(self.height, encode_record(record))
