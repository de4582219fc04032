"""What a rule decides before the words are read again. One law: carrying a plan out decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fl.aggregators.gram import Gram
from fl.aggregators.spec import UPDATES_MAX, RuleSpec


@dataclass(frozen=True, slots=True)
class Linear:
    """The result is sum of coefficient_i * row_i over the denominator."""

    coefficients: tuple[int, ...]
    """One a row, at least 0; together at most the denominator, what is missing belongs to the base model."""

    denominator: int


@dataclass(frozen=True, slots=True)
class Middle:
    """The result is, per coordinate, the mean of what is left without the `drop` lowest and `drop` highest values."""

    drop: int
    """At most (n - 1) // 2."""


@dataclass(frozen=True, slots=True)
class Around:
    """The result is, per coordinate, the mean of the `keep` values of some rows that are nearest to their median."""

    chosen: tuple[int, ...]
    """Rows that are looked at, ascending."""

    keep: int
    """1..len(chosen)."""


@dataclass(frozen=True, slots=True)
class WeightedMiddle:
    """The result is, per coordinate, the weighted mean without the lowest and the highest `trim` of weight.

    In ascending order of value each row covers as much of a line as it has weight; what lies within `trim` of either
    end is cut off, a row that is cut in two counts with what is left of it.
    """

    weights: tuple[int, ...]
    """One a row, at least 0."""

    trim: int
    """Less than half of all weight."""

    @property
    def denominator(self) -> int:
        """How much weight is left."""
        return sum(self.weights) - 2 * self.trim


Plan: TypeAlias = Linear | Middle | Around | WeightedMiddle


@dataclass(frozen=True, slots=True)
class Situation:
    """What a rule may look at; rows are in ascending order of participant id, which breaks ties."""

    count: int
    """n, after mixing."""

    shares: tuple[int, ...]
    """The rows' capped shares of 2^15; empty unless the rule is `weighted`."""

    gram: Gram
    """Of the clipped and mixed rows; empty unless the rule `needs_gram`."""

    weight: int = 1
    """w: a mixed row is w times a mean of rows, and so is every length in `gram`."""

    radius: int = 0
    """Centred clipping: in grid units of the smallest exponent, of an unmixed row."""

    root: int | None = None
    """FLTrust: which row is the root's; None when it is not in the round."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One aggregation rule."""

    needs_gram: bool
    weighted: bool

    minimum: Callable[[RuleSpec], int]
    """How many updates the rule needs to keep its promise."""

    plan: Callable[[RuleSpec, Situation], Plan]
    """Decide, given at least the minimum."""

    maximum: int = UPDATES_MAX
    """How many updates the rule's search is meant for."""


def honest_majority(spec: RuleSpec) -> int:
    """Return 2f + 1: the honest are more than the liars."""
    return 2 * spec.f + 1


def selection(rows: Sequence[int], count: int) -> Linear:
    """Return the plain mean of some of `count` rows."""
    chosen = set(rows)
    return Linear(tuple(int(row in chosen) for row in range(count)), len(chosen))
