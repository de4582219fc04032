"""The first pass over the updates as submitted: norms and peaks. One law: nothing later meets a word out of range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fl.aggregators.errors import UpdateRangeError
from fl.aggregators.products import sums_of_products
from fl.aggregators.rows import Rows
from fl.grid import WORD_MAX
from fl.kernels import fits, library
from fl.schema import Segment


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
    Cost: O(n d), one read of the words (two without the compiled library).
    """
    peaks: list[int] = []
    totals = [0] * rows.count
    for segment in rows.segments:
        magnitudes, squares = _measured(rows, segment)
        peaks.append(sorted(magnitudes, reverse=True)[f])
        scale = 2 * (segment.exponent - rows.exponent_min)
        totals = [total + (square << scale) for total, square in zip(totals, squares, strict=True)]
    return Survey(tuple(totals), tuple(peaks))


def _measured(rows: Rows, segment: Segment) -> tuple[list[int], list[int]]:
    """Return each row's largest magnitude and sum of squares in one tensor."""
    magnitudes, squares = [0] * rows.count, [0] * rows.count
    pieces = rows.places(segment.start, segment.stop, in_place=True)
    for peaks, sums in rows.work.run(lambda place: _piece(rows, place), pieces):
        magnitudes = [max(pair) for pair in zip(magnitudes, peaks, strict=True)]
        squares = [old + new for old, new in zip(squares, sums, strict=True)]
    _require_range(magnitudes)
    return magnitudes, squares


def _piece(rows: Rows, place: slice) -> tuple[list[int], list[int]]:
    words = rows.words[:, place]
    compiled = library()
    if compiled is not None and fits(words):
        return compiled.survey(words)
    highest, lowest = words.max(axis=1).tolist(), words.min(axis=1).tolist()
    magnitudes = [max(high, -low) for high, low in zip(highest, lowest, strict=True)]
    if max(magnitudes) > WORD_MAX:
        return magnitudes, [0] * rows.count
    wide = words.astype(np.int32)
    return magnitudes, sums_of_products(wide, wide).tolist()


def _require_range(magnitudes: list[int]) -> None:
    for row, magnitude in enumerate(magnitudes):
        if magnitude > WORD_MAX:
            raise UpdateRangeError(row=row, magnitude=magnitude, word_max=WORD_MAX)
