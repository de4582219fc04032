"""Section 14 of docs/protocol.md in plain integers, written from the page alone. One law: no numpy, no rooms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

Rows = list[list[int]]


@dataclass(frozen=True)
class Tensor:
    """One tensor of a round."""

    size: int
    x: int
    e: int


@dataclass(frozen=True)
class Rule:
    """The task's rule."""

    name: str
    f: int
    pre: tuple[str, ...]
    keep: int
    cap: int


@dataclass(frozen=True)
class Outcome:
    """What a round's updates lead to."""

    numerator: list[int]
    denominator: int
    factors: list[tuple[int, int]]
    squares: list[int]
    peaks: list[int]
    shares: list[int]
    retained: list[tuple[int, int]]


def half_even(a: int, b: int) -> int:
    """Return a / b to the nearest integer, ties to even; b > 0."""
    low, rest = divmod(a, b)
    return low + (2 * rest > b or (2 * rest == b and low % 2 == 1))


def _parts(row: Sequence[int], tensors: Sequence[Tensor]) -> list[Sequence[int]]:
    parts, start = [], 0
    for tensor in tensors:
        parts.append(row[start : start + tensor.size])
        start += tensor.size
    return parts


def inner(a: Sequence[int], b: Sequence[int], tensors: Sequence[Tensor]) -> int:
    """Return the product of two rows, in squared units of the finest grid."""
    finest = min(tensor.e for tensor in tensors)
    pairs = zip(_parts(a, tensors), _parts(b, tensors), tensors, strict=True)
    return sum(4 ** (t.e - finest) * sum(p * q for p, q in zip(u, v, strict=True)) for u, v, t in pairs)


def scaling(s: int, t: int) -> tuple[int, int]:
    """Return a and p of section 14.3; 1 and 0 keep the row, 0 and 0 blank it."""
    if s <= t:
        return 1, 0
    for p in range(15, 31):
        if t * 4**p // s >= 2**30:
            return isqrt(t * 4**p // s), p
    return 0, 0


def clip_units(micros: int, finest: int) -> int:
    """Return a task's clip norm in units of the finest grid; 0 for none."""
    if micros == 0:
        return 0
    up, down = max(13 - finest, 0), max(finest - 13, 0)
    return max(1, (micros << up) // (10**6 << down))


def shares_of(weights: Sequence[int], cap_permille: int) -> list[int]:
    """Return shares of 2^15."""
    cap = 2**15 * cap_permille // 1000 if cap_permille else 2**15
    capped: set[int] = set()
    while True:
        left = 2**15 - cap * len(capped)
        total = sum(weight for i, weight in enumerate(weights) if i not in capped)
        more = {i for i, weight in enumerate(weights) if i not in capped and weight * left > cap * total}
        if not more:
            break
        capped |= more
    shares = [cap if i in capped else weight * left // total for i, weight in enumerate(weights)]
    free = sorted((-(weights[i] * left % total), i) for i in range(len(weights)) if i not in capped)
    for _, i in free[: 2**15 - sum(shares)]:
        shares[i] += 1
    return shares


def needed(rule: Rule) -> int:
    """Return how many rows the rule needs."""
    if rule.name == "weighted-mean/1":
        cap = 2**15 * rule.cap // 1000 if rule.cap else 2**15
        return max(2 * rule.f + 1, -(-(2**15) // cap))
    if rule.name == "krum/1":
        return 2 * rule.f + 3
    if rule.name == "multi-krum/1":
        return max(2 * rule.f + 3, rule.keep + rule.f)
    return 2 * rule.f + 1


def aggregate(rule: Rule, tensors: Sequence[Tensor], rows: Rows, weights: Sequence[int], clip: int) -> Outcome:
    """Return what the rule makes of the rows; `clip` is in units of the finest grid."""
    n, f = len(rows), rule.f
    squares = [inner(row, row, tensors) for row in rows]
    factors = _factors(rule, squares, clip)
    scaled = [[half_even(q * a, 2**p) for q in row] for row, (a, p) in zip(rows, factors, strict=True)]
    hoods, w = [[i] for i in range(n)], 1
    if "nnm/1" in rule.pre:
        gram = [[inner(u, v, tensors) for v in scaled] for u in scaled]
        distances = [[gram[i][i] + gram[j][j] - 2 * gram[i][j] for j in range(n)] for i in range(n)]
        hoods, w = [sorted(range(n), key=lambda j, d=line: (d[j], j))[: n - f] for line in distances], n - f  # type: ignore[misc]
    mixed = [[sum(column) for column in zip(*(scaled[j] for j in hood), strict=True)] for hood in hoods]
    shares = shares_of(weights, rule.cap) if rule.name == "weighted-mean/1" else [0] * n
    numerator, parts, used = _apply(rule, mixed, shares, tensors)
    retained = [(sum(j in hoods[i] for i in used), len(used)) for j in range(n)]
    if "nnm/1" not in rule.pre:
        retained = [(int(j in used), 1) for j in range(n)]
    return Outcome(numerator, parts * w, factors, squares, _peaks(rows, tensors, f), shares, retained)


def _factors(rule: Rule, squares: list[int], clip: int) -> list[tuple[int, int]]:
    n, f = len(squares), rule.f
    bounds = [min(square, clip**2) if clip else square for square in squares]
    if "arc/1" in rule.pre:
        longest = sorted(bounds, reverse=True)[2 * f * (n - f) // n]
        bounds = [min(bound, longest) for bound in bounds]
    return [scaling(square, bound) for square, bound in zip(squares, bounds, strict=True)]


def _peaks(rows: Rows, tensors: Sequence[Tensor], f: int) -> list[int]:
    largest = [[max(map(abs, part)) for part in _parts(row, tensors)] for row in rows]
    return [sorted(column, reverse=True)[f] for column in zip(*largest, strict=True)]


def _apply(rule: Rule, rows: Rows, shares: list[int], tensors: Sequence[Tensor]) -> tuple[list[int], int, list[int]]:
    """Return numerator, denominator without the mixing's share, and the rows that are used."""
    n = len(rows)
    columns = list(zip(*rows, strict=True))
    if rule.name == "weighted-mean/1":
        total = [sum(share * q for share, q in zip(shares, column, strict=True)) for column in columns]
        return total, 2**15, [i for i in range(n) if shares[i]]
    if rule.name in ("median/1", "trimmed-mean/1"):
        z = (n - 1) // 2 if rule.name == "median/1" else rule.f
        return [sum(sorted(column)[z : n - z]) for column in columns], n - 2 * z, list(range(n))
    keep = 1 if rule.name == "krum/1" else rule.keep or n - rule.f
    scores = [
        sum(sorted(_distance(rows[i], rows[j], tensors) for j in range(n) if j != i)[: n - rule.f - 2])
        for i in range(n)
    ]
    best = sorted(range(n), key=lambda i: (scores[i], i))[:keep]
    return [sum(rows[i][c] for i in best) for c in range(len(columns))], keep, best


def _distance(a: list[int], b: list[int], tensors: Sequence[Tensor]) -> int:
    difference = [p - q for p, q in zip(a, b, strict=True)]
    return inner(difference, difference, tensors)


def next_model(model: list[int], outcome: Outcome, tensors: Sequence[Tensor]) -> tuple[list[int], int]:
    """Return the new words, and how many were cut off."""
    shifts = [t.e - t.x + 11 for t in tensors for _ in range(t.size)]
    exact = [
        half_even(m * outcome.denominator * 2 ** max(-s, 0) + a * 2 ** max(s, 0), outcome.denominator * 2 ** max(-s, 0))
        for m, a, s in zip(model, outcome.numerator, shifts, strict=True)
    ]
    cut = [min(max(word, -(2**31)), 2**31 - 1) for word in exact]
    return cut, sum(a != b for a, b in zip(exact, cut, strict=True))


def next_exponents(peaks: Sequence[int], tensors: Sequence[Tensor]) -> list[int]:
    """Return the next round's e_t."""
    moved = [t.e + (peak >= 4096) - (0 < peak < 1024) for t, peak in zip(tensors, peaks, strict=True)]
    return [min(max(e, t.x - 24), t.x + 7) for e, t in zip(moved, tensors, strict=True)]
