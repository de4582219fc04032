"""Weighted coordinate-wise trimmed mean: as much weight is cut off as f can have. One law: f rows are never left.

Formula: with s the capped shares of 2^15 and b the sum of the f largest, R_j = the mean by weight of what is left of
u_1j .. u_nj without the lowest and the highest b of weight (`fl.aggregators.plan.WeightedMiddle`), over 2^15 - 2b.
Breakdown point: f liars, whichever they are; the cap of c thousandths with 2 f c < 1000 leaves something over.
Minimum n: max(2f + 1, rows that the cap needs).
Source: Yin et al., ICML 2018, Definition 2, with weights.
Differs from it in: integers; a row counts by its capped share, and one that the cut goes through by what is left of it.
Cost: O(n log n d), one pass.
"""

from fl.aggregators.plan import Rule, Situation, WeightedMiddle
from fl.aggregators.spec import RuleSpec
from fl.aggregators.weighted_mean import minimum


def plan(spec: RuleSpec, situation: Situation) -> WeightedMiddle:
    """Return the trimming of what the f heaviest rows weigh."""
    heaviest = sorted(situation.shares, reverse=True)[: spec.f]
    return WeightedMiddle(situation.shares, sum(heaviest))


WEIGHTED_TRIMMED_MEAN = Rule(needs_gram=False, weighted=True, minimum=minimum, plan=plan)
