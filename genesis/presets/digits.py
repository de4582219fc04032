"""The task `digits`: ten participants learn handwritten digits. One law: three of the ten may lie.

The model is the softmax regression of `examples.digits`: 64 pixels to ten classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fl.aggregators import RuleSpec, minimum_updates
from fl.records import TaskSpec
from fl.schema import ModelSchema, TensorSpec
from genesis.presets.rules import rule_named

PIXELS: Final = 64
CLASSES: Final = 10
LIARS_MAX: Final = 3
ROUNDS: Final = 25
COLLECT_MS: Final = 10_000
AGGREGATE_MS: Final = 30_000


def digits_task(trainers: Sequence[str], rounds: int | None = None, rule: RuleSpec | None = None) -> TaskSpec:
    """Return the task.

    Args:
        trainers: names of those who may submit.
        rounds: certified rounds after which it is finished; 25 when None.
        rule: how updates are aggregated; multi-Krum against three liars when None.

    Raises:
        AggregationError: the rule's parameters contradict each other.
    """
    chosen = rule_named("multi-krum", LIARS_MAX) if rule is None else rule
    return TaskSpec(
        id="digits",
        description="Handwritten digits, 8x8 pixels (scikit-learn), softmax regression",
        schema=ModelSchema((TensorSpec("weight", (PIXELS, CLASSES), 0, 0), TensorSpec("bias", (CLASSES,), 0, 0))),
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
