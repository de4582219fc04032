"""When policies judge, and what they see then. One law: an occasion is a step of execution, and nothing else.

The fields of an occasion are the names that a policy for it may use.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from fl.policies.inputs import (
    BudgetInput,
    ProposalInput,
    ReleaseInput,
    RoundInput,
    SiteInput,
    TaskInput,
    UpdateInput,
)
from fl.policies.types import Input
from fl.records import PARTICIPANTS_MAX

Occasion = Literal["task", "round", "update", "close", "proposal", "release"]
"""When a policy judges: a task is proposed or approved; a round's first update would begin it; an update would come in;
a round would close; terms, a budget or a release is voted on."""


class TaskOccasion(Input):
    """A task is proposed, gets the approval that makes it active, or would be changed."""

    height: int
    """Enforced: of the block."""

    time_ms: int
    """Enforced: of the block, milliseconds since 1970."""

    task: TaskInput
    """The task."""

    site: SiteInput
    """The institution that proposes, or whose approval it is."""


class RoundOccasion(Input):
    """The first update of a round comes in: the round would begin."""

    height: int
    """Enforced: of the block."""

    time_ms: int
    """Enforced: of the block, milliseconds since 1970."""

    task: TaskInput
    """Its task."""

    round: RoundInput
    """The round, still empty."""

    site: SiteInput
    """The institution whose update begins it."""


class UpdateOccasion(Input):
    """An update comes in."""

    height: int
    """Enforced: of the block."""

    time_ms: int
    """Enforced: of the block, milliseconds since 1970."""

    task: TaskInput
    """Its task."""

    round: RoundInput
    """Its round, without it."""

    update: UpdateInput
    """The update."""

    site: SiteInput
    """The institution that answers for it."""

    budget: BudgetInput
    """That institution's privacy budget."""


class CloseOccasion(Input):
    """A round has its updates, or its time is up: it would close; when denied, it fails."""

    height: int
    """Enforced: of the block."""

    time_ms: int
    """Enforced: of the block, milliseconds since 1970."""

    task: TaskInput
    """Its task."""

    round: RoundInput
    """The round with all its updates."""

    sites: Annotated[tuple[SiteInput, ...], Meta(max_length=PARTICIPANTS_MAX)]
    """The institutions in it, ascending."""


class ProposalOccasion(Input):
    """Terms, a budget or a release has its votes and would be enacted; denied, it waits for more approvals."""

    height: int
    """Enforced: of the block."""

    time_ms: int
    """Enforced: of the block, milliseconds since 1970."""

    proposal: ProposalInput
    """What is voted on."""


class ReleaseOccasion(Input):
    """A release has its votes and would be enacted; denied, it waits."""

    height: int
    """Enforced: of the block."""

    time_ms: int
    """Enforced: of the block, milliseconds since 1970."""

    task: TaskInput
    """The model's task."""

    proposal: ProposalInput
    """What is voted on."""

    release: ReleaseInput
    """The model."""


OCCASIONS: Final[dict[Occasion, type[Input]]] = {
    "task": TaskOccasion,
    "round": RoundOccasion,
    "update": UpdateOccasion,
    "close": CloseOccasion,
    "proposal": ProposalOccasion,
    "release": ReleaseOccasion,
}
