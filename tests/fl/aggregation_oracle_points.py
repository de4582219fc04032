"""Rules that place a point between rows or choose among them, in fractions. One law: vectors, no Gram matrix.

`aggregation_oracle` has the others. What the protocol rounds is rounded here too, by `floor`; all else is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import floor, isqrt
from statistics import median

Row = list[Fraction]
UNIT = 2**30


@dataclass(frozen=True)
class Space:
    """Mean rows in update words, measured in units of the smallest exponent."""

    rows: list[Row]
    worths: list[int]
    weight: int
    """w: a mixed row is w times the row here; lengths are rounded at that scale."""

    f: int
    shares: Sequence[int]
    radius: int
    root: int | None

    @property
    def count(self) -> int:
        return len(self.rows)

    def inner(self, one: Row, other: Row) -> Fraction:
        return sum((a * b * e * e for a, b, e in zip(one, other, self.worths, strict=True)), Fraction(0))

    def square(self, row: Row) -> Fraction:
        return self.inner(row, row)

    def at(self, point: Sequence[Fraction]) -> Row:
        return [
            sum((a * value for a, value in zip(point, column, strict=True)), Fraction(0)) for column in self.columns
        ]

    @property
    def columns(self) -> list[list[Fraction]]:
        return [list(column) for column in zip(*self.rows, strict=True)]

    def length(self, row: Row, times: int) -> int:
        """Return floor(times * w * length)."""
        return isqrt(floor(self.square(row) * (times * self.weight) ** 2))

    def apart(self, i: int, j: int) -> Fraction:
        return self.square(minus(self.rows[i], self.rows[j]))

    def cosine(self, i: int, j: int) -> Fraction:
        """Return the cosine with 30 bits, rounded toward 0."""
        product, squares = self.inner(self.rows[i], self.rows[j]), self.square(self.rows[i]) * self.square(self.rows[j])
        if squares == 0:
            return Fraction(0)
        size = Fraction(isqrt(floor(product**2 / squares * UNIT**2)), UNIT)
        return size if product >= 0 else -size

    def shortening(self, bound: Fraction, row: int) -> Fraction:
        square = self.square(self.rows[row])
        return Fraction(1) if square <= bound else Fraction(isqrt(floor(bound / square * UNIT**2)), UNIT)


def minus(one: Row, other: Row) -> Row:
    return [a - b for a, b in zip(one, other, strict=True)]


def down(value: Fraction, unit: int = UNIT) -> Fraction:
    """Round down to a multiple of 1 / unit."""
    return Fraction(floor(value * unit), unit)


def apportioned(weights: Sequence[Fraction | int], total: int) -> list[Fraction]:
    """Return weights over their sum, as multiples of 1 / total, by Hamilton's method."""
    exact = [Fraction(weight) * total / sum(weights) for weight in weights]
    parts = [floor(value) for value in exact]
    for row in sorted(range(len(exact)), key=lambda row: (parts[row] - exact[row], row))[: total - sum(parts)]:
        parts[row] += 1
    return [Fraction(part, total) for part in parts]


def final(point: Sequence[Fraction]) -> list[Fraction]:
    """Return coefficients as shares of 2^15; the base model has what is missing."""
    return apportioned([*point, 1 - sum(point)], 2**15)[:-1]


def geometric_median(space: Space, weights: Sequence[int]) -> list[Fraction]:
    point = apportioned(weights, UNIT)
    for _ in range(64):
        centre = space.at(point)
        lengths = [max(space.length(minus(row, centre), UNIT), UNIT * space.weight) for row in space.rows]
        pulls = [w * (max(lengths) * UNIT // length) for w, length in zip(weights, lengths, strict=True)]
        before, point = point, apportioned(pulls, UNIT)
        if all(abs(a - b) <= Fraction(1, 2**18) for a, b in zip(before, point, strict=True)):
            break
    return final(point)


def centred_clipping(space: Space) -> list[Fraction]:
    n = space.count
    point = [Fraction(0)] * n
    for _ in range(16):
        centre = space.at(point)
        lengths = [space.length(minus(row, centre), UNIT) for row in space.rows]
        pulls = [min(Fraction(1), down(Fraction(UNIT * space.radius * space.weight, max(one, 1)))) for one in lengths]
        point = [down(a + (h - a * sum(pulls)) / n) for a, h in zip(point, pulls, strict=True)]
    return final(point)


def fltrust(space: Space) -> list[Fraction]:
    assert space.root is not None
    others = [row for row in range(space.count) if row != space.root]
    trust = {row: max(Fraction(0), space.cosine(row, space.root)) for row in others}
    total = max(Fraction(1, UNIT), sum(trust.values(), Fraction(0)))
    bound = space.square(space.rows[space.root])
    return final(
        [
            down(trust[row] * space.shortening(bound, row) / total) if row in trust else Fraction(0)
            for row in range(space.count)
        ]
    )


def flame(space: Space) -> list[Fraction]:
    """Lower the bar of likeness until more than half hang together."""
    n = space.count
    squares = sorted(space.square(row) for row in space.rows)
    edges = sorted(combinations(range(n), 2), key=lambda pair: (-space.cosine(*pair), pair))
    admitted = {0}
    for bar in range(len(edges) + 1):
        groups = [component(row, edges[:bar]) for row in range(n)]
        admitted = max(groups, key=len)
        if 2 * len(admitted) > n:
            break
    bound = squares[(n - 1) // 2]
    return final(
        [down(space.shortening(bound, row) / len(admitted)) if row in admitted else Fraction(0) for row in range(n)]
    )


def component(row: int, edges: Sequence[tuple[int, int]]) -> set[int]:
    reached = {row}
    while True:
        more = {one for edge in edges if reached & set(edge) for one in edge} - reached
        if not more:
            return reached
        reached |= more


def foolsgold(space: Space) -> list[Fraction]:
    n = space.count
    alike = [[space.cosine(i, j) if i != j else Fraction(0) for j in range(n)] for i in range(n)]
    most = [max(line) for line in alike]
    for i in range(n):
        for j in range(n):
            if most[i] < most[j] and i != j:
                alike[i][j] = down(alike[i][j] * most[i] / most[j])
    apart = [1 - max(line) for line in alike]
    if not any(apart):
        return [Fraction(0)] * n
    weights = [half_plus_logit(min(down(one / max(apart)), down(Fraction(99, 100)))) for one in apart]
    return final(apportioned(weights, UNIT)) if any(weights) else [Fraction(0)] * n


def half_plus_logit(x: Fraction) -> Fraction:
    z = abs(2 * x - 1)
    if z >= Fraction(1, 4):
        return Fraction(int(x > Fraction(1, 2)))
    term, series = z, Fraction(0)
    for k in range(16):
        series += down(term / (2 * k + 1))
        term = down(term * z * z)
    value = Fraction(1, 2) + (2 * series if x > Fraction(1, 2) else -2 * series)
    return min(max(value, Fraction(0)), Fraction(1))


def caf(space: Space) -> list[Fraction]:
    n = space.count
    q = best = [Fraction(1)] * n
    least: int | None = None
    while sum(q) > n - 2 * space.f:
        p, variance = main_direction(space, q)
        if least is None or variance < least:
            best, least = q, variance
        top = max(one**2 for one, weight in zip(p, q, strict=True) if weight)
        if top == 0:
            break
        q = [down(weight * (1 - one**2 / top), 2**20) if weight else weight for one, weight in zip(p, q, strict=True)]
    return final(apportioned(best, UNIT))


def main_direction(space: Space, weights: Sequence[Fraction]) -> tuple[list[Fraction], int]:
    """Return projections and variance; K is the products of the rows about their mean, at the protocol's scale."""
    n, q = range(space.count), [int(weight * 2**20) for weight in weights]
    whole = sum(q)
    centre = space.at([Fraction(one, whole) for one in q])
    about = [minus(row, centre) for row in space.rows]
    exact = [[space.inner(about[i], about[j]) * (whole * space.weight) ** 2 for j in n] for i in n]
    diagonal = [exact[i][i] for i in n]
    h = max(0, floor(max(diagonal)).bit_length() - 30)
    k = [[floor(value / 2**h) for value in line] for line in exact]
    b, p = [2**20 * (i == diagonal.index(max(diagonal))) for i in n], [0 for _ in n]
    for _ in range(64):
        y = [sum(k[i][j] * b[j] for j in n) for i in n]
        if not any(y):
            break
        p = [floor(Fraction(2**20 * value, max(map(abs, y)))) for value in y]
        b = [floor(Fraction(q[i] * p[i], 2**20)) for i in n]
    y = [sum(k[i][j] * b[j] for j in n) for i in n]
    t = sum(b[i] * y[i] for i in n)
    variance = 0 if t <= 0 else floor(Fraction(2 ** (h + 20) * sum(q[i] * y[i] ** 2 for i in n), t * whole**3))
    return [Fraction(one, 2**20) for one in p], variance


POINTS: dict[str, Callable[[Space], list[Fraction]]] = {
    "weighted-mean/1": lambda space: [Fraction(share, 2**15) for share in space.shares],
    "geometric-median/1": lambda space: geometric_median(space, [1] * space.count),
    "weighted-geometric-median/1": lambda space: geometric_median(space, space.shares),
    "centred-clipping/1": centred_clipping,
    "fltrust/1": fltrust,
    "flame/1": flame,
    "foolsgold/1": foolsgold,
    "caf/1": caf,
}
"""Rule to the coefficients of its point."""


def closest_set(space: Space) -> list[int]:
    sets = combinations(range(space.count), space.count - space.f)
    return list(min(sets, key=lambda one: max(space.apart(i, j) for i in one for j in one)))


def shortest(space: Space) -> list[int]:
    order = sorted(range(space.count), key=lambda row: (space.square(space.rows[row]), row))
    return order[: space.count - space.f]


def least_projected(space: Space) -> list[int]:
    p, _ = main_direction(space, [Fraction(1)] * space.count)
    return sorted(range(space.count), key=lambda row: (abs(p[row]), row))[: space.count - space.f]


CHOICES: dict[str, Callable[[Space], list[int]]] = {
    "mda/1": closest_set,
    "cge/1": shortest,
    "dnc/1": least_projected,
}
"""Rule to the rows whose mean it is."""


def bulyan_rows(space: Space) -> list[int]:
    left = list(range(space.count))
    chosen: list[int] = []
    while len(chosen) < space.count - 2 * space.f:
        near = max(len(left) - space.f - 2, 0)
        scores = [(sum(sorted(space.apart(i, j) for j in left if j != i)[:near]), i) for i in left]
        chosen.append(min(scores)[1])
        left.remove(chosen[-1])
    return sorted(chosen)


def around(values: list[Fraction], keep: int) -> Fraction:
    """Return the mean of the values nearest to the median, of two equally near the lower."""
    middle = median(values)
    return sum(sorted(values, key=lambda value: (abs(value - middle), value))[:keep], Fraction(0)) / keep


def weighted_trimmed(values: list[Fraction], shares: Sequence[int], trim: Fraction) -> Fraction:
    """Return the mean of what is left when `trim` of weight is taken away from both ends, one end after the other."""
    left = [[value, Fraction(share)] for value, share in sorted(zip(values, shares, strict=True))]
    for end in (0, -1):
        cut = trim
        while cut > 0:
            taken = min(cut, left[end][1])
            left[end][1] -= taken
            cut -= taken
            if left[end][1] == 0:
                left.pop(end)
    return sum((value * share for value, share in left), Fraction(0)) / sum(share for _, share in left)
