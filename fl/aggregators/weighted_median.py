"""Weighted coordinate-wise median: big hospitals count for more, up to the cap. One law: f of them never weigh half.

Formula: R_j = the value of u_1j .. u_nj at which the capped shares of the lower ones reach half of 2^15; half the sum
of two values where they reach it exactly between these (denominator 2).
Breakdown point: liars with less than half of all weight; a cap of c thousandths with 2 f c < 1000 makes that f liars.
Minimum n: max(2f + 1, rows that the cap needs).
Source: Edgeworth, "On a new method of reducing observations", Philosophical Magazine 1888.
Differs from it in: integers; weights are capped, since sample counts are a participant's word.
Cost: O(n log n d), one pass.
"""

from fl.aggregators.plan import Rule, Situation, WeightedMiddle
from fl.aggregators.spec import RuleSpec
from fl.aggregators.weighted_mean import minimum
from fl.aggregators.weights import SHARE_TOTAL


def plan(_spec: RuleSpec, situation: Situation) -> WeightedMiddle:
    """Return the trimming that leaves the two halves next to the middle of all weight, counted in halves."""
    return WeightedMiddle(tuple(2 * share for share in situation.shares), SHARE_TOTAL - 1)


WEIGHTED_MEDIAN = Rule(needs_gram=False, weighted=True, minimum=minimum, plan=plan)
