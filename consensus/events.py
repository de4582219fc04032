"""What goes into a replica and what comes out of it. One law: both are values, complete and comparable.

Effects are carried out in the order of the list, each finished before the next is begun. `BuildBlock`,
`ValidateBlock` and `FetchBlocks` are finished when they have been *started*; an event answers them later.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from ledger.block import Block, CertifiedBlock
from ledger.digest import Digest
from ledger.fields import Height, View
from ledger.parameters import ConsensusParameters
from ledger.validators import ValidatorSet


class TimerKind(Enum):
    """A replica has at most one timer of each kind."""

    VIEW = "view"
    """The primary has had its time."""

    RESEND = "resend"
    """Time to say the last words again."""

    STATUS = "status"
    """Time to say where this replica stands; always armed."""


@dataclass(frozen=True, slots=True)
class Timer:
    """Which timer, and what it was armed for."""

    kind: TimerKind
    height: Height
    view: View


# Events


@dataclass(frozen=True, slots=True)
class Started:
    """The first event of every replica."""


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """Bytes came from the network; from whom does not matter, since messages prove their sender."""

    data: bytes


@dataclass(frozen=True, slots=True)
class WorkArrived:
    """A block could be built now: an executable transaction is queued or a deadline is due. May be repeated."""


@dataclass(frozen=True, slots=True)
class WorkGone:
    """No block could be built any more, although `WorkArrived` said so."""


@dataclass(frozen=True, slots=True)
class BlockBuilt:
    """Answers `BuildBlock`."""

    height: Height
    view: View
    block: Block | None
    """None when there is nothing to propose."""


@dataclass(frozen=True, slots=True)
class BlockValidated:
    """Answers `ValidateBlock`."""

    height: Height
    view: View
    """As in the effect that is answered."""

    block_id: Digest
    ok: bool
    reason: str = ""
    """Why it is not valid."""

    passes_over: str = ""
    """A transaction that everybody must hold by now and that this block, though valid, keeps off the chain; or ""."""


@dataclass(frozen=True, slots=True)
class TimerExpired:
    """The delay of a `SetTimer` is over; harmless when it comes late or after its cancellation."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class BlockAppended:
    """Follows every finished `AppendBlock`."""

    height: Height
    """Of the block that is now the tip."""

    block_id: Digest
    validators: ValidatorSet
    """Decides the next height."""

    parameters: ConsensusParameters
    """In force at the next height."""

    coming: ValidatorSet | None = None
    """Decides the height after it; None when that is the same set."""


@dataclass(frozen=True, slots=True)
class SnapshotInstalled:
    """A certified state of a later height has taken the place of the blocks up to it.

    The driver has verified every certificate on the way there, and has deleted the safety records of all those heights
    together with writing the state. May come between any two events but `AppendBlock`'s and its `BlockAppended`.
    """

    height: Height
    """Of the block that is now the tip; above all that were appended."""

    block_id: Digest
    time_ms: int
    """The block's."""

    validators: ValidatorSet
    """Decides the next height."""

    parameters: ConsensusParameters
    """In force at the next height."""

    coming: ValidatorSet | None = None
    """Decides the height after it; None when that is the same set."""


@dataclass(frozen=True, slots=True)
class CertifiedBlockReceived:
    """A fetched block."""

    certified: CertifiedBlock
    checked_for: Digest | None = None
    """Hash of the validator set against which the driver has checked the certificate, and that the transactions are
    those of the header; None when nothing has been checked. It counts only while that set decides the height."""


@dataclass(frozen=True, slots=True)
class FetchEnded:
    """Answers `FetchBlocks`, after its last `CertifiedBlockReceived`, whether it brought anything or not."""


Event: TypeAlias = (
    Started
    | MessageReceived
    | WorkArrived
    | WorkGone
    | BlockBuilt
    | BlockValidated
    | TimerExpired
    | BlockAppended
    | SnapshotInstalled
    | CertifiedBlockReceived
    | FetchEnded
)

# Effects


@dataclass(frozen=True, slots=True)
class Persist:
    """Write safety records; they are on the disk (fsync) before the next effect is begun."""

    height: Height
    records: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send a message to every other validator and follower; never to oneself."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to one validator of the current set."""

    validator: int
    data: bytes


@dataclass(frozen=True, slots=True)
class BuildBlock:
    """Begin to build a block on the tip, proposed by this replica; `BlockBuilt` answers."""

    height: Height
    view: View


@dataclass(frozen=True, slots=True)
class ValidateBlock:
    """Begin to execute a block on the tip and compare its header; `BlockValidated` answers."""

    view: View
    block: Block
    fresh: bool
    """Check its time against the clock; False for a block that a quorum has already prepared."""


@dataclass(frozen=True, slots=True)
class AppendBlock:
    """Append a final block; then step with `BlockAppended`.

    Block, certificate and the deletion of its height's safety records are written together or not at all. The driver
    executes the block here if it has not been validated before.
    """

    certified: CertifiedBlock


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Step with `TimerExpired(timer)` in `delay_ms`; replaces the timer of the same kind."""

    timer: Timer
    delay_ms: int


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Disarm the timer of this kind."""

    kind: TimerKind


@dataclass(frozen=True, slots=True)
class FetchBlocks:
    """Begin to fetch certified blocks from any of these validators.

    Step with `CertifiedBlockReceived` for each in ascending order (appending one before the next), then with
    `FetchEnded`. At most one fetch is ever outstanding.
    """

    from_height: Height
    to_height: Height
    """Inclusive; fewer blocks are fine."""

    validators: tuple[int, ...]
    """Indices in the current set, the most promising first; never empty, never oneself."""


class DropReason(Enum):
    """Why a message changed nothing."""

    MALFORMED = "malformed"
    NOT_A_MEMBER = "not-a-member"
    DUPLICATE = "duplicate"
    STALE = "stale"
    TOO_FAR_AHEAD = "too-far-ahead"
    UNWANTED = "unwanted"
    BAD_SIGNATURE = "bad-signature"
    BAD_CERTIFICATE = "bad-certificate"
    NOT_THE_PRIMARY = "not-the-primary"
    WRONG_BLOCK = "wrong-block"


@dataclass(frozen=True, slots=True)
class Drop:
    """A message was dropped; for logs and metrics."""

    kind: str
    """Name of the message's type; empty when it was malformed."""

    sender: int | None
    """Who it claims to be from; proven only for reasons after the signature."""

    reason: DropReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A validator signed two things of which an honest one signs one; or two certificates show that several did."""

    offender: int
    """One of them, when there are several."""

    first: bytes
    second: bytes
    """Both are encoded messages, verified: votes, VIEW-CHANGEs, or what carries a commit certificate."""


class NoticeKind(Enum):
    """What may be worth a line in a log or a number on a page."""

    VIEW_ENTERED = "view-entered"
    VIEW_CHANGE_ASKED = "view-change-asked"
    BLOCK_REJECTED = "block-rejected"
    TRANSACTION_PASSED_OVER = "transaction-passed-over"
    """The primary keeps a transaction off the chain (R10): it is not waited for any more."""

    EXECUTION_DIFFERS = "execution-differs"
    """A quorum prepared what this node finds invalid: look at the node before it votes again."""

    SIGNED_ELSEWHERE = "signed-elsewhere"
    """Another process signs with this key, or the data directory was restored: signing is suspended."""

    SIGNING_RESUMED = "signing-resumed"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something happened that an operator may want to know."""

    kind: NoticeKind
    height: Height
    view: View
    detail: str = ""


Report: TypeAlias = Drop | Evidence | Notice
Effect: TypeAlias = (
    Persist
    | Broadcast
    | Send
    | BuildBlock
    | ValidateBlock
    | AppendBlock
    | SetTimer
    | CancelTimer
    | FetchBlocks
    | Drop
    | Evidence
    | Notice
)
