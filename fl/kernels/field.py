"""Compiled arithmetic modulo 2^61 - 1 (`field.c`). One law: the same elements as numpy's, only sooner.

The functions are in the library of `fl.kernels` and are found when that is loaded; where they are missing,
`field_library()` is None and `fl.sealed.field` goes on with numpy.
"""

from __future__ import annotations

import ctypes
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fl.kernels import NAME, library

VERSION: Final = 1
Elements: TypeAlias = NDArray[np.uint64]
_P: Final = ctypes.c_void_p
_N: Final = ctypes.c_int64
_U: Final = ctypes.c_uint64


class FieldLibrary:
    """The compiled functions, with numpy arrays, contiguous along their last axis, in place of pointers."""

    def __init__(self, functions: ctypes.CDLL) -> None:
        """Take a loaded library of this version."""
        self._mask = _typed(functions.foedus_field_mask, _N, _P, _N)
        self._add = _typed(functions.foedus_field_add, None, _P, _P, _N, _P)
        self._subtract = _typed(functions.foedus_field_subtract, None, _P, _P, _N, _P)
        self._add_scaled = _typed(functions.foedus_field_add_scaled, None, _P, _P, _N, _U)
        self._gram = _typed(functions.foedus_field_gram, None, _P, _N, _N, _N, _P)
        self._dot = _typed(functions.foedus_field_dot, _U, _P, _P, _N)

    def mask(self, words: Elements) -> int:
        """Cut words to 61 bits in place; return how many of them are then 2^61 - 1, which is no element."""
        return int(self._mask(words.ctypes.data, len(words)))

    def add(self, a: Elements, b: Elements, out: Elements) -> None:
        """Write a + b to `out`, which may be one of them."""
        self._add(a.ctypes.data, b.ctypes.data, len(out), out.ctypes.data)

    def subtract(self, a: Elements, b: Elements, out: Elements) -> None:
        """Write a - b to `out`, which may be one of them."""
        self._subtract(a.ctypes.data, b.ctypes.data, len(out), out.ctypes.data)

    def add_scaled(self, total: Elements, factor: int, vector: Elements) -> None:
        """Add factor * vector to `total`."""
        self._add_scaled(total.ctypes.data, vector.ctypes.data, len(total), factor)

    def gram(self, rows: Elements) -> Elements:
        """Return the upper triangle of the inner products of rows, the rest 0."""
        gram = np.empty((len(rows), len(rows)), np.uint64)
        self._gram(rows.ctypes.data, rows.strides[0] // rows.itemsize, *rows.shape, gram.ctypes.data)
        return gram

    def dot(self, a: Elements, b: Elements) -> int:
        """Return one inner product."""
        return int(self._dot(a.ctypes.data, b.ctypes.data, len(a)))


def field_library() -> FieldLibrary | None:
    """Return the compiled functions, None where there are none or `fl.kernels.without_library` holds."""
    return _loaded if library() is not None else None


def _typed(function: ctypes._NamedFuncPointer, result: type | None, *arguments: type) -> ctypes._NamedFuncPointer:
    function.restype, function.argtypes = result, list(arguments)
    return function


def _load() -> FieldLibrary | None:
    try:
        functions = ctypes.CDLL(f"{__file__.rpartition('/')[0]}/{NAME}")
        return FieldLibrary(functions) if functions.foedus_field_version() == VERSION else None
    except (OSError, AttributeError):  # not compiled, for another machine, or of another version
        return None


_loaded: Final = _load()
