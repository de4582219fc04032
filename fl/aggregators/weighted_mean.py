"""Weighted mean (FedAvg). One law: it promises nothing against liars.

Formula: R = sum_i w_i u_i / 2^15, w = `apportion(samples, cap)`.
Breakdown point: 0. One row moves the result anywhere within its share; a static clip or ARC bounds how far.
Minimum n: 2f + 1, and as many rows as the cap needs. f matters only to pre-aggregations in front of it.
Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017,
Algorithm 1.
Differs from it in: shares are integers that sum to 2^15 (each within 2^-15 of n_k / n) and may be capped, so that
one large site cannot own the model.
Cost: O(n d), one pass.
"""

from fl.aggregators.plan import Linear, Rule, Situation
from fl.aggregators.spec import RuleSpec
from fl.aggregators.weights import SHARE_TOTAL, rows_needed


def minimum(spec: RuleSpec) -> int:
    """Return max(2f + 1, rows that the cap needs)."""
    return max(2 * spec.f + 1, rows_needed(spec.weight_cap_permille))


def plan(_spec: RuleSpec, situation: Situation) -> Linear:
    """Return the rows' capped shares."""
    return Linear(situation.shares, SHARE_TOTAL)


WEIGHTED_MEAN = Rule(needs_gram=False, weighted=True, minimum=minimum, plan=plan)
