"""Whether an opened sum is what its weights and the Gram matrix say. One law: only who wrapped is named.

A = sum of w_i x_i must be a sum of words in every coordinate (|A_c| <= W b with b = min(8191 2^s, B), a multiple of
2^s; W the weights' sum, s the tensor's scale), and its length over the integers must be that of the matrix: |A|^2 = w'
G w. Where either fails, somebody's x was no vector of words within B. Then functionals of each selected update are
opened:

* the coordinate that is off. If every x_i were within b there, A would be: so somebody's value is not.
* where lengths alone disagree, sum of s_c x_c with random s_c of -1, 0, 0, 1, one after the other. An honest one is
  below 12 B but with probability 2 exp(-72); of a liar whose true length caused it, each one exceeds that with
  probability 0.17 at least (`docs/sealed.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from fl.aggregators.gram import Gram
from fl.grid import WORD_MAX
from fl.kernels.field import Elements
from fl.sealed.shares import coordinate_vector, sign_vector
from fl.sealed.task import SealedTask

FUNCTIONALS_MAX: Final = 512
"""A liar escapes that many with a probability of 2^-137 at most."""

LENGTHS: Final = 12
"""An honest update's random functional is below this many times B."""

_PIECE: Final = 1 << 12
_LOW_BITS: Final = 21


@dataclass(frozen=True, slots=True)
class Certified:
    """The sum is what it should be."""


@dataclass(frozen=True, slots=True)
class Violated:
    """Somebody's update was no vector of words."""

    kind: Literal["coordinate", "length"]
    coordinate: int
    """The first one that is off; 0 where lengths alone disagree."""


def certify(task: SealedTask, gram: Gram, weights: Sequence[int], total: NDArray[np.int64]) -> Certified | Violated:
    """Say whether a sum can be that of updates with this Gram matrix.

    Args:
        task: the round's bounds.
        gram: exact, signed.
        weights: one a row.
        total: A on the common grid, nearest to 0, shape (d,).
    """
    for segment in task.segments:
        shift = task.shift(segment)
        bound, below = sum(weights) * _word_bound(task, shift), (1 << shift) - 1
        for begin in range(segment.start, segment.stop, _PIECE):
            part = total[begin : min(begin + _PIECE, segment.stop)]
            off = (part > bound) | (part < -bound) | ((part & below) != 0)
            if off.any():
                return Violated("coordinate", begin + int(off.argmax()))
    expected = sum(
        own * other * gram[row][column]
        for row, own in enumerate(weights)
        if own
        for column, other in enumerate(weights)
    )
    return Certified() if square_length(total) == expected else Violated("length", 0)


def functional(task: SealedTask, violated: Violated, challenge: bytes, number: int) -> Elements:
    """Return the vector whose product with each selected update is opened the `number`th time."""
    if violated.kind == "coordinate":
        return coordinate_vector(task.size, violated.coordinate)
    return sign_vector(challenge, number, task.size, task.field)


def is_possible(task: SealedTask, violated: Violated, value: int) -> bool:
    """Say whether an update of words can have this value of the functional that a violation is opened with.

    Args:
        task: the round's bounds.
        violated: why it was opened.
        value: what was opened, nearest to 0.
    """
    if violated.kind == "length":
        return abs(value) <= LENGTHS * task.norm_max
    segment = next(segment for segment in task.segments if violated.coordinate < segment.stop)
    shift = task.shift(segment)
    return abs(value) <= _word_bound(task, shift) and value % (1 << shift) == 0


def square_length(total: NDArray[np.int64]) -> int:
    """Return the exact sum of squares of integers below 2^45.

    Pieces of 2^12 products of 24 and 21 bits are summed in int64, the rest in Python integers.
    """
    length = 0
    for begin in range(0, len(total), _PIECE):
        magnitudes = np.abs(total[begin : begin + _PIECE])
        high, low = magnitudes >> _LOW_BITS, magnitudes & ((1 << _LOW_BITS) - 1)
        parts = (int((high * high).sum()), int((high * low).sum()), int((low * low).sum()))
        length += (parts[0] << 2 * _LOW_BITS) + (parts[1] << _LOW_BITS + 1) + parts[2]
    return length


def _word_bound(task: SealedTask, shift: int) -> int:
    """Return how large one coordinate of an honest update on the common grid can be."""
    return min(WORD_MAX << shift, task.norm_max)
