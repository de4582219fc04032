"""Coordinate-wise median. One law: each coordinate lies between two honest values of that coordinate.

Formula: R_j = the middle of (u_1j .. u_nj); for even n half the sum of the two middle ones, kept exact (denominator 2).
Breakdown point: f < n / 2.
Minimum n: 2f + 1.
Source: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018, Definition 1.
Differs from it in: integers; the half of an even n is not rounded here but in the one division at the end.
Cost: O(n log^2 n d) comparisons of 16-bit words without branches, one pass.
"""

from fl.aggregators.plan import Middle, Rule, Situation, honest_majority
from fl.aggregators.spec import RuleSpec


def plan(_spec: RuleSpec, situation: Situation) -> Middle:
    """Return the trimming that leaves one value (odd n) or two (even n)."""
    return Middle((situation.count - 1) // 2)


MEDIAN = Rule(needs_gram=False, weighted=False, minimum=honest_majority, plan=plan)
