"""Points between rows, known by their coefficients alone. One law: integers in a fixed order, no word is read.

A point is z = sum of a_i v_i / U with U = 2^30 and integers a_i >= 0 that add up to at most U; what is missing to U
belongs to the base model, which is 0 on the grid of updates. Its distances from all rows follow from the Gram matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from operator import mul
from typing import Final

from fl.aggregators.gram import Gram
from fl.aggregators.plan import Linear
from fl.aggregators.weights import SHARE_TOTAL, largest_remainder

UNIT_BITS: Final = 30
UNIT: Final = 1 << UNIT_BITS


def distances(gram: Gram, point: Sequence[int]) -> list[int]:
    """Return floor(U |v_i - z|) for every row.

    Args:
        gram: of the rows.
        point: z's coefficients.
    """
    products = [sum(map(mul, line, point)) for line in gram]
    square = sum(map(mul, products, point))
    return [
        isqrt((gram[row][row] << 2 * UNIT_BITS) - (product << UNIT_BITS + 1) + square)
        for row, product in enumerate(products)
    ]


def cosines(gram: Gram) -> list[list[int]]:
    """Return U times the cosine of every pair, rounded toward 0; 0 where a row is 0."""
    lengths = [line[row] for row, line in enumerate(gram)]
    return [
        [cosine(product, lengths[row], lengths[other]) for other, product in enumerate(line)]
        for row, line in enumerate(gram)
    ]


def cosine(product: int, square: int, other: int) -> int:
    """Return U times product / sqrt(square * other), rounded toward 0; 0 where a square is 0."""
    if square == 0 or other == 0:
        return 0
    size = isqrt((product * product << 2 * UNIT_BITS) // (square * other))
    return size if product >= 0 else -size


def shortening(bound: int, square: int) -> int:
    """Return U times what scales a row of squared length `square` down to the squared length `bound`, at most U."""
    return UNIT if square <= bound else isqrt((bound << 2 * UNIT_BITS) // square)


def split(weights: Sequence[int], count: int) -> tuple[int, ...]:
    """Return integers in proportion to the weights that add up to U; equal ones where all weights are 0.

    Args:
        weights: at least 0, one a row.
        count: how many rows there are.
    """
    return largest_remainder(weights if any(weights) else [1] * count, UNIT)


def at(point: Sequence[int]) -> Linear:
    """Return the plan whose result is a point: coefficients in shares of 2^15, the base model's left out."""
    shares = largest_remainder([*point, UNIT - sum(point)], SHARE_TOTAL)
    return Linear(shares[:-1], SHARE_TOTAL)
