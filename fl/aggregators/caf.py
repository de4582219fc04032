"""Covariance-bound-agnostic filter (CAF): rows lose weight as they lie out. One law: the calmest mean seen wins.

Formula: c_i = 1 at first. While sum c > n - 2f: m = the mean of the rows weighted by c; p_i = the projection of u_i - m
on the direction of the largest variance lambda under c (`fl.aggregators.spectrum`); remember m where lambda is smaller
than ever; c_i <- c_i (1 - p_i^2 / max p^2). R = the m remembered; the plain mean with f = 0.
Breakdown point: f < n / 2.
Minimum n: 2f + 1. Maximum n: 128, since up to 2f directions are searched.
Source: Allouah, Guerraoui, Stephan, "Towards Trustworthy Federated Learning with Untrusted Participants", ICML 2025,
Algorithm 2.
Differs from it in: the maximum is over rows that still have weight, so that each turn takes one row's weight away and
there are at most 2f; weights have 20 bits, rounded down; 64 power steps from a stated row, where ByzFL takes one step
from a random vector and so gives another result every time.
Cost: O(n^2 d) for the Gram matrix, O(f n^2) steps, O(n d) for the result: two passes.
"""

from __future__ import annotations

from typing import Final

from fl.aggregators.barycentre import at, split
from fl.aggregators.gram import Gram
from fl.aggregators.plan import Linear, Rule, Situation, honest_majority
from fl.aggregators.spec import RuleSpec
from fl.aggregators.spectrum import VECTOR_BITS, centred, main_direction

ROWS_MAX: Final = 128
WHOLE: Final = 1 << VECTOR_BITS


def plan(spec: RuleSpec, situation: Situation) -> Linear:
    """Return the mean under the calmest weights."""
    return at(split(calmest_weights(situation.gram, spec.f), situation.count))


def calmest_weights(gram: Gram, f: int) -> list[int]:
    """Return the weights, in units of 2^-20, whose main direction has the smallest variance."""
    weights = [WHOLE] * len(gram)
    best, variance = weights, -1
    while sum(weights) > (len(gram) - 2 * f) * WHOLE:
        found = main_direction(centred(gram, weights), weights)
        if variance < 0 or found.variance < variance:
            best, variance = weights, found.variance
        squares = [value * value for value in found.projections]
        farthest = max(square for square, weight in zip(squares, weights, strict=True) if weight)
        if farthest == 0:
            break
        weights = [
            weight * (farthest - square) // farthest if weight else 0
            for weight, square in zip(weights, squares, strict=True)
        ]
    return best


CAF = Rule(needs_gram=True, weighted=False, minimum=honest_majority, plan=plan, maximum=ROWS_MAX)
