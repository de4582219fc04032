"""The direction in which rows vary most, from their Gram matrix. One law: integers and a fixed start.

The matrix of centred inner products is cut to 30 bits and multiplied 64 times with a vector of 20 bits: sums of 1,024
products stay below 2^60, so that int64 is exact and the same everywhere.

Source: power iteration (von Mises).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.aggregators.gram import Gram

MATRIX_BITS: Final = 30
VECTOR_BITS: Final = 20
STEPS: Final = 64


@dataclass(frozen=True, slots=True)
class Direction:
    """What is known of the main direction."""

    projections: tuple[int, ...]
    """Per row, its distance from the centre along it, in units of 2^-20 of the farthest; all 0 where rows are equal."""

    variance: int
    """2^20 times how much the rows vary along it, rounded down; comparable between weights of the same rows."""


def centred(gram: Gram, weights: Sequence[int]) -> Gram:
    """Return the inner products of W u_i - sum of w_j u_j, W the sum of the weights: W times the rows about their mean.

    Args:
        gram: n x n.
        weights: at least 0 and not all 0.
    """
    total = sum(weights)
    sums = [sum(weight * product for weight, product in zip(weights, line, strict=True)) for line in gram]
    square = sum(weight * one for weight, one in zip(weights, sums, strict=True))
    return tuple(
        tuple(total * (total * product - sums[i] - sums[j]) + square for j, product in enumerate(line))
        for i, line in enumerate(gram)
    )


def main_direction(matrix: Gram, weights: Sequence[int]) -> Direction:
    """Return the direction of the largest weighted variance.

    Args:
        matrix: of the centred rows, as `centred` gives it.
        weights: 0..2^20, one a row.

    The start is the row farthest from the centre, ties to the lower one. A step is y = K b, p = y over its largest
    magnitude in units of 2^-20, b = w p / 2^20, both divisions rounded down.
    """
    diagonal = [line[row] for row, line in enumerate(matrix)]
    shift = max(0, max(diagonal).bit_length() - MATRIX_BITS)
    K = np.array([[product >> shift for product in line] for line in matrix], np.int64)
    projections = [0] * len(matrix)
    b = [0] * len(matrix)
    b[diagonal.index(max(diagonal))] = 1 << VECTOR_BITS
    for _ in range(STEPS):
        y = _times(K, b)
        farthest = max(map(abs, y))
        if farthest == 0:
            break
        projections = [(value << VECTOR_BITS) // farthest for value in y]
        b = [weight * value >> VECTOR_BITS for weight, value in zip(weights, projections, strict=True)]
    return Direction(tuple(projections), _variance(_times(K, b), b, weights, shift))


def _times(K: NDArray[np.int64], b: Sequence[int]) -> list[int]:
    y: list[int] = (K @ np.array(b, np.int64)).tolist()
    return y


def _variance(y: Sequence[int], b: Sequence[int], weights: Sequence[int], shift: int) -> int:
    """Return sum of w y^2 over W^3 b.y, what the rows about their mean vary by along the direction sum of b_i u_i."""
    square = sum(map(mul, b, y))
    along = sum(weight * value * value for weight, value in zip(weights, y, strict=True))
    return 0 if square <= 0 else (along << shift + VECTOR_BITS) // (square * sum(weights) ** 3)
