"""What a rule decides before the words are read again. One law: carrying a plan out decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fl.aggregators.gram import Gram
from fl.aggregators.spec import RuleSpec


@dataclass(frozen=True, slots=True)
class Linear:
    """The result is sum of coefficient_i * row_i over the denominator."""

    coefficients: tuple[int, ...]
    """One a row, at least 0, summing to the denominator."""

    denominator: int


@dataclass(frozen=True, slots=True)
class Middle:
    """The result is, per coordinate, the mean of what is left without the `drop` lowest and `drop` highest values."""

    drop: int
    """At most (n - 1) // 2."""


Plan: TypeAlias = Linear | Middle


@dataclass(frozen=True, slots=True)
class Situation:
    """What a rule may look at; rows are in ascending order of participant id, which breaks ties."""

    count: int
    """n."""

    weights: Sequence[int]
    """Sample counts, one a row."""

    gram: Gram
    """Of the clipped and mixed rows; empty unless the rule `needs_gram`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One aggregation rule."""

    needs_gram: bool
    weighted: bool

    minimum: Callable[[RuleSpec], int]
    """How many updates the rule needs to keep its promise."""

    plan: Callable[[RuleSpec, Situation], Plan]
    """Decide, given at least the minimum."""
