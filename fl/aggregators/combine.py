"""The last pass: carry out a plan on the words. One law: nothing is decided here and nothing is rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fl.aggregators.order_statistics import middle_sum
from fl.aggregators.plan import Linear, Middle
from fl.aggregators.rows import Rows
from fl.grid import WORD_MAX

Neighbourhoods: TypeAlias = tuple[tuple[int, ...], ...]

INT32_MAX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Sums:
    """An aggregate before its division."""

    numerator: NDArray[np.int64]
    denominator: int


def linear_sums(rows: Rows, plan: Linear, neighbourhoods: Neighbourhoods | None) -> Sums:
    """Return sum_i c_i v_i, where v_i is row i or, with neighbourhoods, the sum of its neighbourhood.

    A sum of sums is a sum: row j is read once, times the sum of c_i over the neighbourhoods i that contain it.
    """
    if neighbourhoods is None:
        return Sums(_weighted_sum(rows, plan.coefficients), plan.denominator)
    coefficients = [0] * rows.count
    for coefficient, hood in zip(plan.coefficients, neighbourhoods, strict=True):
        for row in hood:
            coefficients[row] += coefficient
    return Sums(_weighted_sum(rows, tuple(coefficients)), plan.denominator * len(neighbourhoods[0]))


def middle_sums(rows: Rows, plan: Middle, neighbourhoods: Neighbourhoods | None) -> Sums:
    """Return each coordinate's sum of middle values, of the rows or of their neighbourhoods' sums."""
    numerator = np.empty(rows.size, np.int64)
    for place in rows.places(0, rows.size):
        words = rows.chunk(place)
        numerator[place] = (
            middle_sum(words, plan.drop)
            if neighbourhoods is None
            else middle_sum(_mixed(words, neighbourhoods), plan.drop)
        )
    left = rows.count - 2 * plan.drop
    return Sums(numerator, left if neighbourhoods is None else left * len(neighbourhoods[0]))


def _weighted_sum(rows: Rows, coefficients: tuple[int, ...]) -> NDArray[np.int64]:
    """Return sum_i c_i u_i; in int32 where that provably suffices."""
    exact = np.int32 if WORD_MAX * sum(coefficients) <= INT32_MAX else np.int64
    numerator = np.empty(rows.size, np.int64)
    for place in rows.places(0, rows.size):
        words = rows.chunk(place)
        total = np.zeros(words.shape[1], exact)
        for row, coefficient in zip(words, coefficients, strict=True):
            if coefficient:
                np.add(total, np.multiply(row, exact(coefficient), dtype=exact), out=total)
        numerator[place] = total
    return numerator


def _mixed(words: NDArray[np.int16], neighbourhoods: Neighbourhoods) -> NDArray[np.int32]:
    """Return each neighbourhood's sum, |sum| < 2^23: all rows less the few outside."""
    wide = words.astype(np.int32)
    total = wide.sum(axis=0, dtype=np.int32)
    mixed = np.empty_like(wide)
    for row, hood in enumerate(neighbourhoods):
        np.copyto(mixed[row], total)
        for outside in set(range(len(neighbourhoods))) - set(hood):
            mixed[row] -= wide[outside]
    return mixed
