"""FLAME's filter: the majority that points one way, cut to a middle length. One law: fewer than half are left out.

Formula: pairs of rows are joined in descending order of cosine, ties to the lower pair, until more than half of all
rows hang together: A. S = the squared length at place (n - 1) div 2 of all rows in ascending order. R = the mean over A
of u_i min(1, sqrt(S) / |u_i|).
Breakdown point: f < n / 2 where the honest rows point more alike than the liars point with them.
Minimum n: 2f + 1; f matters to the grid and to clipping alone.
Source: Nguyen et al., "FLAME: Taming Backdoors in Federated Learning", USENIX Security 2022, Algorithm 1.
Differs from it in: no noise is added, which every validator would have to draw alike; lengths and angles are those of
updates, not of models; with a smallest cluster of more than half and minPts 1, HDBSCAN comes to the first component
of single linkage that is large enough, which is searched directly.
Cost: O(n^2 d) for the Gram matrix, O(n^2 log n) for the pairs, O(n d) for the result: two passes.
"""

from __future__ import annotations

from itertools import combinations

from fl.aggregators.barycentre import at, cosines, shortening
from fl.aggregators.gram import Gram
from fl.aggregators.plan import Linear, Rule, Situation, honest_majority
from fl.aggregators.spec import RuleSpec


def plan(_spec: RuleSpec, situation: Situation) -> Linear:
    """Average the majority, shortened."""
    gram = situation.gram
    middle = sorted(line[row] for row, line in enumerate(gram))[(situation.count - 1) // 2]
    admitted = largest_together(gram)
    factors = [shortening(middle, line[row]) if row in admitted else 0 for row, line in enumerate(gram)]
    return at([factor // len(admitted) for factor in factors])


def largest_together(gram: Gram) -> set[int]:
    """Return the first group of more than half of the rows that pairs of the highest cosines hold together."""
    likeness, count = cosines(gram), len(gram)
    groups = [{row} for row in range(count)]
    pairs = sorted(combinations(range(count), 2), key=lambda pair: -likeness[pair[0]][pair[1]])
    for one, other in pairs:
        joined, absorbed = groups[one], groups[other]
        if joined is not absorbed:
            joined |= absorbed
            for row in absorbed:
                groups[row] = joined
        if 2 * len(joined) > count:
            return joined
    return groups[0]


FLAME = Rule(needs_gram=True, weighted=False, minimum=honest_majority, plan=plan)
