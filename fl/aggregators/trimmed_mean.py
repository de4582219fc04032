"""Coordinate-wise trimmed mean. One law: each coordinate lies between two honest values of that coordinate.

Formula: R_j = the sum of (u_1j .. u_nj) without its f lowest and f highest values, over n - 2f.
Breakdown point: f < n / 2.
Minimum n: 2f + 1.
Source: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018,
Definition 2, with beta = f / n.
Differs from it in: integers; a float sum depends on the order of its terms.
Cost: O(n log^2 n d) comparisons of 16-bit words without branches, one pass.
"""

from fl.aggregators.plan import Middle, Rule, Situation, honest_majority
from fl.aggregators.spec import RuleSpec


def plan(spec: RuleSpec, _situation: Situation) -> Middle:
    """Return the trimming of f values on each side."""
    return Middle(spec.f)


TRIMMED_MEAN = Rule(needs_gram=False, weighted=False, minimum=honest_majority, plan=plan)
