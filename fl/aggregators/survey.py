"""The first pass over the updates as submitted: norms and peaks. One law: nothing later meets a word out of range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fl.aggregators.errors import UpdateRangeError
from fl.aggregators.products import sums_of_products
from fl.aggregators.rows import Rows
from fl.grid import WORD_MAX


@dataclass(frozen=True, slots=True)
class Survey:
    """What is known of the rows before any rule."""

    norms_squared: tuple[int, ...]
    """Per row, in squared grid units of the smallest exponent."""

    peaks: tuple[int, ...]
    """Per tensor, the (f+1)-th largest of the rows' largest magnitudes: see `fl.grid.next_exponents`."""


def survey(rows: Rows, f: int) -> Survey:
    """Measure the unclipped rows.

    Args:
        rows: no row clipped.
        f: 0 <= f < n.

    Raises:
        UpdateRangeError: a word is beyond `WORD_MAX`.

    Formula: |u|^2 = sum over tensors of 4^(e_t - e_min) * sum of q^2.
    Cost: O(n d), two reads of the words.
    """
    peaks = tuple(sorted(_row_peaks(rows, start, stop), reverse=True)[f] for start, stop in _tensor_bounds(rows))
    totals = [0] * rows.count
    for run in rows.runs():
        squares = np.zeros(rows.count, np.int64)
        for place in rows.places(run.start, run.stop):
            words = rows.words[:, place].astype(np.int32)
            squares += sums_of_products(words, words)
        scale = 2 * (run.exponent - rows.exponent_min)
        totals = [total + (square << scale) for total, square in zip(totals, squares.tolist(), strict=True)]
    return Survey(tuple(totals), peaks)


def _tensor_bounds(rows: Rows) -> list[tuple[int, int]]:
    return [(segment.start, segment.stop) for segment in rows.segments]


def _row_peaks(rows: Rows, start: int, stop: int) -> list[int]:
    """Return each row's largest magnitude in one tensor."""
    words = rows.words[:, start:stop]
    highest, lowest = words.max(axis=1).tolist(), words.min(axis=1).tolist()
    peaks = [max(high, -low) for high, low in zip(highest, lowest, strict=True)]
    for row, peak in enumerate(peaks):
        if peak > WORD_MAX:
            raise UpdateRangeError(row=row, magnitude=peak, word_max=WORD_MAX)
    return peaks
