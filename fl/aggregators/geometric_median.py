"""Geometric median: the point whose distances from all rows add up to least. One law: a far row pulls no harder.

Formula: z = argmin sum_i p_i |u_i - z|, by Weiszfeld's steps a_i <- (p_i / |u_i - z|) / sum_j (p_j / |u_j - z|), from
the mean on, until no coefficient moves by more than 2^-18 and at most 64 times; a distance below one grid unit counts
as one. Here p_i = 1; `fl.aggregators.weighted_geometric_median` has other weights.
Breakdown point: f < n / 2.
Minimum n: 2f + 1.
Source: Pillutla, Kakade, Harchaoui, "Robust Aggregation for Federated Learning", IEEE TSP 2022, Algorithm 2
(smoothed Weiszfeld); Weiszfeld, Tohoku Mathematical Journal 1937.
Differs from it in: steps are taken on the exact Gram matrix, in integers (`fl.aggregators.barycentre`); the last
coefficients are shares of 2^15. ByzFL begins at 0, takes 3 steps and floors distances at 0.1; with enough steps both
come to the same point.
Cost: O(n^2 d) for the Gram matrix, O(n^2) a step, O(n d) for the result: two passes whatever the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fl.aggregators.barycentre import UNIT, UNIT_BITS, at, distances, split
from fl.aggregators.gram import Gram
from fl.aggregators.plan import Linear, Rule, Situation, honest_majority
from fl.aggregators.spec import RuleSpec

STEPS_MAX: Final = 64
SETTLED: Final = 1 << UNIT_BITS - 18


def median_point(gram: Gram, weights: Sequence[int], unit: int) -> tuple[int, ...]:
    """Return the coefficients of the weighted geometric median.

    Args:
        gram: n x n.
        weights: p_i >= 0, not all 0.
        unit: length of one grid unit in `gram`, at least 1.
    """
    point = split(weights, len(gram))
    for _ in range(STEPS_MAX):
        far = [max(distance, UNIT * unit) for distance in distances(gram, point)]
        longest = max(far) << UNIT_BITS
        moved = split([weight * (longest // length) for weight, length in zip(weights, far, strict=True)], len(gram))
        step = max(abs(new - old) for new, old in zip(moved, point, strict=True))
        point = moved
        if step <= SETTLED:
            break
    return point


def plan(_spec: RuleSpec, situation: Situation) -> Linear:
    """Return the point where equal weights come to rest."""
    return at(median_point(situation.gram, [1] * situation.count, situation.weight))


GEOMETRIC_MEDIAN = Rule(needs_gram=True, weighted=False, minimum=honest_majority, plan=plan)
