"""FoolsGold: rows that are too much alike lose weight. One law: many copies count no more than none.

Formula, with cosines c_ij: m_i = max(0, max over j of c_ij); c'_ij = c_ij m_i / m_j where m_i < m_j, else c_ij;
x_i = 1 - max(0, max over j of c'_ij), over the largest of them and at most 0.99; weight_i = ln(x_i / (1 - x_i)) + 1/2,
cut to 0..1. R = the weighted mean; where all weights are 0 the model stays as it is.
Breakdown point: none; it works against any number of copies of one attack, and not against one liar.
Minimum n: max(2f + 1, 2); f matters to the grid and to clipping alone.
Source: Fung, Yoon, Beschastnikh, "The Limitations of Federated Learning in Sybil Settings", RAID 2020, Algorithm 1.
Differs from it in: cosines are those of this round's updates, not of all that a participant ever sent, of which the
chain keeps no sum; the logarithm is a series of 16 terms in integers, where its result is not cut off anyway.
Cost: O(n^2 d) for the Gram matrix, O(n^2) for the weights, O(n d) for the result: two passes.
"""

from __future__ import annotations

from typing import Final

from fl.aggregators.barycentre import UNIT, UNIT_BITS, at, cosines, split
from fl.aggregators.fltrust import minimum
from fl.aggregators.gram import Gram
from fl.aggregators.plan import Linear, Rule, Situation
from fl.aggregators.spec import RuleSpec

NEAR_ONE: Final = 99 * UNIT // 100
TERMS: Final = 16


def plan(_spec: RuleSpec, situation: Situation) -> Linear:
    """Return the mean under the weights that likeness leaves."""
    weights = sybil_weights(situation.gram)
    return at(split(weights, situation.count) if any(weights) else (0,) * situation.count)


def sybil_weights(gram: Gram) -> list[int]:
    """Return each row's weight, 0..2^30."""
    count, likeness = len(gram), cosines(gram)
    for row in range(count):
        likeness[row][row] = 0
    most = [max(line) for line in likeness]
    pardoned = [
        max(
            c * most[row] // most[other] if most[row] < most[other] and other != row else c
            for other, c in enumerate(line)
        )
        for row, line in enumerate(likeness)
    ]
    apart = [UNIT - alike for alike in pardoned]
    largest = max(apart)
    if largest == 0:
        return [0] * count
    return [half_plus_logit(min((value << UNIT_BITS) // largest, NEAR_ONE)) for value in apart]


def half_plus_logit(x: int) -> int:
    """Return 1/2 + ln(x / (1 - x)) cut to 0..1, all in units of 2^-30.

    With z = 2x - 1 the logarithm is 2 (z + z^3 / 3 + z^5 / 5 + ...); from |z| = 1/4 on it is beyond the cut.
    """
    z = abs(2 * x - UNIT)
    if 4 * z >= UNIT:
        return UNIT if 2 * x > UNIT else 0
    power, total = z, 0
    for term in range(TERMS):
        total += power // (2 * term + 1)
        power = power * z * z >> 2 * UNIT_BITS
    signed = 2 * total if 2 * x > UNIT else -2 * total
    return min(max(UNIT // 2 + signed, 0), UNIT)


FOOLSGOLD = Rule(needs_gram=True, weighted=False, minimum=minimum, plan=plan)
