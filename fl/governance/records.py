"""What is decided about learning, and what the state keeps of it. One law: an action is complete in itself."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from fl.aggregators import RuleSpec
from fl.records import PARTICIPANTS_MAX, TASKS_ACTIVE_MAX, Days, TaskSpec
from ledger.codec import Record
from ledger.fields import DigestField, HeightField, NameField, TimeField, Uint
from ledger.payload import PayloadDescriptor
from ledger.validators import VALIDATORS_MAX

PAUSE_MS_MAX: Final = 7 * 86_400_000
PAUSES_MAX: Final = TASKS_ACTIVE_MAX + 1
"""A task does not end while it is paused, so there are no more."""

EVERYTHING: Final = "*"
"""How a pause of all tasks is named in events."""


class PauseLearning(Record, frozen=True, tag="pause-learning"):
    """An emergency brake: no update and no result is taken until the pause is over. f + 1 organisations can pull it."""

    task: NameField | None
    """None for all tasks."""

    lasts_ms: Annotated[int, Meta(ge=1, le=PAUSE_MS_MAX)]
    """From the block in which it is enacted."""


class ResumeLearning(Record, frozen=True, tag="resume-learning"):
    """End a pause early."""

    task: NameField | None
    """As in the pause."""


class ChangeTask(Record, frozen=True, tag="change-task"):
    """A running task goes on under other rules; what is learned (schema, name, first model) stays."""

    task: NameField
    specification: DigestField
    """Of the specification that is changed, so that nobody agrees to a change of something else."""

    rule: RuleSpec
    clip_norm_micros: Uint
    updates_min: Annotated[int, Meta(ge=1, le=PARTICIPANTS_MAX)]
    updates_max: Annotated[int, Meta(ge=1, le=PARTICIPANTS_MAX)]
    collect_ms: Days
    aggregate_ms: Days
    rounds: Annotated[int, Meta(ge=1, le=1_000_000)]
    participants: Annotated[tuple[NameField, ...], Meta(max_length=PARTICIPANTS_MAX)]


class ReleaseModel(Record, frozen=True, tag="release-model"):
    """A certified model may be used; the organisation that proposes it has no vote on it."""

    task: NameField
    version: Uint
    model: PayloadDescriptor
    """Exactly these bytes."""


# Facts of the state


class Pause(Record):
    """One pause."""

    task: NameField | None
    until_ms: TimeField
    """The first block of this time or later ends it."""


class Pauses(Record):
    """All pauses."""

    items: Annotated[tuple[Pause, ...], Meta(max_length=PAUSES_MAX)]
    """Ascending by task, that of all tasks first; one for each at most."""


class PendingChange(Record):
    """What a task's specification becomes with the first round that opens from a height on."""

    spec: TaskSpec
    from_height: HeightField


class FormerSpecification(Record):
    """What a task's specification was."""

    spec: TaskSpec
    last_round: Uint
    """The last one under it."""


class Release(Record):
    """A released model."""

    task: NameField
    version: Uint
    model: PayloadDescriptor
    proposal: Uint
    organisations: Annotated[tuple[NameField, ...], Meta(max_length=VALIDATORS_MAX)]
    """Who agreed, ascending."""

    height: HeightField
