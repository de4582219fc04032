"""The exact Gram matrix of the rows: all that geometric rules look at. One law: no float, so one matrix everywhere.

A float32 Gram matrix of the same rows has another bit pattern on every BLAS kernel and thread count, and its
differences give negative squared distances; then validators would select different rows. Here products of 14-bit
words are summed in int64 and tensors of different exponents are joined in Python integers.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fl.aggregators.products import sums_of_products
from fl.aggregators.rows import Rows
from fl.kernels import fits, library

Gram: TypeAlias = tuple[tuple[int, ...], ...]
"""n x n, symmetric: the inner products of rows i and j, in squared grid units of the smallest exponent."""


def gram_matrix(rows: Rows) -> Gram:
    """Return G = sum over tensors of 4^(e_t - e_min) G_t.

    int64 holds a tensor's part exactly: 8191^2 * 2^30 words < 2^56.
    Cost: O(n^2 d) multiply-adds in one pass over the words.
    """
    return joined(triangles(rows), rows.count, rows.exponent_min)


Triangles: TypeAlias = dict[int, NDArray[np.int64]]
"""By exponent, what the words of all tensors that have it give: shape (n, n), the lower triangle is 0."""


def triangles(rows: Rows) -> Triangles:
    """Return the upper triangles of the rows' inner products, of some columns or all."""
    found: Triangles = {}
    for run in rows.runs():
        pieces = rows.places(run.start, run.stop, in_place=rows.is_whole)
        for triangle in rows.work.run(lambda place: _upper_triangle(rows.chunk(place)), pieces):
            add_triangles(found, {run.exponent: triangle})
    return found


def add_triangles(total: Triangles, part: Triangles) -> None:
    """Add what other columns give."""
    for exponent, triangle in part.items():
        total[exponent] = total[exponent] + triangle if exponent in total else triangle  # which others may not write to


def joined(parts: Triangles, count: int, exponent_min: int) -> Gram:
    """Return the Gram matrix of `count` rows from the triangles of all their columns."""
    total = [[0] * count for _ in range(count)]
    for exponent, triangle in sorted(parts.items()):
        whole = (triangle + np.triu(triangle, 1).T).tolist()
        scale = 2 * (exponent - exponent_min)
        total = [
            [old + (new << scale) for old, new in zip(*pair, strict=True)] for pair in zip(total, whole, strict=True)
        ]
    return tuple(tuple(line) for line in total)


def _upper_triangle(words: NDArray[np.int16]) -> NDArray[np.int64]:
    compiled = library()
    if compiled is not None and fits(words):
        return compiled.gram(words)
    products = np.zeros((len(words), len(words)), np.int64)
    wide = words.astype(np.int32)
    for row in range(len(words)):
        products[row, row:] = sums_of_products(wide[row], wide[row:])
    return products


def squared_distances(gram: Gram) -> Gram:
    """Return D with D_ij = G_ii + G_jj - 2 G_ij, which is at least 0 because G is exact."""
    diagonal = [line[row] for row, line in enumerate(gram)]
    return tuple(
        tuple(diagonal[i] + diagonal[j] - 2 * product for j, product in enumerate(line)) for i, line in enumerate(gram)
    )
