"""Bulyan: rows chosen by Krum, then what is near their median, word by word. One law: no word far from the honest.

Formula: theta = n - 2f rows are chosen one after the other, each by Krum among the m that are left (its score sums
the max(m - f - 2, 0) nearest others that are left, ties to the lower row); R_j = the mean of the theta - 2f chosen
values of coordinate j nearest to their median (`fl.aggregators.plan.Around`).
Breakdown point: f <= (n - 3) / 4.
Minimum n: 4f + 3.
Source: El Mhamdi, Guerraoui, Rouault, "The Hidden Vulnerability of Distributed Learning in Byzantium", ICML 2018,
section 4.
Differs from it in: exact integers and stated ties; one distance matrix serves all choices, of which each updates the
scores. Flower 1.42's `server` API chooses alike (but with at least one neighbour); its `serverapp` API scores all rows
once and keeps the theta lowest.
Cost: O(n^2 d) for the Gram matrix, O(n^2 log n) for the choices, O(n log n d) for the result: two passes.
"""

from __future__ import annotations

from fl.aggregators.gram import Gram, squared_distances
from fl.aggregators.plan import Around, Rule, Situation
from fl.aggregators.spec import RuleSpec


def minimum(spec: RuleSpec) -> int:
    """Return 4f + 3."""
    return 4 * spec.f + 3


def plan(spec: RuleSpec, situation: Situation) -> Around:
    """Choose theta rows, of whose values theta - 2f are averaged."""
    theta = situation.count - 2 * spec.f
    return Around(tuple(sorted(chosen_rows(situation.gram, spec.f, theta))), theta - 2 * spec.f)


def chosen_rows(gram: Gram, f: int, theta: int) -> list[int]:
    """Return rows in the order in which Krum takes them.

    Args:
        gram: n x n, n >= 4f + 3.
        f: at least 0.
        theta: how many to take, at most n.

    When a row is taken, every other row looks at one neighbour less: at the taken one no more, or, if that was not
    among its neighbours, at its farthest one no more.
    """
    lines = squared_distances(gram)
    left = set(range(len(gram)))
    orders = [sorted(left - {row}, key=line.__getitem__) for row, line in enumerate(lines)]
    size = max(len(gram) - f - 2, 0)
    near = [set(order[:size]) for order in orders]
    ends = [size - 1] * len(gram)
    scores = [sum(line[other] for other in order[:size]) for line, order in zip(lines, orders, strict=True)]
    chosen: list[int] = []
    while len(chosen) < theta:
        taken = min(left, key=lambda row: (scores[row], row))
        chosen.append(taken)
        left.discard(taken)
        for row in left:
            if not near[row]:
                continue
            while orders[row][ends[row]] not in near[row]:
                ends[row] -= 1
            dropped = taken if taken in near[row] else orders[row][ends[row]]
            near[row].discard(dropped)
            scores[row] -= lines[row][dropped]
    return chosen


BULYAN = Rule(needs_gram=True, weighted=False, minimum=minimum, plan=plan)
