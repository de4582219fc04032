"""Who contributed, from the exact Gram matrix alone. One law: nobody's own update, nor its copies, raise its score.

1. Updates whose cosine is above 0.99 are one *cluster*.
2. What the last global updates explain is taken out: R = det(K) G - H adj(K) H'.
3. *Information*: what is left must look like what is left of others. Two random directions of d words have a squared
   cosine of 1 / d on average; an update passes with more than four times that, on average over the others.
4. *Score*: the cosine of an update and the weighted sum of the others, divided by the size of its cluster.

What an honest site says for the first time is not explained by old models and agrees with the others; noise agrees with
nobody; a copy of old models has nothing left; copies of one update share one score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Final

from fl.aggregators.duplicates import clusters
from fl.aggregators.gram import Gram
from fl.incentives.residual import residual

MICROS: Final = 1_000_000
INFORMATION_MIN_MICROS: Final = 4_000_000
"""An update passes when what is left of it is more than four times as alike to the others as random directions."""

INFORMATION_MAX: Final = 2**53 - 1
"""Where the figure that is kept of it is cut off."""


@dataclass(frozen=True, slots=True)
class Score:
    """One update."""

    cluster: int
    """Lowest row of its cluster."""

    cluster_size: int
    information_micros: int
    """How many times as alike as random directions; 1,000,000 is noise, more than 4,000,000 passes."""

    score: int
    """At most 1,000,000."""

    @property
    def passed(self) -> bool:
        """Whether it says something that is new and that others say as well."""
        return self.information_micros > INFORMATION_MIN_MICROS


def scores(gram: Gram, past: int, weights: Sequence[int], words: int) -> tuple[Score, ...]:
    """Score a round's updates.

    Args:
        gram: of n updates and then `past` global updates; symmetric.
        past: h.
        weights: n, at least 0: how strongly the rule used each update; 0 when it did not.
        words: d.

    Cost: O(n^2) products of integers as long as the entries and det(K).
    """
    count = len(gram) - past
    grouped = clusters(gram, count)
    rest = residual(gram, past)
    sums = _Sums(gram, weights, count)
    found = []
    for row in range(count):
        group = grouped[row]
        information = _information(rest, row, [j for j in range(count) if weights[j] and j not in group], words)
        earns = information > INFORMATION_MIN_MICROS and weights[row] > 0
        found.append(Score(group[0], len(group), information, sums.score(row, group) // len(group) if earns else 0))
    return tuple(found)


def _information(rest: Gram, row: int, others: Sequence[int], words: int) -> int:
    total = 0
    for other in others:
        scale = rest[row][row] * rest[other][other]
        if scale > 0:
            total += MICROS * rest[row][other] ** 2 // scale
    return min(words * total // len(others), INFORMATION_MAX) if others else 0


class _Sums:
    """Products with the weighted sum of all updates, from which a cluster's own part is taken out again."""

    def __init__(self, gram: Gram, weights: Sequence[int], count: int) -> None:
        self._gram, self._weights = gram, weights
        self._with_all = [sum(weights[j] * gram[i][j] for j in range(count)) for i in range(count)]
        self._all = sum(weights[i] * self._with_all[i] for i in range(count))

    def score(self, row: int, group: Sequence[int]) -> int:
        """Return 10^6 times the cosine of an update and the weighted sum of those outside its cluster, at least 0."""
        gram, weights = self._gram, self._weights
        product = self._with_all[row] - sum(weights[j] * gram[row][j] for j in group)
        own = sum(weights[j] * weights[k] * gram[j][k] for j in group for k in group)
        squared = self._all - 2 * sum(weights[j] * self._with_all[j] for j in group) + own
        scale = gram[row][row] * squared
        return min(MICROS * product // isqrt(scale), MICROS) if product > 0 and scale > 0 else 0
