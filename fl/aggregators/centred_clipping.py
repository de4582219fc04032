"""Centred clipping: every row pulls the centre toward itself, none further than the radius. One law: bounded pull.

Formula: v <- v + mean over i of (u_i - v) min(1, radius / |u_i - v|), 16 times from v = 0.
Breakdown point: f < n / 2 moves the result by at most 2 f / n radii a step; how good it is depends on the radius.
Minimum n: 2f + 1.
Source: Karimireddy, He, Jaggi, "Learning from History for Byzantine Robust Optimization", ICML 2021, Algorithm 2.
Differs from it in: it starts from 0, the base model, and takes 16 steps, where the paper starts from the round before
and takes one; the centre is a combination of rows, kept as coefficients in units of 2^-30 rounded down, and at last
shares of 2^15. ByzFL with L=16 and a new object a round is the same, in floats; a ByzFL object that is used again
starts from where it ended.
Cost: O(n^2 d) for the Gram matrix, O(n^2) a step, O(n d) for the result: two passes whatever the steps.
"""

from __future__ import annotations

from typing import Final

from fl.aggregators.barycentre import UNIT, UNIT_BITS, at, distances
from fl.aggregators.plan import Linear, Rule, Situation, honest_majority
from fl.aggregators.spec import RuleSpec

STEPS: Final = 16


def plan(_spec: RuleSpec, situation: Situation) -> Linear:
    """Return the centre after the last step."""
    count = situation.count
    radius = situation.radius * situation.weight << 2 * UNIT_BITS
    centre = [0] * count
    for _ in range(STEPS):
        factors = [min(UNIT, radius // max(far, 1)) for far in distances(situation.gram, centre)]
        kept = UNIT * count - sum(factors)
        centre = [(old * kept + UNIT * factor) // (UNIT * count) for old, factor in zip(centre, factors, strict=True)]
    return at(centre)


CENTRED_CLIPPING = Rule(needs_gram=True, weighted=False, minimum=honest_majority, plan=plan)
