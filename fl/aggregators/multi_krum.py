"""Multi-Krum: the mean of the m updates of the lowest Krum scores. One law: every kept row counts the same.

Formula: R = sum of u_i over the m rows of the lowest score (`fl.aggregators.krum`), over m; m = `keep`, or n - f
when that is 0.
Breakdown point: f <= (n - 3) / 2.
Minimum n: max(2f + 3, m + f), so that never more rows are kept than are promised honest.
Source: Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", NIPS 2017.
Differs from it in: exact integers and a stated tie rule; m = n - f unless the task says otherwise (as in ByzFL),
where the paper leaves m open. The scores differ from ByzFL's by one neighbour, see `fl.aggregators.krum`.
Cost: as Krum, with O(m d) for the result.
"""

from fl.aggregators.krum import lowest_scores
from fl.aggregators.plan import Linear, Rule, Situation, selection
from fl.aggregators.spec import RuleSpec


def minimum(spec: RuleSpec) -> int:
    """Return max(2f + 3, keep + f)."""
    return max(2 * spec.f + 3, spec.keep + spec.f)


def plan(spec: RuleSpec, situation: Situation) -> Linear:
    """Select the m rows of the lowest scores."""
    keep = spec.keep or situation.count - spec.f
    return selection(lowest_scores(situation.gram, spec.f, keep), situation.count)


MULTI_KRUM = Rule(needs_gram=True, weighted=False, minimum=minimum, plan=plan)
