"""The replica: heights one after the other. One law: nothing is sent that was not persisted before.

Here messages find their height: this one, the ones ahead, the ones behind. What a height consists of is in `instance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

from consensus.ahead import Early, EarlyMessages
from consensus.catch_up import CatchUp
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
    FetchEnded,
    MessageReceived,
    NoticeKind,
    SnapshotInstalled,
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
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
    ViewChangeCertificate,
    decode_message,
)
from consensus.outbox import Outbox
from consensus.proposal import Position
from consensus.safety import OwnWords, reload
from consensus.standing import Standing
from consensus.view_change import require_view_change
from consensus.voter import Voter
from ledger.block import CertifiedBlock
from ledger.certificate import PREPARE, CertificateError
from ledger.codec import CodecError
from ledger.digest import Digest
from ledger.fields import Height, View
from ledger.identity import Signer
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
        key: Signer,
        parameters: ConsensusParameters,
        validators: ValidatorSet,
        *,
        height: Height,
        parent_id: Digest,
        safety: Sequence[bytes] = (),
        boot_epoch: int = 0,
        tip: CertifiedBlock | None = None,
        observe_until_ms: int | None = None,
        coming: ValidatorSet | None = None,
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
            observe_until_ms: sign nothing until a block whose time is not before this has been appended. A replica that
                may have forgotten its votes gives the time of its start plus `clock_drift_ms_max`: no vote that it has
                forgotten can then be of a height above that block's. Records in `safety` are not looked at.
            coming: decide the height after `height`; None when that is the same set.

        Raises:
            consensus.safety.SafetyRecordError: the safety records contradict each other.
        """
        self._key: Final = key
        self._outbox: Final = Outbox()
        self._committee = Committee(chain_id, validators, key)
        self._coming = self._committee_of(coming)
        self._early: Final = EarlyMessages()
        self._catch_up: Final = CatchUp(self._outbox, boot_epoch, validators)
        self._signs_from = height
        self._observe_until_ms = observe_until_ms
        self._statuses_at_start = STATUSES_AT_START
        self._parameters: ConsensusParameters
        self._voter: Voter
        self._instance: Instance
        me = self._committee.me
        words = OwnWords() if me is None or self._is_observing else reload(height, me, safety)
        self._begin(height, parent_id, parameters, words)
        self._catch_up.begin(self._committee, self._instance, self._voter, tip)

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
        return self._voter.can_sign

    def standing(self) -> Standing:
        """Tell what the height that is being decided waits for."""
        return self._instance.standing(self._catch_up.goal)

    @property
    def is_suspended(self) -> bool:
        """Tell whether it is silent because of what it may have signed elsewhere or before."""
        return self._is_suspended(self.height) or self._voter.lost_at is not None

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
            case SnapshotInstalled():
                self._on_snapshot_installed(event)
            case WorkArrived():
                self._instance.on_work()
            case WorkGone():
                self._instance.on_work_gone()
            case TimerExpired(timer):
                self._on_timer_expired(timer)
            case CertifiedBlockReceived(certified, checked_for):
                self._catch_up.on_decided(Decided(certified), checked_for)
            case FetchEnded():
                self._catch_up.on_fetch_ended()
            case Started():
                self._on_started()
            case _:
                assert_never(event)
        is_waited_for = self._catch_up.is_behind or self._catch_up.has_answered
        self._instance.arm_timers(is_waited_for=is_waited_for)
        return self._outbox.take()

    # From height to height

    @property
    def _is_observing(self) -> bool:
        return self._observe_until_ms is not None

    def _is_suspended(self, height: Height) -> bool:
        return self._is_observing or height < self._signs_from

    def _observe(self, time_ms: int) -> None:
        """End the observation with a block that was proposed after it had begun."""
        if self._observe_until_ms is not None and time_ms >= self._observe_until_ms:
            self._observe_until_ms = None

    def _begin(self, height: Height, parent_id: Digest, parameters: ConsensusParameters, words: OwnWords) -> None:
        committee = self._committee
        position = Position(committee.chain_id, height, parent_id, committee.validators_hash)
        self._parameters = parameters
        self._voter = Voter(committee, height, words, self._outbox, suspended=self._is_suspended(height))
        self._instance = Instance(committee, parameters, position, self._voter, self._outbox)

    def _on_started(self) -> None:
        self._catch_up.say_status()
        self._arm_status()
        self._instance.resume()

    def _on_block_appended(self, event: BlockAppended) -> None:
        finished, tip = self._instance, self._instance.certified
        assert event.height == finished.height, f"deciding height {finished.height}, but {event.height} was appended"
        assert tip is not None, "what was appended was decided"
        self._turn_to(event, tip.block.header.time_ms, tip)

    def _on_snapshot_installed(self, event: SnapshotInstalled) -> None:
        assert event.height >= self.height, f"deciding height {self.height}, but a snapshot is of {event.height}"
        assert not self._instance.is_appended, "a block that is being appended is appended first"
        self._turn_to(event, event.time_ms, None)

    def _turn_to(self, event: BlockAppended | SnapshotInstalled, time_ms: int, tip: CertifiedBlock | None) -> None:
        """Begin with the height after the new tip."""
        height = Height(event.height + 1)
        for kind in (TimerKind.VIEW, TimerKind.RESEND):
            self._outbox.cancel(kind)
        was_silent = self._is_suspended(self.height) or self._voter.lost_at is not None
        self._observe(time_ms)
        self._signs_from = Height(max(self._signs_from, (self._voter.lost_at or 0) + 1))
        decided_by, self._committee = self._committee, self._committee_of(event.validators)
        self._coming = self._committee_of(event.coming)
        self._begin(height, event.block_id, event.parameters, OwnWords())
        self._catch_up.begin(self._committee, self._instance, self._voter, tip, decided_by)
        if was_silent and self._voter.can_sign:
            self._outbox.notice(NoticeKind.SIGNING_RESUMED, height, self.view)
        for message in self._early.take(height):
            self._on_protocol(message)

    def _committee_of(self, validators: ValidatorSet | None) -> Committee:
        """Return the present committee when the set is the same, else a new one."""
        if validators is None or validators == self._committee.validators:
            return self._committee
        return Committee(self._committee.chain_id, validators, self._key)

    # Messages

    def _on_bytes(self, data: bytes) -> None:
        try:
            message = decode_message(data)
        except CodecError as error:
            self._outbox.add(Drop("", None, DropReason.MALFORMED, str(error)))
            return
        match message:
            case Status():
                self._catch_up.on_status(message)
            case Decided():
                self._catch_up.on_decided(message)
            case Body():
                self._catch_up.on_body(message)
            case BodyRequest():
                self._catch_up.on_body_request(message)
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
        sender, committee = _sender(message), self._coming
        if sender >= len(committee):
            return self._outbox.drop(message, sender, DropReason.NOT_A_MEMBER)
        if isinstance(message, PrePrepare) and (
            message.view != 0 or sender != committee.primary(message.height, message.view)
        ):
            return self._outbox.drop(message, sender, DropReason.NOT_THE_PRIMARY)
        is_wanted, key = self._early.wants(self.height, message, sender), committee.key_of(sender)
        if not is_wanted and self._catch_up.has_seen(key, message.height):
            return self._outbox.drop(message, sender, DropReason.TOO_FAR_AHEAD)
        if not _is_authentic(committee, message):
            return self._outbox.drop(message, sender, DropReason.BAD_SIGNATURE)
        if sender == committee.me:
            return self._voter.lose(message.height, f"a {type(message).__name__} of height {message.height}")
        self._catch_up.see(key, message.height)
        return self._early.keep(message, sender) if is_wanted else None

    def _on_late(self, message: Early) -> None:
        """Answer who asks to leave a view of a height that is decided; late votes are the normal case."""
        sender = _sender(message)
        if not isinstance(message, ViewChange) or sender == self.index:
            return self._outbox.drop(message, sender, DropReason.STALE)
        if sender >= len(self._committee):
            return self._outbox.drop(message, sender, DropReason.NOT_A_MEMBER)
        if not self._committee.is_view_change(message.height, message.view, message.claim):
            return self._outbox.drop(message, sender, DropReason.BAD_SIGNATURE)
        return self._catch_up.answer(sender, message.height)

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
                self._catch_up.say_status()
                self._catch_up.look_ahead()
                self._arm_status()

    def _on_resend(self) -> None:
        if self._instance.is_under_way:
            self._instance.say_again()
        self._catch_up.tick()

    def _arm_status(self) -> None:
        self._statuses_at_start -= 1
        times = 1 if self._statuses_at_start > 0 else STATUS_EVERY
        self._outbox.arm(TimerKind.STATUS, self.height, self.view, self._parameters.resend_ms * times)


def _sender(message: Early) -> int:
    return message.claim.seal.validator if isinstance(message, ViewChange) else message.seal.validator


def _is_authentic(committee: Committee, message: Early) -> bool:
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
