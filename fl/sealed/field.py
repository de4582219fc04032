"""The field in which updates are hidden and shared. One law: an element is below the modulus, on every path.

`FIELD` is that of p = 2^61 - 1, a Mersenne prime: a product is reduced by adding its halves. Other primes below 2^31
exist for tests that enumerate everything. Vectors are uint64, one element a word; scalars are Python integers.

Where the library is compiled and the arrays are contiguous, its functions do the work (`fl.kernels.field`); numpy's are
the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.kernels.field import Elements, FieldLibrary, field_library

MERSENNE: Final = 2**61 - 1
SMALL_MAX: Final = 2**31
_BITS: Final = np.uint64(61)
_HALF: Final = np.uint64(31)
_LOW: Final = np.uint64((1 << 31) - 1)
_MIDDLE: Final = np.uint64((1 << 30) - 1)
_PIECE: Final = 1 << 15
"""Elements that are handled at a time, so that temporaries stay in cache."""

_COLUMNS: Final = 1 << 12
"""Likewise, of many rows together."""


@dataclass(frozen=True, slots=True)
class Field:
    """The integers modulo a prime."""

    modulus: int
    """2^61 - 1, or a prime below 2^31."""

    def __post_init__(self) -> None:
        assert self.modulus == MERSENNE or 2 < self.modulus < SMALL_MAX, f"no arithmetic for modulus {self.modulus}"

    def inverse(self, element: int) -> int:
        """Return 1 / element.

        Raises:
            ZeroDivisionError: the element is 0.
        """
        if element % self.modulus == 0:
            raise ZeroDivisionError("0 has no inverse")
        return pow(element, -1, self.modulus)

    def signed(self, element: int) -> int:
        """Return the integer nearest to 0 that an element stands for."""
        return element - self.modulus if element > self.modulus // 2 else element

    def from_integers(self, integers: NDArray[np.int64]) -> Elements:
        """Return the elements of integers of magnitude below the modulus."""
        lifted = np.where(integers < 0, integers + np.int64(self.modulus), integers)
        return lifted.astype(np.uint64)

    def to_integers(self, elements: Elements) -> NDArray[np.int64]:
        """Return the integers nearest to 0 that elements stand for."""
        integers = elements.astype(np.int64)
        for begin in range(0, len(integers), _PIECE):
            part = integers[begin : begin + _PIECE]
            part -= np.int64(self.modulus) * (part > self.modulus // 2)
        return integers

    def add(self, a: Elements, b: Elements, out: Elements | None = None) -> Elements:
        """Return a + b, of shapes that broadcast; written to `out` where that is given."""
        compiled = self._compiled(a, b)
        if compiled is not None and (out is None or out.data.contiguous):
            out = np.empty_like(a) if out is None else out
            compiled.add(a, b, out)
            return out
        total = self._below(a + b)
        if out is None:
            return total
        out[...] = total
        return out

    def subtract(self, a: Elements, b: Elements) -> Elements:
        """Return a - b, of shapes that broadcast."""
        compiled = self._compiled(a, b)
        if compiled is not None:
            out = np.empty_like(a)
            compiled.subtract(a, b, out)
            return out
        return self._below(a + (np.uint64(self.modulus) - b))

    def add_scaled(self, total: Elements, factor: int, vector: Elements) -> None:
        """Add factor * vector to `total`, of the same shape."""
        factor %= self.modulus
        compiled = self._compiled(total, vector)
        if compiled is not None:
            compiled.add_scaled(total, factor, vector)
            return
        for begin in range(0, total.shape[-1], _PIECE):
            place = (..., slice(begin, begin + _PIECE))
            total[place] = self._below(total[place] + self.multiply(vector[place], np.uint64(factor)))

    def multiply(self, a: Elements, b: Elements | np.uint64) -> Elements:
        """Return a * b element by element, of shapes that broadcast.

        Modulo 2^61 - 1, with a = a1 2^31 + a0 and b likewise: 2 a1 b1, the two halves of a1 b0 + a0 b1 and a0 b0 add up
        to less than 2^63.2, since 2^62 = 2.
        """
        if self.modulus != MERSENNE:
            return (a * b) % np.uint64(self.modulus)
        a1, a0, b1, b0 = a >> _HALF, a & _LOW, b >> _HALF, b & _LOW
        middle = a1 * b0 + a0 * b1
        total = (a1 * b1 << np.uint64(1)) + (middle >> np.uint64(30)) + ((middle & _MIDDLE) << _HALF) + a0 * b0
        return self._below((total & np.uint64(MERSENNE)) + (total >> _BITS))

    def dot(self, a: Elements, b: Elements) -> int:
        """Return the inner product of two vectors."""
        compiled = self._compiled(a, b)
        if compiled is not None:
            return compiled.dot(a, b)
        return int(self.dots(a, b))

    def dots(self, a: Elements, b: Elements) -> Elements:
        """Return the inner products along the last axis, of shapes that broadcast."""
        total: Elements = np.zeros((*np.broadcast_shapes(a.shape, b.shape)[:-1], 1), np.uint64)
        for begin in range(0, a.shape[-1], _PIECE):
            place = (..., slice(begin, begin + _PIECE))
            products = self.multiply(a[place], b[place])
            low = (products & _LOW).sum(axis=-1, dtype=np.uint64, keepdims=True) % np.uint64(self.modulus)
            high = (products >> _HALF).sum(axis=-1, dtype=np.uint64, keepdims=True) % np.uint64(self.modulus)
            part = self._below(low + self.multiply(high, np.uint64((1 << 31) % self.modulus)))
            total = self._below(total + part)
        return total[..., 0]

    def gram(self, rows: Elements) -> list[list[int]]:
        """Return all inner products of rows, shape (m, d); symmetric."""
        compiled = field_library() if self.modulus == MERSENNE and rows.strides[1] == rows.itemsize else None
        triangle = np.zeros((len(rows), len(rows)), np.uint64)
        if compiled is not None:
            triangle = compiled.gram(rows)
        else:
            for row in range(len(rows)):
                triangle[row, row:] = self.dots(rows[row], rows[row:])
        whole: list[list[int]] = (triangle + np.triu(triangle, 1).T).tolist()
        return whole

    def gram_of_sums(self, left: Sequence[Elements], right: Sequence[Elements]) -> list[list[int]]:
        """Return all inner products of the rows left_i + right_i, each of shape (d,), without making them whole."""
        count, size = len(left), len(left[0])
        total = [[0] * count for _ in range(count)]
        rows = np.empty((count, min(_COLUMNS, size)), np.uint64)
        for begin in range(0, size, _COLUMNS):
            place = slice(begin, min(begin + _COLUMNS, size))
            part = rows[:, : place.stop - begin]
            for row in range(count):
                self.add(left[row][place], right[row][place], part[row])
            total = [
                [(old + new) % self.modulus for old, new in zip(*lines, strict=True)]
                for lines in zip(total, self.gram(part), strict=True)
            ]
        return total

    def combination(self, factors: Sequence[int], vectors: Sequence[Elements]) -> Elements:
        """Return the sum of factor * vector; at least one vector is needed."""
        total = np.zeros_like(vectors[0])
        for begin in range(0, total.shape[-1], _PIECE):
            place = (..., slice(begin, begin + _PIECE))
            for factor, vector in zip(factors, vectors, strict=True):
                self.add_scaled(total[place], factor, vector[place])
        return total

    def from_words(self, words: Elements) -> tuple[Elements, int]:
        """Cut random words to the bits of an element, in place; return them and how many are not below the modulus."""
        compiled = self._compiled(words, words)
        if compiled is not None:
            return words, compiled.mask(words)
        words &= np.uint64((1 << self.modulus.bit_length()) - 1)
        return words, int(np.count_nonzero(words >= np.uint64(self.modulus)))

    def _below(self, sums: Elements) -> Elements:
        """Return elements, of sums below twice the modulus."""
        return np.where(sums >= np.uint64(self.modulus), sums - np.uint64(self.modulus), sums)

    def _compiled(self, a: Elements, b: Elements) -> FieldLibrary | None:
        fits = self.modulus == MERSENNE and a.ndim == 1 and a.shape == b.shape and len(a) > 0
        return field_library() if fits and a.data.contiguous and b.data.contiguous else None


FIELD: Final = Field(MERSENNE)
