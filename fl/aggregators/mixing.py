"""Rows that are sums of rows. One law: what a mixed row is, is decided before a word is mixed, and nothing is rounded.

`fl.aggregators.nnm` and `fl.aggregators.bucketing` decide which rows are summed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from fl.aggregators.gram import Gram

PIECE_BITS: Final = 30
PIECE_MASK: Final = (1 << PIECE_BITS) - 1


@dataclass(frozen=True, slots=True)
class Mixing:
    """Row b becomes factor_b times the sum of its members, and is `weight` times their mean."""

    members: tuple[tuple[int, ...], ...]
    """Per mixed row, the rows that it sums, ascending."""

    factors: tuple[int, ...]
    """Per mixed row; len(members_b) * factor_b = `weight`."""

    weight: int

    @property
    def count(self) -> int:
        """How many mixed rows there are."""
        return len(self.members)

    def fold(self, coefficients: tuple[int, ...], count: int) -> tuple[int, ...]:
        """Return what `coefficients` of the mixed rows are as coefficients of the `count` rows: a sum of sums."""
        folded = [0] * count
        for coefficient, factor, members in zip(coefficients, self.factors, self.members, strict=True):
            for row in members:
                folded[row] += coefficient * factor
        return tuple(folded)


def mixed_gram(gram: Gram, mixing: Mixing) -> Gram:
    """Return the Gram matrix of the mixed rows, M G M^T, without touching a row.

    Products of 30-bit pieces of G with zeros and ones are summed in float64, by any BLAS in any order: over at most
    2^10 rows twice they stay below 2^50, so that every partial sum is an integer and exact.
    """
    M = np.zeros((mixing.count, len(gram)))
    for row, members in enumerate(mixing.members):
        M[row, list(members)] = 1
    sums = [[0] * mixing.count for _ in mixing.members]
    bits = max(abs(product).bit_length() for line in gram for product in line)
    for shift in range(0, bits + 1, PIECE_BITS):
        is_top = shift + PIECE_BITS > bits
        piece = [[product >> shift if is_top else product >> shift & PIECE_MASK for product in line] for line in gram]
        part = (M @ np.array(piece, np.float64) @ M.T).astype(np.int64).tolist()
        sums = [[old + (new << shift) for old, new in zip(*pair, strict=True)] for pair in zip(sums, part, strict=True)]
    return tuple(
        tuple(factor * other * value for other, value in zip(mixing.factors, line, strict=True))
        for factor, line in zip(mixing.factors, sums, strict=True)
    )
