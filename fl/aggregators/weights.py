"""Shares of a sum, in integers. One law: they add up to exactly 2^15, and no share exceeds the cap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fl.aggregators.errors import TooFewUpdatesError, WeightError

SHARE_TOTAL: Final = 1 << 15
"""Sum of all shares: with 14-bit words a weighted sum stays below 2^28."""

PERMILLE: Final = 1000
WEIGHT_MAX: Final = 1 << 40
"""Largest sample count."""


def apportion(weights: Sequence[int], cap_permille: int = 0) -> tuple[int, ...]:
    """Return integer shares proportional to the weights, summing to `SHARE_TOTAL`.

    Rows whose proportional share exceeds the cap get the cap; the rest share what is left in proportion, until nobody
    exceeds it. Fractions are settled by the largest remainder, ties to the lower row.

    Args:
        weights: sample counts of 1..`WEIGHT_MAX`, one a row.
        cap_permille: largest share in thousandths, rounded down to 1 / 2^15; 0 means none.

    Raises:
        WeightError: a weight is out of its range.
        TooFewUpdatesError: so few rows that even equal shares exceed the cap.

    Source: Hamilton's method (`largest_remainder`); the cap by water-filling.
    """
    for row, weight in enumerate(weights):
        if not 1 <= weight <= WEIGHT_MAX:
            raise WeightError(row=row, weight=weight, weight_max=WEIGHT_MAX)
    needed = rows_needed(cap_permille)
    if len(weights) < needed:
        raise TooFewUpdatesError(rule=f"a weight cap of {cap_permille} permille", received=len(weights), needed=needed)
    cap = share_cap(cap_permille)
    capped = _capped_rows(weights, cap)
    free = [row for row in range(len(weights)) if row not in capped]
    shares = [cap] * len(weights)
    parts = largest_remainder([weights[row] for row in free], SHARE_TOTAL - cap * len(capped)) if free else ()
    for row, part in zip(free, parts, strict=True):
        shares[row] = part
    return tuple(shares)


def largest_remainder(weights: Sequence[int], total: int) -> tuple[int, ...]:
    """Return integers in proportion to the weights that add up to `total`, ties to the lower row.

    Args:
        weights: at least 0 and not all 0.
        total: at least 0.

    Source: Hamilton's method.
    """
    everything = sum(weights)
    parts = [weight * total // everything for weight in weights]
    remainders = [weight * total % everything for weight in weights]
    order = sorted(range(len(weights)), key=lambda row: (-remainders[row], row))
    for row in order[: total - sum(parts)]:
        parts[row] += 1
    return tuple(parts)


def share_cap(cap_permille: int) -> int:
    """Return the largest share that one row may have."""
    return SHARE_TOTAL * cap_permille // PERMILLE if cap_permille else SHARE_TOTAL


def rows_needed(cap_permille: int) -> int:
    """Return how many rows it takes for their capped shares to reach `SHARE_TOTAL`."""
    return -(-SHARE_TOTAL // share_cap(cap_permille))


def _capped_rows(weights: Sequence[int], cap: int) -> set[int]:
    """Return the rows whose proportional share exceeds the cap, once those found before are capped."""
    capped: set[int] = set()
    while True:
        left = SHARE_TOTAL - cap * len(capped)
        total = sum(weight for row, weight in enumerate(weights) if row not in capped)
        more = {row for row, weight in enumerate(weights) if row not in capped and weight * left > cap * total}
        if not more:
            return capped
        capped |= more
