"""Divide and conquer (DnC): without the f rows that lie farthest out in the main direction. One law: no odd direction.

Formula: p_i = the projection of u_i - mean on the direction in which the rows vary most
(`fl.aggregators.spectrum`); R = the mean of the n - f rows with the smallest (|p_i|, i).
Breakdown point: f < n / 2 where honest rows vary less than what the liars add.
Minimum n: 2f + 1.
Source: Shejwalkar, Houmansadr, "Manipulating the Byzantine: Optimizing Model Poisoning Attacks and Defenses for
Federated Learning", NDSS 2021, Algorithm 2.
Differs from it in: the Gram matrix holds all coordinates, so none are sampled and one iteration with c = 1 stands for
several; a stated number of power steps in integers in place of a singular value decomposition.
Cost: O(n^2 d) for the Gram matrix, O(n^2) a step, O(n d) for the result: two passes.
"""

from fl.aggregators.plan import Linear, Rule, Situation, honest_majority, selection
from fl.aggregators.spec import RuleSpec
from fl.aggregators.spectrum import VECTOR_BITS, centred, main_direction


def plan(spec: RuleSpec, situation: Situation) -> Linear:
    """Select the n - f rows nearest to the centre along the main direction."""
    weights = [1 << VECTOR_BITS] * situation.count
    found = main_direction(centred(situation.gram, weights), weights)
    order = sorted(range(situation.count), key=lambda row: abs(found.projections[row]))
    return selection(order[: situation.count - spec.f], situation.count)


DNC = Rule(needs_gram=True, weighted=False, minimum=honest_majority, plan=plan)
