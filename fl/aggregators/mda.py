"""Minimum-diameter averaging (MDA): the mean of the n - f rows that lie closest together. One law: no set is nearer.

Formula: S = the set of n - f rows with the smallest largest distance within it; of several the one whose ascending
rows are first in order; R = the mean of the rows in S.
Breakdown point: f < n / 2.
Minimum n: 2f + 1. Maximum n: 20, since the search grows as fast as the number of sets.
Source: El Mhamdi, Guerraoui, Guirguis, Hoang, Rouault, "Genuinely Distributed Byzantine Machine Learning", PODC 2020;
Rousseeuw, "Multivariate estimation with high breakdown point", 1985.
Differs from it in: exact integers and a stated tie rule, ByzFL's; instead of listing all sets a diameter is searched
by halving, each answered by a search for n - f rows that are pairwise that near.
Cost: O(n^2 d) for the Gram matrix, at worst O(binomial(n, f)) for the search, O(n d) for the result: two passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fl.aggregators.gram import Gram, squared_distances
from fl.aggregators.plan import Linear, Rule, Situation, honest_majority, selection
from fl.aggregators.spec import RuleSpec

ROWS_MAX: Final = 20


def plan(spec: RuleSpec, situation: Situation) -> Linear:
    """Select the closest n - f rows."""
    return selection(closest_rows(situation.gram, situation.count - spec.f), situation.count)


def closest_rows(gram: Gram, size: int) -> tuple[int, ...]:
    """Return the first of the sets of `size` rows with the smallest diameter.

    Args:
        gram: n x n, n <= `ROWS_MAX`.
        size: 1..n.
    """
    lines = squared_distances(gram)
    diameters = sorted({distance for line in lines for distance in line})
    low, high = 0, len(diameters) - 1
    while low < high:
        middle = (low + high) // 2
        if _first_clique(_near(lines, diameters[middle]), size) is None:
            low = middle + 1
        else:
            high = middle
    found = _first_clique(_near(lines, diameters[low]), size)
    assert found is not None, "all rows are within the largest distance of each other"
    return found


def _near(lines: Gram, diameter: int) -> list[int]:
    """Return, per row, the later rows within the diameter as bits."""
    return [
        sum(1 << other for other, distance in enumerate(line) if other > row and distance <= diameter)
        for row, line in enumerate(lines)
    ]


def _first_clique(near: Sequence[int], size: int) -> tuple[int, ...] | None:
    """Return the first `size` rows, in ascending order, that are all near each other."""

    def search(chosen: tuple[int, ...], candidates: int) -> tuple[int, ...] | None:
        if len(chosen) == size:
            return chosen
        while len(chosen) + candidates.bit_count() >= size:
            lowest = (candidates & -candidates).bit_length() - 1
            candidates &= candidates - 1
            found = search((*chosen, lowest), candidates & near[lowest])
            if found is not None:
                return found
        return None

    return search((), (1 << len(near)) - 1)


MDA = Rule(needs_gram=True, weighted=False, minimum=honest_majority, plan=plan, maximum=ROWS_MAX)
