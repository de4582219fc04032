"""What the API says of tasks. One law: as in `answers`, digests are hexadecimal."""

from __future__ import annotations

from node.api.answers import Answer


class TensorAnswer(Answer, frozen=True):
    """One tensor of a model."""

    name: str
    shape: tuple[int, ...]
    exponent: int


class RuleAnswer(Answer, frozen=True):
    """How updates are aggregated."""

    rule: str
    f: int
    pre: tuple[str, ...]
    keep: int
    weight_cap_permille: int


class OptimiserAnswer(Answer, frozen=True):
    """How aggregates move the model."""

    optimiser: str
    rate_micros: int
    momentum_permille: int
    variance_permille: int
    floor_micros: int


class TaskChangeAnswer(Answer, frozen=True):
    """What a task is going to be."""

    from_height: int
    """The first round that opens at this height or later is held under it."""

    digest: str
    rule: RuleAnswer
    clip_norm_micros: int
    updates_min: int
    updates_max: int
    collect_ms: int
    aggregate_ms: int
    rounds: int
    participants: tuple[str, ...]


class TaskAnswer(Answer, frozen=True):
    """What is learned, how, and how far it is."""

    id: str
    description: str
    digest: str
    status: str
    round: int
    version: int
    certified: int
    rounds: int
    rule: RuleAnswer
    clip_norm_micros: int
    updates_min: int
    updates_max: int
    collect_ms: int
    aggregate_ms: int
    tensors: tuple[TensorAnswer, ...]
    parameters: int
    """Words of the model."""

    participants: tuple[str, ...]
    approvals: tuple[str, ...]
    paused_until_ms: int | None
    """While it is set, neither updates nor results are taken."""

    change: TaskChangeAnswer | None
    """What is decided and not in force."""

    optimiser: OptimiserAnswer | None
    """None: aggregates are added to the model."""


class TasksAnswer(Answer, frozen=True):
    """Tasks, ascending by id."""

    items: tuple[TaskAnswer, ...]
    next: str | None = None
