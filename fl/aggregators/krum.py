"""Krum: the one update that is nearest to its nearest neighbours. One law: the result is one row, nothing mixed.

Formula: score_i = sum of |u_i - u_j|^2 over the n - f - 2 rows j != i nearest to i; R = u_i of the lowest score,
ties to the lower row.
Breakdown point: f <= (n - 3) / 2.
Minimum n: 2f + 3.
Source: Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", NIPS 2017,
section 4.
Differs from it in: exact integers and a stated tie rule. Flower sums the n - f - 2 nearest as here; ByzFL sums the
n - f nearest with the row itself among them, that is one neighbour more.
Cost: O(n^2 d) for the Gram matrix, O(n^2 log n) for the scores, O(d) for the result: two passes.

Never a default: it keeps one site's update and so learns one site's data.
"""

from fl.aggregators.gram import Gram, squared_distances
from fl.aggregators.plan import Linear, Rule, Situation, selection
from fl.aggregators.spec import RuleSpec


def minimum(spec: RuleSpec) -> int:
    """Return 2f + 3."""
    return 2 * spec.f + 3


def krum_scores(gram: Gram, f: int) -> list[int]:
    """Return each row's sum of squared distances to its n - f - 2 nearest other rows.

    Args:
        gram: n x n, n >= f + 3.
        f: at least 0.
    """
    neighbours = len(gram) - f - 2
    return [
        sum(sorted(distance for other, distance in enumerate(line) if other != row)[:neighbours])
        for row, line in enumerate(squared_distances(gram))
    ]


def lowest_scores(gram: Gram, f: int, keep: int) -> list[int]:
    """Return the `keep` rows of the lowest Krum scores, best first, ties to the lower row."""
    scores = krum_scores(gram, f)
    return sorted(range(len(scores)), key=lambda row: (scores[row], row))[:keep]


def plan(spec: RuleSpec, situation: Situation) -> Linear:
    """Select the row of the lowest score."""
    (winner,) = lowest_scores(situation.gram, spec.f, keep=1)
    return selection([winner], situation.count)


KRUM = Rule(needs_gram=True, weighted=False, minimum=minimum, plan=plan)
