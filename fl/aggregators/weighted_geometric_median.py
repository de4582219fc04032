"""Weighted geometric median: big hospitals count for more, up to the cap. One law: f of them never weigh half.

Formula: as `fl.aggregators.geometric_median`, with p_i the capped shares of 2^15 (`apportion`).
Breakdown point: liars with less than half of all weight; a cap of c thousandths with 2 f c < 1000 makes that f liars.
Minimum n: max(2f + 1, rows that the cap needs).
Source: Pillutla, Kakade, Harchaoui, "Robust Aggregation for Federated Learning", IEEE TSP 2022, equation 4.
Differs from it in: weights are capped, since sample counts are a participant's word; else as the unweighted one.
Cost: as the unweighted one.
"""

from fl.aggregators.barycentre import at
from fl.aggregators.geometric_median import median_point
from fl.aggregators.plan import Linear, Rule, Situation
from fl.aggregators.spec import RuleSpec
from fl.aggregators.weighted_mean import minimum


def plan(_spec: RuleSpec, situation: Situation) -> Linear:
    """Return the point where the shares come to rest."""
    return at(median_point(situation.gram, situation.shares, situation.weight))


WEIGHTED_GEOMETRIC_MEDIAN = Rule(needs_gram=True, weighted=True, minimum=minimum, plan=plan)
