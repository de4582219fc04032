"""One height, from work to a certified block. One law: here is decided what to say, by the `Voter` whether it may be.

The normal case reads from top to bottom: work, proposal, PREPAREs, COMMITs, decision. Leaving a view comes after it,
and what is said again at the end.
"""

from __future__ import annotations

from typing import Final

from consensus.ballots import Ballots
from consensus.committee import Committee
from consensus.events import BlockBuilt, BlockValidated, BuildBlock, DropReason, NoticeKind, TimerKind, ValidateBlock
from consensus.messages import Commit, Prepare, PrePrepare, ViewChange, ViewChangeCertificate
from consensus.outbox import Outbox
from consensus.pace import Pace
from consensus.proposal import Accepted, Position, UnacceptableError, require_proposal
from consensus.standing import Standing, standing_of
from consensus.voter import Voter
from ledger.block import Block, CertifiedBlock
from ledger.certificate import COMMIT, QuorumCertificate
from ledger.digest import Digest
from ledger.fields import Height, View
from ledger.parameters import ConsensusParameters


class Instance:
    """Agreement on the block of one height."""

    def __init__(
        self,
        committee: Committee,
        parameters: ConsensusParameters,
        position: Position,
        voter: Voter,
        outbox: Outbox,
    ) -> None:
        """Go on from what the voter has said.

        Args:
            committee: decides this height.
            parameters: in force at this height.
            position: where in the chain the block must stand.
            voter: this replica's voice.
            outbox: takes the effects.
        """
        self.height: Final[Height] = position.height
        self.decision: QuorumCertificate | None = None
        """The commit certificate, once it is known."""

        self.certified: CertifiedBlock | None = None
        """The decided block, once it has been handed to the driver."""

        self._committee: Final = committee
        self._position: Final = position
        self._voter: Final = voter
        self._outbox: Final = outbox
        self._ballots: Final = Ballots(committee, self.height, voter, outbox)
        self._accepted: Accepted | None = None
        self._valid_id: Digest | None = None
        self._work = False
        self._work_since_build = False
        self._building: View | None = None
        self._checking: Block | None = None
        self._pace: Final = Pace(committee, parameters, voter, outbox)

    @property
    def view(self) -> View:
        """The view this replica is in."""
        return self._voter.words.view

    @property
    def is_appended(self) -> bool:
        """Tell whether this height is over."""
        return self.certified is not None

    @property
    def is_primary(self) -> bool:
        """Tell whether it is this replica's turn to propose."""
        return self._committee.me == self._committee.primary(self.height, self.view)

    @property
    def wanted_id(self) -> Digest | None:
        """Id of the block that is needed and not at hand: a decided one, or one that must be proposed again."""
        if self.is_appended:
            return None
        if self.decision is not None:
            return self.decision.block_id
        demanded = self._demanded()
        if demanded is None or not self.is_primary or self._accepted is not None or not self._voter.can_vote:
            return None
        return None if self.find_block(demanded.block_id) else demanded.block_id

    @property
    def is_under_way(self) -> bool:
        """Tell whether this replica waits for others at this height."""
        return self._has_reason() or self._voter.words.asked > 0 or self.decision is not None

    def standing(self, goal: Height) -> Standing:
        """Tell what this height waits for, given the height that the others have reached."""
        return standing_of(self._committee, self._voter, self._ballots, self._accepted, self.decision, goal)

    def resume(self) -> None:
        """Take up this replica's own words after a restart and say them again."""
        words = self._voter.words
        prepare, commit = self._voter.last_prepare(), self._voter.last_commit()
        if words.prepare is not None and prepare is not None:
            self._ballots.prepares.add(prepare)
            self._valid_id = prepare.block_id
            if prepare.view == self.view:
                is_new = self._demanded() is None
                self._accepted = Accepted(
                    self.view, words.prepare.block, prepare.block_id, prepare.seal, not is_new, is_valid=True
                )
        if words.view_change is not None:
            self._ballots.changes.add(words.view_change)
        if prepare or commit or words.asked:
            self.say_again()
        if commit is not None:
            self._ballots.commits.add(commit)
            self._check_decided(commit)
        self._check_prepared()
        self._propose()

    # R0 to R2: work and proposals

    def on_work(self) -> None:
        """There is something to propose."""
        self._work = self._work_since_build = True
        self._propose()

    def on_work_gone(self) -> None:
        """There is nothing to propose any more."""
        self._work = self._work_since_build = False
        if not self._has_reason():
            self._outbox.cancel(TimerKind.VIEW)

    def on_block_built(self, event: BlockBuilt) -> None:
        """Propose what was built, if it still is this replica's turn."""
        if self._building != event.view or event.height != self.height or self.decision is not None:
            return
        self._building = None
        if event.block is not None:
            self._position.require_header(event.block.header)
            self._propose_block(event.block)
        elif self._work_since_build:
            self._propose()
        else:
            self.on_work_gone()

    def _propose(self) -> None:
        if not self.is_primary or self._accepted is not None or not self._voter.can_vote or self.decision is not None:
            return
        demanded = self._demanded()
        if demanded is None:
            if self._work and self._building != self.view:
                self._building, self._work_since_build = self.view, False
                self._outbox.add(BuildBlock(self.height, self.view))
            return
        block = self.find_block(demanded.block_id)
        if block is None:
            self._ask_for(demanded.block_id)
        elif self._valid_id == demanded.block_id:
            self._propose_block(block)
        elif self._checking is None:
            self._checking = block
            self._outbox.add(ValidateBlock(self.view, block, fresh=False))

    def _propose_block(self, block: Block) -> None:
        message = self._voter.propose(block)
        if message is None:
            return
        self._checking = None
        self._valid_id = block.id
        is_new = self._demanded() is None
        self._accepted = Accepted(self.view, block, block.id, message.seal, not is_new, is_valid=True)
        self._ballots.prepares.add(Prepare(self.height, self.view, block.id, message.seal))
        self._outbox.broadcast(message)
        self._check_prepared()

    def _demanded(self) -> QuorumCertificate | None:
        opened_by = self._voter.words.entered
        return opened_by.prepared if opened_by else None

    # R3: accepting a proposal

    def on_pre_prepare(self, message: PrePrepare) -> None:
        """Accept a proposal for this view or a later one, enter its view, and have the block validated."""
        sender, accepted = message.seal.validator, self._accepted
        if message.view < self.view:
            return self._outbox.drop(message, sender, DropReason.STALE)
        if message.view == self.view and accepted is not None:
            return self._ballots.judge_second_proposal(message, accepted.seal.validator)
        try:
            require_proposal(self._committee, self._position, message, self._ballots.changes)
        except UnacceptableError as error:
            return self._outbox.drop(message, sender, error.reason, error.detail)
        if message.justification is not None and message.view > self.view:
            self._enter(message.justification)
        return self._accept(message)

    def _accept(self, message: PrePrepare) -> None:
        block_id = message.block.id
        demanded = message.justification.prepared if message.justification else None
        accepted = Accepted(message.view, message.block, block_id, message.seal, demanded is not None)
        self._accepted = accepted
        self._ballots.count_proposal(message)
        if self.decision is not None:
            return self._finish(message.block)
        if not self._voter.can_vote:
            return None
        if block_id == self._valid_id:
            return self._prepare(accepted)
        return self._outbox.add(ValidateBlock(message.view, message.block, fresh=not accepted.prepared_before))

    def on_block_validated(self, event: BlockValidated) -> None:
        """Vote for a valid proposal; ask for the next view after an invalid one."""
        if event.height != self.height or event.view != self.view or self.decision is not None:
            return
        accepted, checking = self._accepted, self._checking
        if accepted is not None and accepted.is_valid is None and accepted.block_id == event.block_id:
            if not event.ok:
                self._reject(accepted, event.reason)
            elif event.passes_over and accepted.may_be_turned_down(self._committee):
                self._turn_down(NoticeKind.TRANSACTION_PASSED_OVER, event.passes_over)
            else:
                self._prepare(accepted)
        elif accepted is None and checking is not None and checking.id == event.block_id:
            if event.ok:
                self._propose_block(checking)
            else:
                self._outbox.notice(NoticeKind.EXECUTION_DIFFERS, self.height, self.view, event.reason)

    def _prepare(self, accepted: Accepted) -> None:
        accepted.is_valid = True
        self._valid_id = accepted.block_id
        vote = self._voter.prepare(accepted.block)
        if vote is not None:
            self._ballots.prepares.add(vote)
            self._outbox.broadcast(vote)
        self._check_prepared()

    def _reject(self, accepted: Accepted, reason: str) -> None:
        accepted.is_valid = False
        if accepted.prepared_before:
            self._outbox.notice(NoticeKind.EXECUTION_DIFFERS, self.height, self.view, reason)
        else:
            self._turn_down(NoticeKind.BLOCK_REJECTED, reason)

    def _turn_down(self, kind: NoticeKind, why: str) -> None:
        self._outbox.notice(kind, self.height, self.view, why)
        if self._voter.can_vote:
            self._ask(View(self.view + 1))

    # R4 and R5: votes

    def on_prepare(self, vote: Prepare) -> None:
        """Count a PREPARE."""
        if vote.view < self.view:
            return self._outbox.drop(vote, vote.seal.validator, DropReason.STALE)
        if self._ballots.count_prepare(vote):
            self._check_prepared()
        return None

    def on_commit(self, vote: Commit) -> None:
        """Count a COMMIT, of whatever view."""
        if self._ballots.count_commit(vote):
            self._check_decided(vote)

    def _check_prepared(self) -> None:
        accepted = self._accepted
        if accepted is None or not accepted.is_valid or not self._voter.can_vote or self.decision is not None:
            return
        certificate = self._ballots.prepares.certificate(accepted.view, accepted.block_id, self._committee.quorum)
        vote = self._voter.commit(certificate) if certificate else None
        if vote is not None:
            self._ballots.commits.add(vote)
            self._outbox.broadcast(vote)
            self._check_decided(vote)

    def _check_decided(self, vote: Commit) -> None:
        if self.decision is None:
            self.decision = self._ballots.commits.certificate(vote.view, vote.block_id, self._committee.quorum)
            if self.decision is not None:
                self._finish(None)

    def decide(self, certificate: QuorumCertificate, block: Block | None) -> None:
        """Take a verified commit certificate of this height, and the block when it is at hand."""
        self._ballots.compare_certificate(COMMIT, certificate)
        if self.decision is None:
            self.decision = certificate
        self._finish(block)

    def on_body(self, block: Block) -> None:
        """Take the block that was asked for; its body has been checked against its id."""
        if self.decision is not None:
            self._finish(block)
        elif self._checking is None:
            self._checking = block
            self._outbox.add(ValidateBlock(self.view, block, fresh=False))

    def _finish(self, block: Block | None) -> None:
        assert self.decision is not None, "a block is appended with its certificate"
        if self.is_appended:
            return
        block_id = self.decision.block_id
        block = block if block is not None and block.id == block_id else self.find_block(block_id)
        if block is None:
            self._ask_for(block_id)
            return
        self.certified = CertifiedBlock(block, self.decision)
        self._outbox.append(self.certified)

    def find_block(self, block_id: Digest) -> Block | None:
        """Return the block with this id, when this replica holds its body."""
        held = (self._accepted.block if self._accepted else None, self._checking, *self._voter.words.bodies)
        return next((block for block in held if block is not None and block.id == block_id), None)

    def _ask_for(self, block_id: Digest) -> None:
        if self._committee.me is not None:
            self._outbox.broadcast(self._committee.seal_body_request(self.height, block_id))

    # R6 and R7: leaving a view

    def on_view_timeout(self) -> None:
        """The primary has had its time."""
        if self._voter.can_vote and self.decision is None and self._has_reason():
            self._ask(View(self.view + 1))

    def on_view_change(self, message: ViewChange) -> None:
        """Count a VIEW-CHANGE; follow f + 1, enter with Q."""
        if not self._ballots.count_view_change(message, self.view):
            return
        reached = self._ballots.changes.reached(self._committee.one_honest)
        if reached > self._voter.words.asked and self.decision is None:
            self._ask(reached)
        self._check_open()

    def on_view_change_certificate(self, certificate: ViewChangeCertificate) -> None:
        """Enter the view that a quorum wants."""
        if self._ballots.accept_certificate(certificate, self.view):
            self._enter_and_forward(certificate)

    def _ask(self, view: View) -> None:
        message = self._voter.ask(view)
        if message is None:
            return
        self._outbox.notice(NoticeKind.VIEW_CHANGE_ASKED, self.height, view)
        self._ballots.changes.add(message)
        self._outbox.broadcast(message)
        self._check_open()

    def _check_open(self) -> None:
        certificate = self._ballots.changes.open(self.view, self._committee.quorum)
        if certificate is not None:
            self._enter_and_forward(certificate)

    def _enter_and_forward(self, certificate: ViewChangeCertificate) -> None:
        self._enter(certificate)
        self._outbox.broadcast(certificate)
        self._propose()

    def _enter(self, certificate: ViewChangeCertificate) -> None:
        self._voter.enter(certificate)
        self._accepted = self._building = self._checking = None
        self._pace.begin_view()
        self._outbox.notice(NoticeKind.VIEW_ENTERED, self.height, self.view)

    # R7 and R8: timers, and what is said again

    def arm_timers(self, *, is_waited_for: bool) -> None:
        """Arm what there is a reason for; called after every step.

        Args:
            is_waited_for: there is a reason for a tick outside of this height.
        """
        if self.is_appended:
            return
        if is_waited_for or self.is_under_way:
            self._pace.arm_resend()
        if not self._voter.can_vote or self.decision is not None:
            self._outbox.cancel(TimerKind.VIEW)
        elif self._has_reason():
            self._pace.arm_view()

    def say_again(self) -> None:
        """Say the last words of this height again: any of them may have been lost."""
        if self.wanted_id is not None:
            self._ask_for(self.wanted_id)
        self._pace.say_again(self._ballots.prepares)

    def _has_reason(self) -> bool:
        """Tell whether a block may be expected: work, a proposal, a prepared block, or one honest member's word."""
        expected = self._work or self._accepted is not None or self._demanded() is not None
        return expected or len(self._ballots.voters()) >= self._committee.one_honest
