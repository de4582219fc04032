"""Scaling a row down to a norm. One law: the factor is a ratio of integers, so that every validator scales alike.

A row of squared norm S above the threshold T is multiplied by a / 2^p, the largest such ratio with a < 2^16 that
does not exceed sqrt(T / S); each word is then rounded half-even. a has at least 16 bits, so the factor is low by
less than 2^-15 of itself. Rounding moves a word by at most half a unit, hence the norm of d words by at most
sqrt(d) / 2 units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.grid import UPDATE_FRACTION_BITS
from fl.kernels import library
from fl.rounding import SHIFT_MAX, shift_half_even

FACTOR_BITS: Final = 16
MICROS: Final = 10**6


@dataclass(frozen=True, slots=True)
class ClipFactor:
    """The factor numerator / 2^shift, at most 1."""

    numerator: int
    """0..2^16 - 1, or 1 with shift 0."""

    shift: int
    """0..`SHIFT_MAX`."""


WHOLE: Final = ClipFactor(1, 0)
"""The row is kept as it is."""

NOTHING: Final = ClipFactor(0, 0)
"""The row is so far beyond the threshold that every word rounds to 0."""


def clip_factor(norm_squared: int, threshold: int) -> ClipFactor:
    """Return the factor that brings a squared norm down to the threshold.

    Args:
        norm_squared: S >= 0.
        threshold: T >= 0, squared too, on the same grid.
    """
    if norm_squared <= threshold:
        return WHOLE
    if threshold == 0:
        return NOTHING
    shift = FACTOR_BITS - 1
    while (threshold << 2 * shift) // norm_squared < 1 << 2 * (FACTOR_BITS - 1):
        shift += 1
        if shift > SHIFT_MAX:  # a / 2^p < 2^-15: 8191 of them are less than half a unit
            return NOTHING
    return ClipFactor(isqrt((threshold << 2 * shift) // norm_squared), shift)


def scale_words(words: NDArray[np.int16], factor: ClipFactor) -> NDArray[np.int16]:
    """Return the words times the factor, rounded half-even.

    Args:
        words: any shape, |word| <= 8191, so that a product stays below 2^29 in int32.
        factor: at most 1.
    """
    products = words.astype(np.int32)
    products *= factor.numerator
    return shift_half_even(products, factor.shift).astype(np.int16)


def scale_into(words: NDArray[np.int16], factor: ClipFactor, out: NDArray[np.int16]) -> None:
    """Write what `scale_words` gives, of one row, to `out`."""
    compiled = library()
    if factor == WHOLE:
        np.copyto(out, words)
    elif compiled is not None and factor.shift and words.data.contiguous:
        compiled.scale(words, factor.numerator, factor.shift, out)
    else:
        np.copyto(out, scale_words(words, factor))


def clip_norm_in_units(clip_norm_micros: int, exponents: Sequence[int]) -> int:
    """Return an L2 bound on values as one on words, in grid units of the smallest exponent, rounded down but not to 0.

    A policy speaks of values; the worth of a grid unit, 2^(e_min - 13), changes from round to round.

    Args:
        clip_norm_micros: the bound in millionths of a unit of value; 0 means none and gives 0.
        exponents: e_t of the round, one a tensor.
    """
    if clip_norm_micros == 0:
        return 0
    shift = UPDATE_FRACTION_BITS - min(exponents)
    return max(1, (clip_norm_micros << max(shift, 0)) // (MICROS << max(-shift, 0)))
