"""The last pass: carry out a plan on the words. One law: nothing is decided here and nothing is rounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar, assert_never

import numpy as np
from numpy.typing import NDArray

from fl.aggregators.mixing import Mixing
from fl.aggregators.order_statistics import WordT, around_sum, middle_sum, network_table, weighted_middle_sum
from fl.aggregators.plan import Around, Linear, Middle, Plan, WeightedMiddle
from fl.aggregators.rows import Rows
from fl.grid import WORD_MAX
from fl.kernels import ROWS_MAX, fits, library

INT32_MAX: Final = 2**31 - 1
SumT = TypeVar("SumT", np.int32, np.int64)
Sums: TypeAlias = NDArray[np.int32] | NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LastPass:
    """An aggregate before its division, column by column: nothing of length d is kept."""

    rows: Rows
    plan: Plan
    """Of the mixed rows where there is a mixing; a linear plan's is folded into its coefficients."""

    mixing: Mixing | None
    denominator: int

    def sums(self, place: slice) -> Sums:
        """Return the numerator of some columns; any split of the columns gives the same."""
        words = self.rows.chunk(place)
        if isinstance(self.plan, Linear):
            return _weighted_sum(words, self.plan.coefficients)
        if self.mixing is None:
            return _ordered_sum(words, self.plan)
        if isinstance(self.plan, Middle) and set(self.mixing.factors) == {1}:
            return _middle_mixed_sum(words, self.mixing, self.plan.drop)
        return _ordered_sum(_mixed(words, self.mixing), self.plan)

    def places(self, start: int, stop: int) -> Iterator[slice]:
        """Yield pieces that `sums` is good at, covering some columns in order."""
        is_compiled = isinstance(self.plan, Linear) or (isinstance(self.plan, Middle) and self.rows.count <= ROWS_MAX)
        is_mixed = self.mixing is not None and set(self.mixing.factors) != {1}
        return self.rows.places(start, stop, in_place=is_compiled and not is_mixed and self.rows.is_whole)

    def numerator(self) -> NDArray[np.int64]:
        """Return the numerator of all columns, shape (d,)."""
        whole = np.empty(self.rows.size, np.int64)

        def write(place: slice) -> None:
            whole[place] = self.sums(place)

        deque(self.rows.work.run(write, self.places(0, self.rows.size)), maxlen=0)
        return whole


def last_pass(rows: Rows, plan: Plan, mixing: Mixing | None) -> LastPass:
    """Prepare to carry out a plan, of the rows or of their mixing."""
    count, weight = (rows.count, 1) if mixing is None else (mixing.count, mixing.weight)
    match plan:
        case Linear(coefficients, denominator):
            folded = coefficients if mixing is None else mixing.fold(coefficients, rows.count)
            return LastPass(rows, Linear(folded, denominator * weight), None, denominator * weight)
        case Middle(drop):
            return LastPass(rows, plan, mixing, (count - 2 * drop) * weight)
        case Around(_, keep):
            return LastPass(rows, plan, mixing, keep * weight)
        case WeightedMiddle():
            return LastPass(rows, plan, mixing, plan.denominator * weight)
        case _:
            assert_never(plan)


def _ordered_sum(words: NDArray[WordT], plan: Middle | Around | WeightedMiddle) -> Sums:
    match plan:
        case Middle(drop):
            return middle_sum(words, drop)
        case Around(chosen, keep):
            return around_sum(words, chosen, keep)
        case WeightedMiddle(weights, trim):
            return weighted_middle_sum(words, weights, trim)
        case _:
            assert_never(plan)


def _weighted_sum(words: NDArray[np.int16], coefficients: tuple[int, ...]) -> Sums:
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


def _middle_mixed_sum(words: NDArray[np.int16], mixing: Mixing, drop: int) -> Sums:
    compiled = library()
    if compiled is not None and fits(words) and mixing.count == len(words) <= ROWS_MAX:
        everybody = set(range(len(words)))
        outside = [sorted(everybody - set(members)) for members in mixing.members]
        return compiled.middle_mixed_sum(words, drop, network_table(len(words), drop), outside)
    return middle_sum(_mixed(words, mixing), drop)


def _mixed(words: NDArray[np.int16], mixing: Mixing) -> NDArray[np.int32]:
    """Return the mixed rows, |word| < 2^23: of large neighbourhoods all rows less the few outside."""
    wide = words.astype(np.int32)
    total = wide.sum(axis=0, dtype=np.int32)
    mixed = np.empty((mixing.count, words.shape[1]), np.int32)
    for row, (members, factor) in enumerate(zip(mixing.members, mixing.factors, strict=True)):
        if 2 * len(members) <= len(words):
            np.sum(wide[list(members)], axis=0, dtype=np.int32, out=mixed[row])
        else:
            np.copyto(mixed[row], total)
            for outside in set(range(len(words))) - set(members):
                mixed[row] -= wide[outside]
        if factor != 1:
            mixed[row] *= factor
    return mixed
