"""Vectors of the passes over words, for any machine and language: `python -m tests.fl.kernel_vectors` writes them.

Numbers come from splitmix64: word k of a vector is splitmix64(seed + k) mod 16383, less 8191, rows one after the other,
and twice the rows it names, of which add and quantise take the first of the second half too ("next"). Other
numbers take splitmix64(seed + 1000003 + k). The digest is 64-bit FNV-1a over every integer that comes out, 8 bytes
each, two's complement, least significant first. `tests/fl/foreign/driver.c` does the same without Python.

* survey: of each row the largest magnitude, then the sum of squares;
* gram: rows x rows inner products, the lower triangle 0;
* weighted_32, weighted_64: sum of coefficient * row, coefficient = number mod (a + 1);
* middle: sums without the a lowest and highest words of each column;
* mixed: the same of sums of all rows but the b that follow, the first row after the last;
* scale: the first row times a / 2^b, half-even;
* add_32, add_64: how many words left int32, then model + (first row * (a - 1) + next) * 2^b / a, half-even, where
  model = (number >> 32) - 2^31;
* quantise: how many words were cut off, then (first row / 3 - next / 7) * 2^b of float32 quotients, half-even.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.aggregators.clip import ClipFactor, scale_into
from fl.aggregators.order_statistics import network_table
from fl.grid import MODEL_WORD_MIN, WORD_MAX, add_aggregate, quantise_values
from fl.kernels import library

PATH: Final = Path(__file__).parents[1] / "vectors" / "aggregation" / "kernels.json"
Numbers = NDArray[np.int64]
OTHERS: Final = 1_000_003


@dataclass(frozen=True, slots=True)
class Vector:
    """One call of one kernel."""

    name: str
    rows: int
    columns: int
    seed: int
    a: int = 0
    b: int = 0

    @property
    def line(self) -> str:
        """As the driver reads it."""
        return f"{self.name} {self.rows} {self.columns} {self.seed} {self.a} {self.b}"

    def numbers(self, first: int, count: int) -> NDArray[np.uint64]:
        """Return numbers of the seed."""
        return mixed_up(np.arange(self.seed + first, self.seed + first + count, dtype=np.uint64))

    @property
    def all_words(self) -> NDArray[np.int16]:
        """Shape (2 rows, columns)."""
        numbers = self.numbers(0, 2 * self.rows * self.columns) % np.uint64(2 * WORD_MAX + 1)
        return (numbers.astype(np.int64) - WORD_MAX).astype(np.int16).reshape(2 * self.rows, self.columns)

    @property
    def words(self) -> NDArray[np.int16]:
        """Shape (rows, columns)."""
        return self.all_words[: self.rows]

    @property
    def coefficients(self) -> Numbers:
        """One a row."""
        return (self.numbers(OTHERS, self.rows) % np.uint64(self.a + 1)).astype(np.int64)

    @property
    def outside(self) -> list[list[int]]:
        """Per row, the rows that its sum lacks."""
        return [sorted((row + step) % self.rows for step in range(1, self.b + 1)) for row in range(self.rows)]

    @property
    def model(self) -> NDArray[np.int32]:
        """Shape (columns,)."""
        return ((self.numbers(OTHERS, self.columns) >> np.uint64(32)).astype(np.int64) + MODEL_WORD_MIN).astype(
            np.int32
        )


def vectors() -> list[Vector]:
    """Return all: columns that fill no vector of lanes, every kind of run, the ends of every range."""
    sizes = ((1, 1), (2, 33), (3, 200), (10, 77), (17, 129), (33, 65), (50, 97), (70, 40), (100, 131), (128, 64))
    found = []
    for seed, (rows, columns) in enumerate(sizes, 1):
        seed *= 10_000_000  # noqa: PLW2901 - far from the numbers of the others
        found += [Vector("survey", rows, columns, seed), Vector("gram", rows, columns, seed)]
        found += [
            Vector("weighted_32", rows, columns, seed, 32_768 // rows),
            Vector("weighted_64", rows, columns, seed, 2**40),
        ]
        for drop in sorted({0, rows // 5, (rows - 1) // 2}):
            found += [Vector("middle", rows, columns, seed, drop)]
            found += [
                Vector("mixed", rows, columns, seed, drop, lacking) for lacking in sorted({0, 1, rows // 4} - {rows})
            ]
        for shift in (-13, 0, 7, 18):
            found += [
                Vector("add_32", rows, columns, seed, rows, shift),
                Vector("add_64", rows, columns, seed, rows, shift),
            ]
        found += [Vector("scale", rows, columns, seed, 40_000 + rows, shift) for shift in (15, 16, 22, 30)]
        found += [Vector("quantise", rows, columns, seed, 0, shift) for shift in (0, 2, 9)]
    return found


def digest_of(vector: Vector) -> str:
    """Return what comes out of the compiled code, or of numpy where there is none."""
    return fnv(_outcome(vector))


def _outcome(vector: Vector) -> Numbers:
    words, compiled = vector.words, library()
    match vector.name:
        case "survey":
            peaks, squares = compiled.survey(words) if compiled else (_peaks(words), (_wide(words) ** 2).sum(axis=1))
            return np.stack([np.array(peaks, np.int64), np.array(squares, np.int64)], axis=1).reshape(-1)
        case "gram":
            return np.triu(compiled.gram(words) if compiled else _wide(words) @ _wide(words).T).reshape(-1)
        case "weighted_32" | "weighted_64":
            if compiled is None:
                return vector.coefficients @ _wide(words)
            narrow = vector.name == "weighted_32"
            shares = vector.coefficients.tolist()
            total = compiled.weighted_sum_32(words, shares) if narrow else compiled.weighted_sum_64(words, shares)
            return total.astype(np.int64)
        case "middle" | "mixed":
            return _ordered(vector).astype(np.int64)
        case "scale":
            scaled = np.empty(vector.columns, np.int16)
            scale_into(words[0], ClipFactor(vector.a, vector.b), scaled)
            return scaled.astype(np.int64)
        case "add_32" | "add_64":
            model, numerator = vector.model, _wide(words[0]) * (vector.a - 1) + _wide(vector.all_words[vector.rows])
            narrow = vector.name == "add_32"
            cut = add_aggregate(model, numerator.astype(np.int32) if narrow else numerator, vector.a, vector.b)
            return np.array([cut, *model.tolist()], np.int64)
        case "quantise":
            return _quantised(vector)
        case _:
            raise AssertionError(vector.name)


def _ordered(vector: Vector) -> NDArray[np.int32] | Numbers:
    words, compiled, network = vector.words, library(), network_table(vector.rows, vector.a)
    if compiled is not None and vector.name == "middle":
        return compiled.middle_sum(words, vector.a, network)
    if compiled is not None:
        return compiled.middle_mixed_sum(words, vector.a, network, vector.outside)
    wide = _wide(words)
    if vector.name == "mixed":
        wide = np.stack([wide.sum(axis=0) - wide[rows].sum(axis=0) for rows in vector.outside])
    middle: Numbers = np.sort(wide, axis=0)[vector.a : vector.rows - vector.a].sum(axis=0)
    return middle


def _quantised(vector: Vector) -> Numbers:
    words, found, compiled = vector.all_words, np.empty(vector.columns, np.int16), library()
    trained = words[0].astype(np.float32) / np.float32(3)
    base = words[vector.rows].astype(np.float32) / np.float32(7)
    if compiled is not None:
        cut, _ = compiled.quantise(trained, base, 2.0**vector.b, WORD_MAX, found)
    else:
        cut = quantise_values(trained.astype(np.float64) - base.astype(np.float64), vector.b, found)
    return np.array([cut, *found.tolist()], np.int64)


def _wide(words: NDArray[np.int16]) -> Numbers:
    return words.astype(np.int64)


def _peaks(words: NDArray[np.int16]) -> Numbers:
    peaks: Numbers = np.abs(_wide(words)).max(axis=1)
    return peaks


def mixed_up(places: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return splitmix64 of each place."""
    z = places * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def fnv(numbers: Numbers) -> str:
    """Return 64-bit FNV-1a over the numbers, 8 bytes each, the least significant first."""
    digest = 0xCBF29CE484222325
    for byte in numbers.astype("<i8").tobytes():
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


if __name__ == "__main__":
    lines = [json.dumps({"vector": vector.line, "digest": digest_of(vector)}) for vector in vectors()]
    PATH.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
