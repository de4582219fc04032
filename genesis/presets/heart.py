"""The task `heart`: four hospitals learn to predict heart disease. One law: one of the four may lie.

The model is the logistic regression of `examples.heart`: a weight for each of its features, and a bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fl.aggregators import RuleSpec, minimum_updates
from fl.records import TaskSpec
from fl.schema import ModelSchema, TensorSpec
from genesis.presets.rules import rule_named

FEATURES: Final = 38
LIARS_MAX: Final = 1
ROUNDS: Final = 25
COLLECT_MS: Final = 10_000
AGGREGATE_MS: Final = 30_000


def heart_task(trainers: Sequence[str], rounds: int | None = None, rule: RuleSpec | None = None) -> TaskSpec:
    """Return the task.

    Args:
        trainers: names of those who may submit.
        rounds: certified rounds after which it is finished; 25 when None.
        rule: how updates are aggregated; mixing and trimmed mean against one liar when None.

    Raises:
        AggregationError: the rule's parameters contradict each other.
    """
    chosen = rule_named("nnm", LIARS_MAX) if rule is None else rule
    return TaskSpec(
        id="heart",
        description="Heart disease (num > 0) from 13 clinical features (UCI heart-disease data), logistic regression",
        schema=ModelSchema((TensorSpec("weight", (FEATURES,), 0, 0), TensorSpec("bias", (1,), 0, 0))),
        initial_model=None,
        rule=chosen,
        clip_norm_micros=0,
        updates_min=max(minimum_updates(chosen), len(trainers) - LIARS_MAX),
        updates_max=len(trainers),
        collect_ms=COLLECT_MS,
        aggregate_ms=AGGREGATE_MS,
        rounds=ROUNDS if rounds is None else rounds,
        participants=tuple(sorted(trainers)),
    )
