"""Compiled versions of the passes over words (`exact.c`). One law: the same integers as numpy's, only sooner.

The library is compiled when the project is installed, where there is a C compiler; without it, `library()` is None and
every caller goes on with numpy. Nothing is compiled or searched for at run time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeGuard

import numpy as np
from numpy.typing import NDArray

VERSION: Final = 3
ROWS_MAX: Final = 128
"""Rows that the compiled sorting networks take."""

EXACT_MAX: Final = 1 << 51
"""Magnitudes below it are exact in `foedus_add_32` and `foedus_add_64`, with room for the sum."""

NAME: Final = "_exact.so"
_P: Final = ctypes.c_void_p
_N: Final = ctypes.c_int64
_D: Final = ctypes.c_double


class Library:
    """The compiled functions, with numpy arrays in place of pointers."""

    def __init__(self, functions: ctypes.CDLL) -> None:
        """Take a loaded library of this version."""
        self._limit_lanes = _typed(functions.foedus_limit_lanes, None, ctypes.c_int32)
        self._survey = _typed(functions.foedus_survey, None, _P, _N, _N, _N, _P, _P)
        self._gram = _typed(functions.foedus_gram, None, _P, _N, _N, _N, _P)
        self._weighted_32 = _typed(functions.foedus_weighted_32, None, _P, _N, _N, _N, _P, _P)
        self._weighted_64 = _typed(functions.foedus_weighted_64, None, _P, _N, _N, _N, _P, _P)
        self._middle = _typed(functions.foedus_middle, None, _P, _N, _N, _N, _N, _P, _N, _P)
        self._mixed = _typed(functions.foedus_middle_mixed, None, _P, _N, _N, _N, _N, _P, _N, _P, _P, _P)
        self._scale = _typed(functions.foedus_scale, None, _P, _N, ctypes.c_int32, ctypes.c_int32, _P)
        self._add_32 = _typed(functions.foedus_add_32, _N, _P, _P, _N, _D, _D, _D, _D)
        self._add_64 = _typed(functions.foedus_add_64, _N, _P, _P, _N, _D, _D, _D, _D)
        self._quantise = _typed(functions.foedus_quantise, _N, _P, _P, _N, _D, _D, _P, _P)

    def limit_lanes(self, bits: int) -> None:
        """Use no vectors of more bits from now on; 512 allows all. For comparison: the integers are the same."""
        self._limit_lanes(bits)

    def survey(self, words: NDArray[np.int16]) -> tuple[list[int], list[int]]:
        """Return each row's largest magnitude and sum of squares; the sum is right where no magnitude exceeds 8191."""
        peaks, squares = np.empty(len(words), np.int32), np.empty(len(words), np.int64)
        self._survey(*_rows(words), peaks.ctypes.data, squares.ctypes.data)
        return peaks.tolist(), squares.tolist()

    def gram(self, words: NDArray[np.int16]) -> NDArray[np.int64]:
        """Return the upper triangle of the rows' inner products, the rest 0."""
        gram = np.empty((len(words), len(words)), np.int64)
        self._gram(*_rows(words), gram.ctypes.data)
        return gram

    def weighted_sum_32(self, words: NDArray[np.int16], coefficients: Sequence[int]) -> NDArray[np.int32]:
        """Return the sum of coefficient * row, which must fit int32."""
        factors, total = np.array(coefficients, np.int32), np.empty(words.shape[1], np.int32)
        self._weighted_32(*_rows(words), factors.ctypes.data, total.ctypes.data)
        return total

    def weighted_sum_64(self, words: NDArray[np.int16], coefficients: Sequence[int]) -> NDArray[np.int64]:
        """Return the sum of coefficient * row, which must fit int64."""
        factors, total = np.array(coefficients, np.int64), np.empty(words.shape[1], np.int64)
        self._weighted_64(*_rows(words), factors.ctypes.data, total.ctypes.data)
        return total

    def middle_sum(self, words: NDArray[np.int16], drop: int, network: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return each column's sum without its `drop` lowest and highest words.

        Args:
            words: shape (n, c), n <= `ROWS_MAX`.
            drop: 0..(n - 1) // 2.
            network: shape (comparators, 3): low place, high place, which are read later (1 low, 2 high, 3 both).
        """
        total = np.empty(words.shape[1], np.int32)
        self._middle(*_rows(words), drop, network.ctypes.data, len(network), total.ctypes.data)
        return total

    def middle_mixed_sum(
        self, words: NDArray[np.int16], drop: int, network: NDArray[np.int32], outside: Sequence[Sequence[int]]
    ) -> NDArray[np.int32]:
        """As `middle_sum`, of the sums of all rows but those `outside`, which are given for each of n mixed rows."""
        total = np.empty(words.shape[1], np.int32)
        listed = np.array([row for rows in outside for row in rows], np.int32)
        first = np.cumsum([0, *map(len, outside)], dtype=np.int32)
        places = (network.ctypes.data, len(network), listed.ctypes.data, first.ctypes.data)
        self._mixed(*_rows(words), drop, *places, total.ctypes.data)
        return total

    def scale(self, words: NDArray[np.int16], numerator: int, shift: int, out: NDArray[np.int16]) -> None:
        """Write words * numerator / 2^shift, rounded half-even, to `out`.

        Args:
            words: shape (c,), contiguous, |word| <= 8191.
            numerator: 0..2^16 - 1.
            shift: 1..30.
            out: shape (c,), contiguous.
        """
        self._scale(words.ctypes.data, len(words), numerator, shift, out.ctypes.data)

    def add(
        self,
        model: NDArray[np.int32],
        numerator: NDArray[np.int32] | NDArray[np.int64],
        scale: int,
        denominator: int,
        low: int,
        high: int,
    ) -> int:
        """Add numerator * scale / denominator, rounded half-even on the sum; return how many words left low..high.

        Args:
            model: shape (c,), contiguous; changed in place.
            numerator: shape (c,), contiguous; times `scale` below `EXACT_MAX`.
            scale: a power of two.
            denominator: 1..`EXACT_MAX`.
            low: least word of a model.
            high: largest word of a model.
        """
        function = self._add_32 if numerator.dtype == np.int32 else self._add_64
        return int(function(model.ctypes.data, numerator.ctypes.data, len(model), scale, denominator, low, high))

    def quantise(
        self,
        trained: NDArray[np.float32],
        base: NDArray[np.float32],
        scale: float,
        bound: int,
        words: NDArray[np.int16],
    ) -> tuple[int, float]:
        """Write (trained - base) * scale, rounded half-even and cut off beyond `bound`, to `words`.

        Args:
            trained: shape (c,), native and contiguous, as the others.
            base: shape (c,).
            scale: a power of two.
            bound: largest magnitude of a word.
            words: shape (c,).

        Returns:
            How many words were cut off, and the sum of the squared differences: not finite where an entry is not, and
            in the last place not numpy's.
        """
        squares = np.empty(1)
        places = (trained.ctypes.data, base.ctypes.data, len(words), scale, float(bound))
        cut = int(self._quantise(*places, words.ctypes.data, squares.ctypes.data))
        return cut, float(squares[0])


def library() -> Library | None:
    """Return the compiled functions, None where there are none or `without_library` holds."""
    return _chosen[-1]


@contextmanager
def without_library() -> Iterator[None]:
    """Do without the compiled functions for a while: what follows is numpy's, for comparison."""
    _chosen.append(None)
    try:
        yield
    finally:
        _chosen.pop()


def fits(words: NDArray[np.signedinteger[Any]]) -> TypeGuard[NDArray[np.int16]]:
    """Tell whether the compiled functions can read an array: native int16, rows contiguous."""
    return words.dtype == np.int16 and words.dtype.isnative and words.strides[1] == words.itemsize and words.size > 0


def _typed(function: ctypes._NamedFuncPointer, result: type | None, *arguments: type) -> ctypes._NamedFuncPointer:
    function.restype, function.argtypes = result, list(arguments)
    return function


def _rows(words: NDArray[np.int16]) -> tuple[int, int, int, int]:
    """Return pointer, words between rows, rows and columns."""
    assert fits(words), f"rows of native int16 are needed, got strides {words.strides} of {words.dtype}"
    return words.ctypes.data, words.strides[0] // words.itemsize, words.shape[0], words.shape[1]


def _load() -> Library | None:
    try:
        functions = ctypes.CDLL(f"{__path__[0]}/{NAME}")
        return Library(functions) if functions.foedus_kernels_version() == VERSION else None
    except (OSError, AttributeError):  # not compiled, for another machine, or of another version
        return None


_chosen: Final[list[Library | None]] = [_load()]
