"""Public global updates of earlier rounds, as words of this round's grid. One law: what anybody could have submitted.

Whoever has no data can still submit what the last models tell: their differences. So these are written exactly as a
participant would write them: rounded half-even onto the grid of the round and cut off at its ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fl.grid import WORD_MAX, model_shift
from fl.rounding import add_quotient_half_even
from fl.schema import ModelSchema


def global_updates(
    models: Sequence[NDArray[np.int32]], place: slice, schema: ModelSchema, exponents: Sequence[int]
) -> list[NDArray[np.int16]]:
    """Return the differences of consecutive models, each on the round's grid.

    Args:
        models: words of some columns of the models v, v - 1, ..., v - h, shape (c,) each.
        place: which columns these are.
        schema: the task's.
        exponents: e_t of the round.

    Returns:
        h arrays of shape (c,), |word| <= 8191; the latest difference first.
    """
    rows = []
    for newer, older in pairwise(models):
        row = np.empty(len(newer), np.int16)
        for (tensor, whole), exponent in zip(schema.places(), exponents, strict=True):
            low, high = max(whole.start, place.start), min(whole.stop, place.stop)
            if low < high:
                part = slice(low - place.start, high - place.start)
                row[part] = _on_grid(newer[part], older[part], model_shift(tensor, exponent))
        rows.append(row)
    return rows


def _on_grid(newer: NDArray[np.int32], older: NDArray[np.int32], shift: int) -> NDArray[np.int16]:
    """Return (newer - older) / 2^shift, rounded half-even and cut off at +-8191; |newer - older| < 2^32."""
    difference = newer.astype(np.int64) - older
    if shift >= 0:
        words = add_quotient_half_even(np.zeros(len(difference), np.int64), difference, 1 << shift)
    else:
        words = difference << -shift
    return np.clip(words, -WORD_MAX, WORD_MAX).astype(np.int16)
