"""Updates that are almost the same. One law: similarity is decided on exact integers, and joins whole clusters."""

from __future__ import annotations

from fl.aggregators.gram import Gram

NUMERATOR = 10_000
DENOMINATOR = 9_801
"""cos > 0.99 is 10^4 G_ij^2 > 9801 G_ii G_jj with G_ij > 0."""


def are_alike(gram: Gram, i: int, j: int) -> bool:
    """Tell whether the cosine of two rows is above 0.99."""
    product = gram[i][j]
    return product > 0 and NUMERATOR * product * product > DENOMINATOR * gram[i][i] * gram[j][j]


def clusters(gram: Gram, count: int) -> tuple[tuple[int, ...], ...]:
    """Return, for each of the first `count` rows, those that a chain of similar ones joins to it, ascending.

    Args:
        gram: of the rows, and maybe more behind them.
        count: rows that are looked at.
    """
    lowest = list(range(count))
    for i in range(count):
        for j in range(i + 1, count):
            if are_alike(gram, i, j) and lowest[i] != lowest[j]:
                low, high = sorted((lowest[i], lowest[j]))
                lowest = [low if one == high else one for one in lowest]
    members: dict[int, list[int]] = {}
    for row, low in enumerate(lowest):
        members.setdefault(low, []).append(row)
    return tuple(tuple(members[low]) for low in lowest)
