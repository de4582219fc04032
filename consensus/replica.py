"""The replica: heights one after the other. One law: nothing is sent that was not persisted before.

Here messages find their height: this one, the ones ahead, the ones behind. What a height consists of is in `instance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

from consensus.ahead import Ahead, Early
from consensus.committee import Committee
from consensus.events import (
    BlockAppended,
    BlockBuilt,
    BlockValidated,
    CertifiedBlockReceived,
    Drop,
    DropReason,
    Effect,
    Event,
    FetchBlocks,
    FetchEnded,
    MessageReceived,
    NoticeKind,
    Started,
    Timer,
    TimerExpired,
    TimerKind,
    WorkArrived,
    WorkGone,
)
from consensus.instance import Instance
from consensus.messages import (
    Body,
    BodyRequest,
    Commit,
    Decided,
    Message,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
    ViewChangeCertificate,
    decode_message,
)
from consensus.outbox import Outbox
from consensus.proposal import Position, UnacceptableError, require_body
from consensus.safety import OwnWords, reload
from consensus.view_change import require_view_change
from consensus.voter import Voter
from ledger.block import CertifiedBlock
from ledger.certificate import COMMIT, PREPARE, CertificateError
from ledger.codec import CodecError
from ledger.digest import Digest
from ledger.fields import Height, View
from ledger.identity import SigningKey
from ledger.parameters import ConsensusParameters
from ledger.validators import ValidatorSet

STATUS_EVERY: Final = 10
"""A status is said every so many times `resend_ms`."""

STATUSES_AT_START: Final = 5
"""After a start, a status is said so many times in short succession, since connections are still being made."""


class Replica:
    """One validator's (or follower's) part in deciding blocks, height after height."""

    def __init__(  # noqa: PLR0913 - all that a restart must bring back
        self,
        chain_id: Digest,
        key: SigningKey,
        parameters: ConsensusParameters,
        validators: ValidatorSet,
        *,
        height: Height,
        parent_id: Digest,
        safety: Sequence[bytes] = (),
        boot_epoch: int = 0,
        tip: CertifiedBlock | None = None,
        observe_first: bool = False,
    ) -> None:
        """Begin at `height`.

        Args:
            chain_id: digest of the genesis document.
            key: signs votes; a follower's is no member's.
            parameters: in force at `height`.
            validators: decide `height`.
            height: one above the tip; 1 on a new chain.
            parent_id: block id of the tip; the chain id on a new chain.
            safety: the records persisted for `height`, in their order.
            boot_epoch: how often this node has been started, counted durably.
            tip: the block at height - 1, when at hand; lets this replica answer who is one behind.
            observe_first: sign nothing until one block has been appended.

        Raises:
            consensus.safety.SafetyRecordError: the safety records contradict each other.
        """
        self._key: Final = key
        self._boot_epoch: Final = boot_epoch
        self._outbox: Final = Outbox()
        self._committee = Committee(chain_id, validators, key)
        self._ahead = Ahead(len(validators))
        self._statuses: list[Status | None] = [None] * len(validators)
        self._answered: set[tuple[int, type[Message]]] = set()
        self._tip = tip
        self._fetching_from: Height | None = None
        self._statuses_at_start = STATUSES_AT_START
        me = self._committee.me
        words = OwnWords() if me is None or observe_first else reload(height, me, safety)
        self._instance = self._begin(height, parent_id, parameters, words, suspended=observe_first)

    @property
    def height(self) -> Height:
        """The height that is being decided."""
        return self._instance.height

    @property
    def view(self) -> View:
        """The view this replica is in."""
        return self._instance.view

    @property
    def validators(self) -> ValidatorSet:
        """The set that decides `height`."""
        return self._committee.validators

    @property
    def index(self) -> int | None:
        """This replica's place in the set; None for a follower."""
        return self._committee.me

    @property
    def is_primary(self) -> bool:
        """Tell whether it is this replica's turn to propose."""
        return self._instance.is_primary

    @property
    def can_sign(self) -> bool:
        """Tell whether this replica has a voice at this height."""
        return self._instance.can_sign

    def step(self, event: Event) -> list[Effect]:
        """Take one event; return the effects to carry out, in this order.

        The driver finishes each effect before it starts the next. A vote is therefore on disk before it is on the
        wire, and a replica that restarts cannot vote twice.
        """
        match event:
            case MessageReceived(data):
                self._on_bytes(data)
            case BlockValidated():
                self._instance.on_block_validated(event)
            case BlockBuilt():
                self._instance.on_block_built(event)
            case BlockAppended():
                self._on_block_appended(event)
            case WorkArrived():
                self._instance.on_work()
            case WorkGone():
                self._instance.on_work_gone()
            case TimerExpired(timer):
                self._on_timer_expired(timer)
            case CertifiedBlockReceived(certified):
                self._on_decided(Decided(certified))
            case FetchEnded():
                self._on_fetch_ended()
            case Started():
                self._on_started()
            case _:
                assert_never(event)
        self._instance.arm_timers()
        if self._ahead.is_behind(self.height):
            self._arm_resend()
        return self._outbox.take()

    # From height to height

    def _begin(
        self, height: Height, parent_id: Digest, parameters: ConsensusParameters, words: OwnWords, *, suspended: bool
    ) -> Instance:
        committee = self._committee
        position = Position(committee.chain_id, height, parent_id, committee.validators_hash)
        voter = Voter(committee, height, words, self._outbox, suspended=suspended)
        self._parameters = parameters
        return Instance(committee, parameters, position, voter, self._outbox)

    def _on_started(self) -> None:
        self._say_status()
        self._arm_status()
        self._instance.resume()

    def _on_block_appended(self, event: BlockAppended) -> None:
        finished, height = self._instance, Height(event.height + 1)
        assert event.height == finished.height, (
            f"height {finished.height} is being decided, {event.height} was appended"
        )
        self._tip = finished.certified
        for kind in (TimerKind.VIEW, TimerKind.RESEND):
            self._outbox.cancel(kind)
        self._answered.clear()
        committee = Committee(self._committee.chain_id, event.validators, self._key)
        if committee.validators_hash != self._committee.validators_hash:
            self._ahead = Ahead(len(committee))
            self._statuses = [None] * len(committee)
            self._committee = committee
        self._instance = self._begin(height, event.block_id, event.parameters, OwnWords(), suspended=False)
        if not finished.can_sign and committee.me is not None:
            self._outbox.notice(NoticeKind.SIGNING_RESUMED, height, self.view)
        for message in self._ahead.take(height):
            self._on_current(message)

    # Messages

    def _on_bytes(self, data: bytes) -> None:
        try:
            message = decode_message(data)
        except CodecError as error:
            self._outbox.add(Drop("", None, DropReason.MALFORMED, str(error)))
            return
        match message:
            case Status():
                self._on_status(message)
            case Decided():
                self._on_decided(message)
            case Body():
                self._on_body(message)
            case BodyRequest():
                self._on_body_request(message)
            case _:
                self._on_protocol(message)

    def _on_protocol(self, message: Early | ViewChangeCertificate) -> None:
        if message.height == self.height and not self._instance.is_appended:
            self._on_current(message)
        elif isinstance(message, ViewChangeCertificate):
            self._outbox.drop(message, None, DropReason.STALE if message.height < self.height else DropReason.UNWANTED)
        elif message.height > self.height:
            self._on_early(message)
        else:
            self._on_late(message)

    def _on_current(self, message: Early | ViewChangeCertificate) -> None:
        match message:
            case PrePrepare():
                self._instance.on_pre_prepare(message)
            case Prepare():
                self._instance.on_prepare(message)
            case Commit():
                self._instance.on_commit(message)
            case ViewChange():
                self._instance.on_view_change(message)
            case ViewChangeCertificate():
                self._instance.on_view_change_certificate(message)

    def _on_early(self, message: Early) -> None:
        sender = _sender(message)
        if sender >= len(self._committee) or sender == self.index:
            return self._outbox.drop(message, sender, DropReason.NOT_A_MEMBER)
        if isinstance(message, PrePrepare) and (
            message.view != 0 or sender != self._committee.primary(message.height, message.view)
        ):
            return self._outbox.drop(message, sender, DropReason.NOT_THE_PRIMARY)
        is_wanted = self._ahead.wants(self.height, message, sender)
        if not is_wanted and message.height <= self._ahead.seen(sender):
            return self._outbox.drop(message, sender, DropReason.TOO_FAR_AHEAD)
        if not self._is_authentic(message):
            return self._outbox.drop(message, sender, DropReason.BAD_SIGNATURE)
        self._ahead.see(sender, message.height)
        if is_wanted:
            self._ahead.keep(message, sender)
        return None

    def _on_late(self, message: Early) -> None:
        """Answer who asks to leave a view of a height that is decided; late votes are the normal case."""
        sender = _sender(message)
        if not isinstance(message, ViewChange) or sender == self.index or (sender, Status) in self._answered:
            return self._outbox.drop(message, sender, DropReason.STALE)
        if sender >= len(self._committee):
            return self._outbox.drop(message, sender, DropReason.NOT_A_MEMBER)
        if not self._committee.is_view_change(message.height, message.view, message.claim):
            return self._outbox.drop(message, sender, DropReason.BAD_SIGNATURE)
        return self._answer(sender, message.height)

    def _is_authentic(self, message: Early) -> bool:
        committee = self._committee
        match message:
            case PrePrepare(height, view, block, seal):
                return block.header.height == height and committee.is_vote(PREPARE, height, view, block.id, seal)
            case ViewChange():
                try:
                    require_view_change(committee, message)
                except CertificateError:
                    return False
                return True
            case _:
                return committee.is_signed_vote(message)

    # Catching up, and helping others to

    def _on_status(self, status: Status) -> None:
        sender = self.validators.index_of(status.sender)
        if sender is None:
            return self._outbox.drop(status, None, DropReason.NOT_A_MEMBER)
        known = self._statuses[sender]
        is_behind = status.height < self.height
        is_news = known is None or (status.boot_epoch, status.height) > (known.boot_epoch, known.height)
        if (sender, Status) in self._answered or not (is_news or is_behind or status.height > self.height):
            return self._outbox.drop(status, sender, DropReason.DUPLICATE)
        if sender == self.index and status.boot_epoch <= self._boot_epoch:
            return self._outbox.drop(status, sender, DropReason.STALE)
        if not self._committee.is_status(status):
            return self._outbox.drop(status, sender, DropReason.BAD_SIGNATURE)
        if sender == self.index:
            return self._instance.lose_voice(f"a status of boot epoch {status.boot_epoch}, this is {self._boot_epoch}")
        if known is not None and status.boot_epoch < known.boot_epoch:
            self._outbox.send(sender, known)
        elif is_news:
            self._statuses[sender] = status
        if is_behind:
            return self._answer(sender, status.height)
        return self._follow(sender, status)

    def _follow(self, sender: int, status: Status) -> None:
        """Learn from the status of a member that is not behind."""
        self._ahead.see(sender, status.height)
        tip = status.certificate
        if tip is not None and tip.height >= self.height and self._instance.decision is None:
            try:
                self._committee.require_certificate(COMMIT, tip)
            except CertificateError as error:
                return self._outbox.drop(status, sender, DropReason.BAD_CERTIFICATE, str(error))
            if tip.height == self.height:
                self._instance.decide(tip, None)
            else:
                self._instance.retire()
        if status.height > self.height + 1:
            self._catch_up()
        return None

    def _on_decided(self, message: Decided) -> None:
        block, certificate = message.certified.block, message.certified.certificate
        if certificate.height < self.height or self._instance.is_appended:
            return self._outbox.drop(message, None, DropReason.STALE)
        if (block.height, block.id) != (certificate.height, certificate.block_id):
            return self._outbox.drop(message, None, DropReason.WRONG_BLOCK)
        if certificate.height > self.height and self._fetching_from is not None:
            return self._outbox.drop(message, None, DropReason.TOO_FAR_AHEAD)
        try:
            require_body(block)
            self._committee.require_certificate(COMMIT, certificate)
        except UnacceptableError as error:
            return self._outbox.drop(message, None, error.reason, error.detail)
        except CertificateError as error:
            return self._outbox.drop(message, None, DropReason.BAD_CERTIFICATE, str(error))
        if certificate.height == self.height:
            return self._instance.decide(certificate, block)
        self._instance.retire()
        for seal in certificate.seals:
            if seal.validator != self.index:
                self._ahead.see(seal.validator, certificate.height)
        return self._catch_up()

    def _on_body(self, message: Body) -> None:
        if message.block.id != self._instance.wanted_id:
            return self._outbox.drop(message, None, DropReason.UNWANTED)
        try:
            require_body(message.block)
        except UnacceptableError as error:
            return self._outbox.drop(message, None, error.reason, error.detail)
        return self._instance.on_body(message.block)

    def _on_body_request(self, request: BodyRequest) -> None:
        sender = request.seal.validator
        if sender >= len(self._committee) or sender == self.index:
            return self._outbox.drop(request, sender, DropReason.NOT_A_MEMBER)
        if (sender, BodyRequest) in self._answered:
            return self._outbox.drop(request, sender, DropReason.DUPLICATE)
        is_late = request.height == self.height - 1
        block = self._instance.find_block(request.block_id) if request.height == self.height else None
        if block is None and not is_late:
            return self._outbox.drop(request, sender, DropReason.UNWANTED)
        if not self._committee.is_body_request(request):
            return self._outbox.drop(request, sender, DropReason.BAD_SIGNATURE)
        if block is None:
            return self._answer(sender, request.height)
        self._answered.add((sender, BodyRequest))
        self._arm_resend()
        return self._outbox.send(sender, Body(block))

    def _answer(self, member: int, height: Height) -> None:
        """Help a member that works on a lower height, once between two ticks."""
        if (member, Status) in self._answered:
            return
        self._answered.add((member, Status))
        self._arm_resend()
        if self._tip is not None and height == self.height - 1:
            self._outbox.send(member, Decided(self._tip))
        elif self.index is not None:
            self._outbox.send(member, self._status())

    def _catch_up(self) -> None:
        """Fetch blocks from whoever has been seen further ahead, or from those who signed what was decided."""
        if self._fetching_from is not None or self._instance.is_appended:
            return
        sources = self._ahead.sources(self.height)
        decision = self._instance.decision
        if not sources and decision is not None:
            sources = tuple(seal.validator for seal in decision.seals if seal.validator != self.index)
        if sources:
            self._fetching_from = self.height
            target = max(self.height, self._ahead.target(self.height))
            self._outbox.add(FetchBlocks(self.height, Height(target), sources))

    def _on_fetch_ended(self) -> None:
        began, self._fetching_from = self._fetching_from, None
        if began is not None and self.height > began and self._ahead.is_behind(self.height):
            self._catch_up()

    # Timers

    def _on_timer_expired(self, timer: Timer) -> None:
        if not self._outbox.has_expired(timer):
            return
        match timer.kind:
            case TimerKind.VIEW:
                self._instance.on_view_timeout()
            case TimerKind.RESEND:
                self._on_resend()
            case TimerKind.STATUS:
                self._say_status()
                self._arm_status()

    def _on_resend(self) -> None:
        self._answered.clear()
        if self._instance.is_under_way:
            self._instance.say_again()
        elif not self._ahead.is_behind(self.height):
            return
        self._say_status()
        self._catch_up()

    def _arm_resend(self) -> None:
        if not self._outbox.is_armed(TimerKind.RESEND):
            self._instance.arm_resend()

    def _arm_status(self) -> None:
        self._statuses_at_start -= 1
        times = 1 if self._statuses_at_start > 0 else STATUS_EVERY
        self._outbox.arm(TimerKind.STATUS, self.height, self.view, self._parameters.resend_ms * times)

    def _say_status(self) -> None:
        if self.index is not None:
            self._outbox.broadcast(self._status())

    def _status(self) -> Status:
        tip = self._tip.certificate if self._tip is not None else None
        return self._committee.sign_status(self.height, self.view, self._boot_epoch, tip)


def _sender(message: Early) -> int:
    return message.claim.seal.validator if isinstance(message, ViewChange) else message.seal.validator
