"""Section 14.4 of docs/protocol.md in plain integers, written from the page alone. One law: no numpy, no rooms.

`protocol_arithmetic` has the rest of section 14.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isqrt
from typing import Final

Matrix = list[list[int]]
U = 2**30


@dataclass(frozen=True)
class Inputs:
    """What a rule works on."""

    name: str
    f: int
    keep: int
    rows: Matrix
    """The v_i."""

    gram: Matrix
    """G'."""

    w: int
    shares: list[int]
    radius: int
    """In units of the finest grid."""

    root: int | None

    @property
    def count(self) -> int:
        return len(self.rows)

    def distance(self, i: int, j: int) -> int:
        return self.gram[i][i] + self.gram[j][j] - 2 * self.gram[i][j]


Answer = tuple[list[int], int, list[int]]
"""Numerator, denominator without w, rows that are used."""


def apply(given: Inputs) -> Answer:
    if given.name in _CHOICES:
        return _chosen(given, _CHOICES[given.name](given))
    if given.name in _POINTS:
        a = _POINTS[given.name](given)
        return _weighted(given, split([*a, U - sum(a)], 2**15)[:-1])
    if given.name == "weighted-mean/1":
        return _weighted(given, given.shares)
    return _word_by_word(given)


def _word_by_word(given: Inputs) -> Answer:
    n, f = given.count, given.f
    everyone = list(range(n))
    columns = list(zip(*given.rows, strict=True))
    match given.name:
        case "median/1" | "trimmed-mean/1":
            z = (n - 1) // 2 if given.name == "median/1" else f
            return [sum(sorted(column)[z : n - z]) for column in columns], n - 2 * z, everyone
        case "mean-around-median/1":
            return [_around(column, n - f) for column in columns], n - f, everyone
        case "bulyan/1":
            rows = _bulyan(given)
            return [_around([column[i] for i in rows], n - 4 * f) for column in columns], n - 4 * f, rows
        case "weighted-median/1":
            return [_left(column, [2 * share for share in given.shares], 2**15 - 1) for column in columns], 2, everyone
        case "weighted-trimmed-mean/1":
            b = sum(sorted(given.shares)[n - f :])
            return [_left(column, given.shares, b) for column in columns], 2**15 - 2 * b, everyone
    raise AssertionError(given.name)


def _weighted(given: Inputs, c: Sequence[int]) -> Answer:
    total = [sum(x * y for x, y in zip(c, column, strict=True)) for column in zip(*given.rows, strict=True)]
    return total, 2**15, [i for i, part in enumerate(c) if part]


def _chosen(given: Inputs, rows: Sequence[int]) -> Answer:
    return [sum(column[i] for i in rows) for column in zip(*given.rows, strict=True)], len(rows), sorted(rows)


def _around(values: Sequence[int], k: int) -> int:
    x, m = sorted(values), len(values)
    twice = x[(m - 1) // 2] + x[m // 2]
    return sum(sorted(x, key=lambda value: (abs(2 * value - twice), value))[:k])


def _left(values: Sequence[int], g: Sequence[int], z: int) -> int:
    total, start = 0, 0
    for value, row in sorted((value, row) for row, value in enumerate(values)):
        stop = start + g[row]
        total += value * max(0, min(stop, sum(g) - z) - max(start, z))
        start = stop
    return total


def _bulyan(given: Inputs) -> list[int]:
    left = list(range(given.count))
    rows: list[int] = []
    while len(rows) < given.count - 2 * given.f:
        size = max(len(left) - given.f - 2, 0)
        score = {i: sum(sorted(given.distance(i, j) for j in left if j != i)[:size]) for i in left}
        best = min(left, key=lambda i: (score[i], i))
        left.remove(best)
        rows.append(best)
    return sorted(rows)


def split(g: Sequence[int], total: int) -> list[int]:
    parts = [one * total // sum(g) for one in g]
    order = sorted(range(len(g)), key=lambda i: (-(g[i] * total % sum(g)), i))
    for i in order[: total - sum(parts)]:
        parts[i] += 1
    return parts


def _far(gram: Matrix, a: Sequence[int]) -> list[int]:
    n = range(len(gram))
    both = sum(a[j] * a[k] * gram[j][k] for j in n for k in n)
    return [isqrt(U * U * gram[i][i] - 2 * U * sum(a[j] * gram[i][j] for j in n) + both) for i in n]


def _geometric(given: Inputs, g: Sequence[int]) -> list[int]:
    a = split(g, U)
    for _ in range(64):
        lengths = [max(far, U * given.w) for far in _far(given.gram, a)]
        longest = U * max(lengths)
        new = split([one * (longest // length) for one, length in zip(g, lengths, strict=True)], U)
        moved = max(abs(x - y) for x, y in zip(a, new, strict=True))
        a = new
        if moved <= 2**12:
            break
    return a


def _centred(given: Inputs) -> list[int]:
    n = given.count
    a = [0] * n
    for _ in range(16):
        h = [min(U, U * U * given.radius * given.w // max(far, 1)) for far in _far(given.gram, a)]
        a = [(old * (U * n - sum(h)) + U * one) // (U * n) for old, one in zip(a, h, strict=True)]
    return a


def _cos(gram: Matrix, i: int, j: int) -> int:
    if gram[i][i] == 0 or gram[j][j] == 0:
        return 0
    size = isqrt(U * U * gram[i][j] ** 2 // (gram[i][i] * gram[j][j]))
    return -size if gram[i][j] < 0 else size


def _cut(gram: Matrix, b: int, i: int) -> int:
    return U if gram[i][i] <= b else isqrt(U * U * b // gram[i][i])


def _fltrust(given: Inputs) -> list[int]:
    gram, o = given.gram, given.root
    assert o is not None, "the root is in the round"
    t = [0 if i == o else max(0, _cos(gram, i, o)) for i in range(given.count)]
    return [one * _cut(gram, gram[o][o], i) // max(1, sum(t)) for i, one in enumerate(t)]


def _flame(given: Inputs) -> list[int]:
    gram, n = given.gram, given.count
    group = list(range(n))
    admitted = [0]
    for _, i, j in sorted((-_cos(gram, i, j), i, j) for i, j in combinations(range(n), 2)):
        group = [group[i] if one == group[j] else one for one in group]
        admitted = [row for row in range(n) if group[row] == group[i]]
        if 2 * len(admitted) > n:
            break
    b = sorted(gram[i][i] for i in range(n))[(n - 1) // 2]
    return [_cut(gram, b, i) // len(admitted) if i in admitted else 0 for i in range(n)]


def _foolsgold(given: Inputs) -> list[int]:
    gram, n = given.gram, given.count
    m = [max([0, *(_cos(gram, i, j) for j in range(n) if j != i)]) for i in range(n)]
    y = [
        max([0, *(_cos(gram, i, j) * m[i] // m[j] if m[i] < m[j] else _cos(gram, i, j) for j in range(n) if j != i)])
        for i in range(n)
    ]
    x = [U - one for one in y]
    g = [_logit(min(U * one // max(x), 99 * U // 100)) for one in x] if any(x) else [0] * n
    return split(g, U) if any(g) else g


def _logit(x: int) -> int:
    z = abs(2 * x - U)
    if 4 * z >= U:
        return U if 2 * x > U else 0
    e, s = z, 0
    for k in range(16):
        s += e // (2 * k + 1)
        e = e * z * z // (U * U)
    return min(max(U // 2 + (2 * s if 2 * x > U else -2 * s), 0), U)


def _caf(given: Inputs) -> list[int]:
    n = given.count
    q = best = [2**20] * n
    least: int | None = None
    while sum(q) > (n - 2 * given.f) * 2**20:
        p, variance = main_direction(given.gram, q)
        if least is None or variance < least:
            best, least = q, variance
        top = max(p[i] ** 2 for i in range(n) if q[i] > 0)
        if top == 0:
            break
        q = [q[i] * (top - p[i] ** 2) // top if q[i] > 0 else 0 for i in range(n)]
    return split(best, U)


def main_direction(gram: Matrix, q: Sequence[int]) -> tuple[list[int], int]:
    n, whole = range(len(gram)), sum(q)
    s = [sum(q[j] * gram[i][j] for j in n) for i in n]
    square = sum(q[i] * s[i] for i in n)
    k = [[whole * (whole * gram[i][j] - s[i] - s[j]) + square for j in n] for i in n]
    top = max(k[i][i] for i in n)
    first = next(i for i in n if k[i][i] == top)
    h = max(0, top.bit_length() - 30)
    k = [[value // 2**h for value in line] for line in k]
    b, p = [2**20 * (i == first) for i in n], [0 for _ in n]
    for _ in range(64):
        y = [sum(k[i][j] * b[j] for j in n) for i in n]
        largest = max(abs(value) for value in y)
        if largest == 0:
            break
        p = [2**20 * value // largest for value in y]
        b = [q[i] * p[i] // 2**20 for i in n]
    y = [sum(k[i][j] * b[j] for j in n) for i in n]
    t = sum(b[i] * y[i] for i in n)
    return p, 0 if t <= 0 else 2 ** (h + 20) * sum(q[i] * y[i] ** 2 for i in n) // (t * whole**3)


def _krum(given: Inputs, keep: int) -> list[int]:
    n, everyone = given.count, range(given.count)
    score = [sum(sorted(given.distance(i, j) for j in everyone if j != i)[: n - given.f - 2]) for i in everyone]
    return sorted(everyone, key=lambda i: (score[i], i))[:keep]


def _closest(given: Inputs) -> Sequence[int]:
    sets = combinations(range(given.count), given.count - given.f)
    return min(sets, key=lambda rows: max(given.distance(i, j) for i in rows for j in rows))


def _lowest(given: Inputs, key: Sequence[int]) -> Sequence[int]:
    return sorted(range(given.count), key=lambda i: (key[i], i))[: given.count - given.f]


_CHOICES: Final[Mapping[str, Callable[[Inputs], Sequence[int]]]] = {
    "krum/1": lambda given: _krum(given, 1),
    "multi-krum/1": lambda given: _krum(given, given.keep or given.count - given.f),
    "mda/1": _closest,
    "cge/1": lambda given: _lowest(given, [given.gram[i][i] for i in range(given.count)]),
    "dnc/1": lambda given: _lowest(given, [abs(p) for p in main_direction(given.gram, [2**20] * given.count)[0]]),
}
_POINTS: Final[Mapping[str, Callable[[Inputs], list[int]]]] = {
    "geometric-median/1": lambda given: _geometric(given, [1] * given.count),
    "weighted-geometric-median/1": lambda given: _geometric(given, given.shares),
    "centred-clipping/1": _centred,
    "fltrust/1": _fltrust,
    "flame/1": _flame,
    "foolsgold/1": _foolsgold,
    "caf/1": _caf,
}
