"""What federated learning writes to the chain and keeps in its state. One law: integers, names, digests.

The first half are payloads of transactions (said by participants), the second half are facts of the state (kept by
execution, provable against a header's state root).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from fl.aggregators import RuleSpec
from fl.optimisers import OptimiserSpec
from fl.schema import ModelSchema
from ledger.certificate import Seal
from ledger.codec import Record, encode
from ledger.digest import Digest, digest
from ledger.fields import UINT_MAX, DigestField, HeightField, NameField, PublicKeyField, TimeField, Uint
from ledger.payload import AvailabilityCertificate, PayloadDescriptor

PARTICIPANTS_MAX: Final = 1_024
TASKS_ACTIVE_MAX: Final = 64
METRICS_MAX: Final = 32
REASON_CHARACTERS_MAX: Final = 256
METRIC_UNIT: Final = 1_000_000
"""A metric of 0.5 is written as 500,000."""

Role = Literal["trainer", "officer"]
Metric = tuple[NameField, Annotated[int, Meta(ge=-UINT_MAX, le=UINT_MAX)]]
"""Name and value in millionths."""

Metrics = Annotated[tuple[Metric, ...], Meta(max_length=METRICS_MAX)]
Days = Annotated[int, Meta(ge=1, le=31 * 86_400_000)]


class Participant(Record):
    """Someone who may speak in the application, registered under one key."""

    name: NameField
    organisation: NameField
    """Institution that answers for it; a validator's name, or its own when it runs no node."""

    public_key: PublicKeyField
    roles: Annotated[tuple[Role, ...], Meta(max_length=2)]
    """`trainer`: submits updates and evaluations. `officer`: proposes and approves tasks."""


class TaskSpec(Record):
    """What is to be learned and how; never changes once it is on the chain."""

    id: NameField
    description: Annotated[str, Meta(max_length=1_024)]
    schema: ModelSchema
    initial_model: PayloadDescriptor | None
    """Exact model that the first round starts from; None for all zeros."""

    rule: RuleSpec
    clip_norm_micros: Uint
    """L2 length, in millionths, down to which longer updates are scaled; 0 for no bound."""

    updates_min: Annotated[int, Meta(ge=1, le=PARTICIPANTS_MAX)]
    """A round with fewer when its time is up has failed."""

    updates_max: Annotated[int, Meta(ge=1, le=PARTICIPANTS_MAX)]
    """A round with so many closes at once."""

    collect_ms: Days
    """How long a round stays open after its first update."""

    aggregate_ms: Days
    """How long the validators have for a certified result after a round has closed."""

    rounds: Annotated[int, Meta(ge=1, le=1_000_000)]
    """Certified rounds after which the task is finished."""

    participants: Annotated[tuple[NameField, ...], Meta(max_length=PARTICIPANTS_MAX)]
    """Who may submit, ascending; empty for every trainer."""

    optimiser: OptimiserSpec | None = None
    """How aggregates move the model; None adds them to it."""

    @property
    def digest(self) -> Digest:
        """Names exactly this specification; approvals refer to it."""
        return digest("task", encode(self))


class TaskProposal(Record):
    """`task.propose`: an officer puts a task to the vote; this is also its organisation's approval."""

    task: TaskSpec
    availability: AvailabilityCertificate | None
    """Of `task.initial_model`; None when the task has none."""


class TaskApproval(Record):
    """`task.approve`: an officer's organisation agrees to a proposed task."""

    task: NameField
    specification: DigestField


class UpdateSubmission(Record):
    """`update`: a participant's contribution to the open round of a task."""

    task: NameField
    round: Uint
    base_version: Uint
    """Model version that was trained from."""

    samples: Annotated[int, Meta(ge=1, le=2**40)]
    """Training examples behind it, as attested by the participant."""

    saturated: Uint
    """Coordinates that were cut off at the end of the grid's range."""

    metrics: Metrics
    """The participant's own figures, such as its training loss."""

    availability: AvailabilityCertificate
    """A quorum of validators keeps the update's words and has checked their range."""


class Contribution(Record):
    """What became of one update in its round."""

    participant: NameField
    weight: Uint
    """Share of 2^15 in a weighted rule; 0 in rules without weights."""

    norm: Uint
    """L2 length of the update, rounded down, in units of the round's finest grid."""

    retained: Uint
    """In how many of `retained_of` places the rule used it: its selection, or the neighbourhoods it is part of."""

    retained_of: Annotated[int, Meta(ge=1, le=PARTICIPANTS_MAX)]

    @property
    def left_out(self) -> bool:
        """Whether the rule did without it: not selected, or in fewer than half of the neighbourhoods."""
        return 2 * self.retained < self.retained_of


class RoundResult(Record):
    """What every validator computes from a closed round, bit for bit the same."""

    task: NameField
    round: Uint
    base_version: Uint
    model: PayloadDescriptor
    """The new global model."""

    exponents: tuple[int, ...]
    """Grid of the next round's updates, one a tensor."""

    peaks: tuple[Uint, ...]
    """What `exponents` follow from: a robust largest magnitude of this round's words, one a tensor."""

    saturated: Uint
    """Coordinates of the new model that were cut off at the end of the model's range."""

    contributions: Annotated[tuple[Contribution, ...], Meta(max_length=PARTICIPANTS_MAX)]
    """One an update, ascending by participant."""

    @property
    def digest(self) -> Digest:
        """What validators sign; it stands in the execution certificate."""
        return digest("round-result", encode(self))


class AggregateClaim(Record):
    """`aggregate`: a round's result with its execution certificate."""

    result: RoundResult
    seals: tuple[Seal, ...]
    """A quorum of validators computed exactly this result; ascending."""


class EvaluationReport(Record):
    """`evaluation`: a participant's figures of a certified model on its own held-out data."""

    task: NameField
    version: Uint
    samples: Annotated[int, Meta(ge=1, le=2**40)]
    metrics: Metrics


RoundStatus = Literal["open", "closed", "certified", "failed"]
TaskStatus = Literal["proposed", "active", "finished"]


class TaskState(Record):
    """Where a task stands."""

    spec: TaskSpec
    status: TaskStatus
    approvals: tuple[NameField, ...]
    """Organisations that agreed, ascending; empty for a task of the genesis document."""

    round: Uint
    """Number of the latest round, from 1; 0 before the task is active."""

    version: Uint
    """Latest model version; 0 is the initial model."""

    certified: Uint
    """Rounds that produced a model."""


class RoundState(Record):
    """Where a round stands."""

    task: NameField
    number: Uint
    status: RoundStatus
    base_version: Uint
    exponents: tuple[int, ...]
    """Grid of this round's updates, one a tensor; fixed when the round opens."""

    opened_height: HeightField
    opened_ms: TimeField
    deadline_ms: TimeField
    """End of collecting while open (0 until the first update came), of aggregating while closed."""

    closed_height: HeightField
    """Block in which the input set was fixed; 0 while open."""

    participants: Annotated[tuple[NameField, ...], Meta(max_length=PARTICIPANTS_MAX)]
    """Whose update is in, ascending."""

    organisations: Annotated[tuple[NameField, ...], Meta(max_length=PARTICIPANTS_MAX)]
    """Who answers for them, ascending."""

    version: Uint
    """Model version that it produced; 0 unless certified."""

    reason: Annotated[str, Meta(max_length=REASON_CHARACTERS_MAX)]
    """Why it failed; empty otherwise."""

    seed: DigestField
    """What is drawn by lot follows from it; 32 zero bytes until the input set is fixed."""


class UpdateState(Record):
    """An update that is in a round."""

    task: NameField
    round: Uint
    participant: NameField
    organisation: NameField
    transaction: DigestField
    height: HeightField
    payload: PayloadDescriptor
    samples: Uint
    saturated: Uint
    metrics: Metrics


class ModelState(Record):
    """One version of a task's global model."""

    task: NameField
    version: Uint
    round: Uint
    """Round that produced it; 0 for the initial model."""

    parent_version: Uint
    payload: PayloadDescriptor | None
    """None: all zeros."""

    result: DigestField
    """Digest of the `RoundResult`; the task's digest for the initial model."""

    height: HeightField


class EvaluationState(Record):
    """A participant's signed figures of one model version."""

    task: NameField
    version: Uint
    participant: NameField
    samples: Uint
    metrics: Metrics
    height: HeightField


class ActiveTasks(Record):
    """Tasks that blocks have to look after."""

    tasks: Annotated[tuple[NameField, ...], Meta(max_length=TASKS_ACTIVE_MAX)]


class LearningGenesis(Record):
    """What the genesis document says of federated learning."""

    participants: Annotated[tuple[Participant, ...], Meta(max_length=PARTICIPANTS_MAX)]
    tasks: Annotated[tuple[TaskSpec, ...], Meta(max_length=TASKS_ACTIVE_MAX)]
    """Active from the first block on, since every member signs the genesis document."""
