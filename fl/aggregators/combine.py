"""The last pass: carry out a plan on the words. One law: nothing is decided here and nothing is rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar, assert_never

import numpy as np
from numpy.typing import NDArray

from fl.aggregators.order_statistics import middle_sum, network_table
from fl.aggregators.plan import Linear, Middle, Plan
from fl.aggregators.rows import Rows
from fl.grid import WORD_MAX
from fl.kernels import ROWS_MAX, fits, library

Neighbourhoods: TypeAlias = tuple[tuple[int, ...], ...]

INT32_MAX: Final = 2**31 - 1
SumT = TypeVar("SumT", np.int32, np.int64)


@dataclass(frozen=True, slots=True)
class LastPass:
    """An aggregate before its division, column by column: nothing of length d is kept."""

    rows: Rows
    plan: Plan
    """Of the mixed rows where there are neighbourhoods; a linear plan's are folded into its coefficients."""

    neighbourhoods: Neighbourhoods | None
    denominator: int

    def sums(self, place: slice) -> NDArray[np.int32] | NDArray[np.int64]:
        """Return the numerator of some columns; any split of the columns gives the same."""
        words = self.rows.chunk(place)
        match self.plan:
            case Linear(coefficients):
                return _weighted_sum(words, coefficients)
            case Middle(drop) if self.neighbourhoods is None:
                return middle_sum(words, drop)
            case Middle(drop):
                return _middle_mixed_sum(words, self.neighbourhoods, drop)
            case _:
                assert_never(self.plan)

    def numerator(self) -> NDArray[np.int64]:
        """Return the numerator of all columns, shape (d,)."""
        whole = np.empty(self.rows.size, np.int64)
        for place in self.rows.places(0, self.rows.size):
            whole[place] = self.sums(place)
        return whole


def last_pass(rows: Rows, plan: Plan, neighbourhoods: Neighbourhoods | None) -> LastPass:
    """Prepare to carry out a plan, of the rows or of their neighbourhoods' sums.

    A sum of sums is a sum: for a linear plan row j is read once, times the sum of c_i over the neighbourhoods i that
    contain it.
    """
    mixed = 1 if neighbourhoods is None else len(neighbourhoods[0])
    match plan:
        case Middle(drop):
            return LastPass(rows, plan, neighbourhoods, (rows.count - 2 * drop) * mixed)
        case Linear(coefficients, denominator) if neighbourhoods is None:
            return LastPass(rows, plan, None, denominator)
        case Linear(coefficients, denominator):
            folded = [0] * rows.count
            for coefficient, hood in zip(coefficients, neighbourhoods, strict=True):
                for row in hood:
                    folded[row] += coefficient
            return LastPass(rows, Linear(tuple(folded), denominator * mixed), None, denominator * mixed)
        case _:
            assert_never(plan)


def _weighted_sum(words: NDArray[np.int16], coefficients: tuple[int, ...]) -> NDArray[np.int32] | NDArray[np.int64]:
    """Return sum_i c_i u_i; in int32 where that provably suffices."""
    compiled, narrow = library(), WORD_MAX * sum(coefficients) <= INT32_MAX
    if compiled is not None and fits(words):
        return (
            compiled.weighted_sum_32(words, coefficients) if narrow else compiled.weighted_sum_64(words, coefficients)
        )
    if narrow:
        return _accumulated(words, coefficients, np.zeros(words.shape[1], np.int32))
    return _accumulated(words, coefficients, np.zeros(words.shape[1], np.int64))


def _accumulated(words: NDArray[np.int16], coefficients: tuple[int, ...], total: NDArray[SumT]) -> NDArray[SumT]:
    product = np.empty_like(total)
    for row, coefficient in zip(words, coefficients, strict=True):
        if coefficient:
            np.copyto(product, row)
            np.multiply(product, coefficient, out=product)
            np.add(total, product, out=total)
    return total


def _middle_mixed_sum(
    words: NDArray[np.int16], neighbourhoods: Neighbourhoods, drop: int
) -> NDArray[np.int32] | NDArray[np.int64]:
    compiled = library()
    if compiled is not None and fits(words) and len(words) <= ROWS_MAX:
        everybody = set(range(len(words)))
        outside = [sorted(everybody - set(hood)) for hood in neighbourhoods]
        return compiled.middle_mixed_sum(words, drop, network_table(len(words), drop), outside)
    return middle_sum(_mixed(words, neighbourhoods), drop)


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
