"""Sums of products of 14-bit words. One law: exact, without 64-bit arithmetic until little is left.

A product of two words is at most 8191^2 < 2^26, so that 16 of them are summed in int32 before anything is widened:
twice the lanes of int64, and no conversion of whole rows.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

FOLD: Final = 16
"""Products summed in int32: 16 * 8191^2 < 2^30."""


def sums_of_products(left: NDArray[np.int32], right: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the inner products along the last axis, of arrays that broadcast.

    Args:
        left: shape (c,) or (n, c), |word| <= 8191.
        right: likewise.

    Returns:
        Shape (n,); exact for any c that memory holds.
    """
    products = np.atleast_2d(left * right)
    whole = products.shape[1] - products.shape[1] % FOLD
    folded = products[:, :whole].reshape(len(products), FOLD, whole // FOLD).sum(axis=1, dtype=np.int32)
    total: NDArray[np.int64] = folded.sum(axis=1, dtype=np.int64)
    total += products[:, whole:].sum(axis=1, dtype=np.int64)
    return total
