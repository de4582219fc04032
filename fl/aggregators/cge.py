"""Comparative gradient elimination (CGE): the mean of the n - f shortest rows. One law: a long update is not believed.

Formula: R = the mean of the n - f rows with the smallest (|u_i|, i).
Breakdown point: f < n / 2 where honest rows are alike; a liar no longer than the honest stays in.
Minimum n: 2f + 1.
Source: Gupta, Liu, Vaidya, "Byzantine Fault-Tolerant Distributed Machine Learning with Norm-Based Comparative
Gradient Elimination", DSN-W 2021.
Differs from it in: the mean in place of the sum; exact integers and a stated tie rule.
Cost: O(n^2 d) for the Gram matrix (of which it reads the diagonal), O(n d) for the result: two passes.
"""

from fl.aggregators.plan import Linear, Rule, Situation, honest_majority, selection
from fl.aggregators.spec import RuleSpec


def plan(spec: RuleSpec, situation: Situation) -> Linear:
    """Select the n - f shortest rows."""
    order = sorted(range(situation.count), key=lambda row: situation.gram[row][row])
    return selection(order[: situation.count - spec.f], situation.count)


CGE = Rule(needs_gram=True, weighted=False, minimum=honest_majority, plan=plan)
