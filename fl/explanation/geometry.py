"""What the words of a round say beside their aggregate. One law: measured on the updates as submitted, exactly.

One more pass over the words than the aggregation itself: the Gram matrix of the updates and of their aggregate, which
is written as one more row of the same grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm

import numpy as np
from numpy.typing import NDArray

from fl.aggregators import IN_TURN, ClipFactor, Decision, Work
from fl.aggregators.clip import WHOLE
from fl.aggregators.gram import Gram, gram_matrix
from fl.aggregators.plan import Linear
from fl.aggregators.rows import Rows
from fl.grid import WORD_MAX
from fl.results import AggregationJob, decision_of
from fl.rounding import add_quotient_half_even


@dataclass(frozen=True, slots=True)
class RoundGeometry:
    """A round's updates and their aggregate, as lengths, angles and shares."""

    gram: Gram
    """(n + 1) x (n + 1): the n updates as submitted, then the aggregate rounded to the grid; squared grid units of the
    smallest exponent."""

    exponent: int
    """The smallest exponent: a grid unit is worth 2^(exponent - 13)."""

    at_limit: tuple[int, ...]
    """Per update, how many of its words lie at either end of the grid's range."""

    factors: tuple[ClipFactor, ...]
    """Per update, by how much it was shortened before the rule saw it."""

    pulls: tuple[int, ...]
    """Per update, how strongly the rule weighed it, in one unit for the whole round."""


def measure(job: AggregationJob, words: NDArray[np.int16], work: Work = IN_TURN) -> RoundGeometry:
    """Measure a round.

    Args:
        job: the round.
        words: shape (n + 1, d) int16: the updates in the order of `job.updates`; the last row is written to.
        work: how the passes are carried out; the numbers are the same.

    Raises:
        InputError: words are out of range.
        AggregationError: too few updates for the rule.

    Cost: the aggregation's passes, one Gram matrix of n + 1 rows, and one read for what lies at the limit.
    """
    updates, segments = words[:-1], job.spec.schema.segments(job.round.exponents)
    decision = decision_of(job, updates, work)
    _write_aggregate(decision, words[-1])
    rows = Rows(words, (WHOLE,) * len(words), segments, work)
    return RoundGeometry(
        gram=gram_matrix(rows),
        exponent=rows.exponent_min,
        at_limit=_at_limit(rows, len(updates)),
        factors=decision.last_pass.rows.factors,
        pulls=_pulls(decision),
    )


def _write_aggregate(decision: Decision, row: NDArray[np.int16]) -> None:
    """Round the aggregate half-even onto the grid of the updates; |aggregate| <= 8191 since it is a mean of words."""
    last = decision.last_pass
    for place in last.places(0, last.rows.size):
        sums = last.sums(place).astype(np.int64)
        row[place] = add_quotient_half_even(np.zeros(len(sums), np.int64), sums, last.denominator)


def _at_limit(rows: Rows, count: int) -> tuple[int, ...]:
    totals = [0] * count
    for place in rows.places(0, rows.size):
        found = np.count_nonzero(np.abs(rows.words[:count, place]) == WORD_MAX, axis=1)
        totals = [total + int(more) for total, more in zip(totals, found, strict=True)]
    return tuple(totals)


def _pulls(decision: Decision) -> tuple[int, ...]:
    """Return coefficient times clip factor where the rule is a sum, and share let through times weight elsewhere."""
    factors = decision.last_pass.rows.factors
    plan = decision.last_pass.plan
    if isinstance(plan, Linear):
        strengths = list(plan.coefficients)
    else:
        common = lcm(*(kept.out_of for kept in decision.retained))
        weights = decision.weights if any(decision.weights) else (1,) * len(factors)
        strengths = [
            kept.used * (common // kept.out_of) * weight
            for kept, weight in zip(decision.retained, weights, strict=True)
        ]
    shift = max(factor.shift for factor in factors)
    return tuple(
        strength * factor.numerator << (shift - factor.shift)
        for strength, factor in zip(strengths, factors, strict=True)
    )
