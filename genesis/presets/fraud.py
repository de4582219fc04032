"""The task `fraud`: four banks learn to tell fraudulent payments, and a fifth member sends what it was sent.

The model is the logistic regression of `examples.fraud`. It begins with the mean; the demo's members vote for another
rule in mid-run, and for the policy that demands three institutions a round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fl.aggregators import RuleSpec, minimum_updates
from fl.records import TaskSpec
from fl.schema import ModelSchema, TensorSpec
from genesis.presets.rules import rule_named

FEATURES: Final = 45
LIARS_MAX: Final = 1
ROUNDS: Final = 25
UPDATES_MIN: Final = 2
COLLECT_MS: Final = 10_000
AGGREGATE_MS: Final = 30_000


def fraud_task(trainers: Sequence[str], rounds: int | None = None, rule: RuleSpec | None = None) -> TaskSpec:
    """Return the task.

    Args:
        trainers: names of those who may submit.
        rounds: certified rounds after which it is finished; 25 when None.
        rule: how updates are aggregated; the weighted mean when None.

    Raises:
        AggregationError: the rule's parameters contradict each other.
    """
    chosen = rule_named("mean", LIARS_MAX) if rule is None else rule
    return TaskSpec(
        id="fraud",
        description="Fraudulent payments (simulated) from 15 signals, logistic regression with DP-SGD",
        schema=ModelSchema((TensorSpec("weight", (FEATURES,), 0, 0), TensorSpec("bias", (1,), 0, 0))),
        initial_model=None,
        rule=chosen,
        clip_norm_micros=0,
        updates_min=max(minimum_updates(chosen), UPDATES_MIN),
        updates_max=len(trainers),
        collect_ms=COLLECT_MS,
        aggregate_ms=AGGREGATE_MS,
        rounds=ROUNDS if rounds is None else rounds,
        participants=tuple(sorted(trainers)),
    )
