"""Mean around the median: per coordinate the mean of the n - f values nearest to the median. One law: none is far off.

Formula: R_j = the mean of the n - f values u_ij with the smallest (|2 u_ij - 2 median_j|, u_ij).
Breakdown point: f < n / 2; a value that counts is at most as far from the median as the farthest honest one.
Minimum n: 2f + 1.
Source: Xie, Koyejo, Gupta, "Generalized Byzantine-tolerant SGD", 2018, section 4 (mean around median).
Differs from it in: integers; of two values equally far the lower counts first, where ByzFL (Meamed) leaves open which.
Cost: O(n log n d), one pass.
"""

from fl.aggregators.plan import Around, Rule, Situation, honest_majority
from fl.aggregators.spec import RuleSpec


def plan(spec: RuleSpec, situation: Situation) -> Around:
    """Look at all rows and keep n - f values."""
    return Around(tuple(range(situation.count)), situation.count - spec.f)


MEAN_AROUND_MEDIAN = Rule(needs_gram=False, weighted=False, minimum=honest_majority, plan=plan)
