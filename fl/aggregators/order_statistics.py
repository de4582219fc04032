"""Sums over each column's values in ascending order. One law: no result depends on the order of rows.

Few rows go through a sorting network of whole-row minima and maxima, pruned to what the sum needs; many rows are
sorted column by column. Both give the same integers.

Source: Knuth, "The Art of Computer Programming", volume 3, 5.2.2, Algorithm M (Batcher's merge exchange).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from fl.kernels import ROWS_MAX, fits, library

WordT = TypeVar("WordT", np.int16, np.int32)

NETWORK_ROWS_MAX: Final = 64
"""Up to here the network is faster than sorting columns (n = 10: 4 ms against 52 a million columns)."""


@dataclass(frozen=True, slots=True)
class Comparator:
    """Put the smaller of two rows in place `low` and the larger in `high`, as far as anything later reads them."""

    low: int
    high: int
    low_read: bool
    high_read: bool


def middle_sum(rows: NDArray[WordT], drop: int) -> NDArray[np.int32] | NDArray[np.int64]:
    """Return each column's sum without its `drop` lowest and `drop` highest values.

    Args:
        rows: shape (n, c), n >= 1.
        drop: 0..(n - 1) // 2.

    Returns:
        Shape (c,).
    """
    count = rows.shape[0]
    assert 0 <= drop <= (count - 1) // 2, f"cannot drop {drop} values on each side of {count}"
    compiled = library()
    if compiled is not None and count <= ROWS_MAX and fits(rows):
        return compiled.middle_sum(rows, drop, network_table(count, drop))
    if count <= NETWORK_ROWS_MAX:
        return network_middle_sum(rows, drop)
    return sorted_middle_sum(rows, drop)


def around_sum(rows: NDArray[WordT], chosen: Sequence[int], keep: int) -> NDArray[np.int64]:
    """Return each column's sum of the `keep` values nearest to the median of the chosen rows' values.

    Args:
        rows: shape (n, c).
        chosen: m >= 1 rows, ascending.
        keep: 1..m.

    Values are taken by (|2x - 2 median|, x). In ascending order they stand side by side, so the farther end is cut
    off until `keep` are left, of two equally far the upper one.
    """
    ordered = np.sort(rows[list(chosen)], axis=0).astype(np.int64)
    count = len(ordered)
    middle = ordered[(count - 1) // 2] + ordered[count // 2]
    distance = np.abs(2 * ordered - middle)
    low, columns = np.zeros(rows.shape[1], np.intp), np.arange(rows.shape[1])
    for left in range(count, keep, -1):
        low += distance[low, columns] > distance[low + left - 1, columns]
    until = np.zeros((count + 1, rows.shape[1]), np.int64)
    np.cumsum(ordered, axis=0, out=until[1:])
    total: NDArray[np.int64] = until[low + keep, columns] - until[low, columns]
    return total


def weighted_middle_sum(rows: NDArray[WordT], weights: Sequence[int], trim: int) -> NDArray[np.int64]:
    """Return each column's sum of value times weight without the lowest and the highest `trim` of weight.

    Args:
        rows: shape (n, c), |value| < 2^23.
        weights: one a row, at least 0, together at most 2^16.
        trim: less than half of all weight.
    """
    order = np.argsort(rows, axis=0, kind="stable")
    until = np.zeros((len(rows) + 1, rows.shape[1]), np.int64)
    np.cumsum(np.array(weights, np.int64)[order], axis=0, out=until[1:])
    np.clip(until, trim, sum(weights) - trim, out=until)
    parts = np.diff(until, axis=0)
    parts *= np.take_along_axis(rows, order, axis=0)
    total: NDArray[np.int64] = parts.sum(axis=0, dtype=np.int64)
    return total


def network_middle_sum(rows: NDArray[WordT], drop: int) -> NDArray[np.int64]:
    """As `middle_sum`, by a sorting network: three buffers change places instead of being copied."""
    count, columns = rows.shape
    places = list(rows.copy())
    spare = np.empty(columns, rows.dtype)
    for comparator in network(count, drop):
        low, high = places[comparator.low], places[comparator.high]
        if not comparator.high_read:
            np.minimum(low, high, out=low)
        elif not comparator.low_read:
            np.maximum(low, high, out=high)
        else:
            np.minimum(low, high, out=spare)
            np.maximum(low, high, out=high)
            places[comparator.low], spare = spare, low
    return _sum(places[drop : count - drop])


def sorted_middle_sum(rows: NDArray[WordT], drop: int) -> NDArray[np.int64]:
    """As `middle_sum`, by sorting each column."""
    columns = np.ascontiguousarray(rows.T)
    columns.sort(axis=1)
    total: NDArray[np.int64] = columns[:, drop : rows.shape[0] - drop].sum(axis=1, dtype=np.int64)
    return total


@cache
def network(count: int, drop: int) -> tuple[Comparator, ...]:
    """Return the comparators that separate the `drop` lowest and highest of `count` rows from the middle.

    Read backwards: while no later comparator touches them, places of one class (low, middle, high) are
    interchangeable, since only the middle's sum is wanted; a comparator within a class is left out. An output in
    the low or high class is never read.
    """
    middle = range(drop, count - drop)
    classes: list[int | None] = [(place >= middle.start) + (place >= middle.stop) for place in range(count)]
    read = [place in middle for place in range(count)]
    kept: list[Comparator] = []
    for low, high in reversed(_merge_exchange(count)):
        if classes[low] is not None and classes[low] == classes[high]:
            continue
        kept.append(Comparator(low, high, read[low], read[high]))
        classes[low] = classes[high] = None
        read[low] = read[high] = True
    return tuple(reversed(kept))


@cache
def network_table(count: int, drop: int) -> NDArray[np.int32]:
    """Return `network` as rows of low place, high place and what is read later: 1 low, 2 high, 3 both."""
    rows = [(one.low, one.high, one.low_read + 2 * one.high_read) for one in network(count, drop)]
    return np.array(rows, np.int32).reshape(-1, 3)


def _merge_exchange(count: int) -> list[tuple[int, int]]:
    """Return a sorting network for `count` places."""
    comparators: list[tuple[int, int]] = []
    top = 1 << max(count - 1, 0).bit_length() >> 1
    p = top
    while p > 0:
        q, r, distance = top, 0, p
        while True:
            comparators += [(low, low + distance) for low in range(count - distance) if low & p == r]
            if q == p:
                break
            distance, q, r = q - p, q >> 1, p
        p >>= 1
    return comparators


def _sum(rows: list[NDArray[WordT]]) -> NDArray[np.int64]:
    total = rows[0].astype(np.int64)
    for row in rows[1:]:
        total += row
    return total
