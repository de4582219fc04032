"""The first pass over the updates as submitted: norms and peaks. One law: nothing later meets a word out of range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fl.aggregators.errors import UpdateRangeError
from fl.aggregators.products import sums_of_products
from fl.aggregators.rows import Rows
from fl.grid import WORD_MAX
from fl.kernels import fits, library
from fl.schema import Segment


class Measure(NamedTuple):
    """What a pass finds in one tensor, or in some columns of it."""

    magnitudes: list[int]
    """Per row, the largest magnitude of its words."""

    squares: list[int]
    """Per row, the sum of their squares; means nothing where a magnitude exceeds `WORD_MAX`."""


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
    return concluded([measured(rows, segment) for segment in rows.segments], rows.segments, f)


def concluded(measures: Sequence[Measure], segments: Sequence[Segment], f: int) -> Survey:
    """Return what is known of the rows from what was measured in each tensor; errors as `survey`."""
    peaks: list[int] = []
    exponent_min = min(segment.exponent for segment in segments)
    totals = [0] * len(measures[0].magnitudes)
    for (magnitudes, squares), segment in zip(measures, segments, strict=True):
        _require_range(magnitudes)
        peaks.append(sorted(magnitudes, reverse=True)[f])
        scale = 2 * (segment.exponent - exponent_min)
        totals = [total + (square << scale) for total, square in zip(totals, squares, strict=True)]
    return Survey(tuple(totals), tuple(peaks))


def measured(rows: Rows, segment: Segment) -> Measure:
    """Return each row's largest magnitude and sum of squares in one tensor, or in a part of it."""
    magnitudes, squares = [0] * rows.count, [0] * rows.count
    pieces = rows.places(segment.start, segment.stop, in_place=True)
    total = Measure(magnitudes, squares)
    for piece in rows.work.run(lambda place: _piece(rows, place), pieces):
        total = together(total, piece)
    return total


def together(one: Measure, other: Measure) -> Measure:
    """Return what two parts of one tensor are together."""
    return Measure(
        [max(pair) for pair in zip(one.magnitudes, other.magnitudes, strict=True)],
        [sum(pair) for pair in zip(one.squares, other.squares, strict=True)],
    )


def _piece(rows: Rows, place: slice) -> Measure:
    words = rows.words[:, place]
    compiled = library()
    if compiled is not None and fits(words):
        return Measure(*compiled.survey(words))
    highest, lowest = words.max(axis=1).tolist(), words.min(axis=1).tolist()
    magnitudes = [max(high, -low) for high, low in zip(highest, lowest, strict=True)]
    if max(magnitudes) > WORD_MAX:
        return Measure(magnitudes, [0] * rows.count)
    wide = words.astype(np.int32)
    return Measure(magnitudes, sums_of_products(wide, wide).tolist())


def _require_range(magnitudes: list[int]) -> None:
    for row, magnitude in enumerate(magnitudes):
        if magnitude > WORD_MAX:
            raise UpdateRangeError(row=row, magnitude=magnitude, word_max=WORD_MAX)
