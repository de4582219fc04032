"""FLTrust: rows count as far as they point where a trusted update points. One law: the root is believed, nobody else.

Formula: t_i = max(0, cos(u_i, u_root)); R = sum over i other than the root of t_i u_i min(1, |u_root| / |u_i|), over
the sum of the t_i. Where all t_i are 0 the model stays as it is.
Breakdown point: any number of liars, as long as the root is honest and trained on data like the others'.
Minimum n: max(2f + 1, 2), and the root must be in the round; f matters to the grid and to clipping alone.
Source: Cao, Fang, Liu, Gong, "FLTrust: Byzantine-robust Federated Learning via Trust Bootstrapping", NDSS 2021.
Differs from it in: the root is a participant that the task names, not a server; a row shorter than the root's is
not made longer, so that a small update cannot be blown up; coefficients are integers (`fl.aggregators.barycentre`).
Cost: O(n^2 d) for the Gram matrix (of which it reads a row), O(n d) for the result: two passes.
"""

from __future__ import annotations

from fl.aggregators.barycentre import at, cosine, shortening
from fl.aggregators.errors import RootMissingError
from fl.aggregators.plan import Linear, Rule, Situation
from fl.aggregators.spec import RuleSpec


def minimum(spec: RuleSpec) -> int:
    """Return max(2f + 1, 2)."""
    return max(2 * spec.f + 1, 2)


def plan(spec: RuleSpec, situation: Situation) -> Linear:
    """Return what each row's trust makes of it.

    Raises:
        RootMissingError: the root is not in the round.
    """
    root, gram = situation.root, situation.gram
    if root is None:
        raise RootMissingError(spec.root)
    square = gram[root][root]
    trust = [0 if row == root else max(0, cosine(line[root], line[row], square)) for row, line in enumerate(gram)]
    total = max(1, sum(trust))
    return at([part * shortening(square, gram[row][row]) // total for row, part in enumerate(trust)])


FLTRUST = Rule(needs_gram=True, weighted=False, minimum=minimum, plan=plan)
