"""Section 14 of docs/protocol.md in plain integers, written from the page alone. One law: no numpy, no rooms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt, lcm

from tests.project.protocol_reader import digest
from tests.project.protocol_rules import Inputs, apply

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
    bucket: int = 0
    radius_micros: int = 0
    root: str = ""


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


def rows_needed(rule: Rule) -> int:
    """Return how many rows the rule needs after mixing."""
    twice = 2 * rule.f
    if rule.name.startswith("weighted-"):
        cap = 2**15 * rule.cap // 1000 if rule.cap else 2**15
        return max(twice + 1, -(-(2**15) // cap))
    least = {
        "krum/1": twice + 3,
        "multi-krum/1": max(twice + 3, rule.keep + rule.f),
        "bulyan/1": 2 * twice + 3,
        "fltrust/1": max(twice + 1, 2),
        "foolsgold/1": max(twice + 1, 2),
    }
    return least.get(rule.name, twice + 1)


def needed(rule: Rule) -> int:
    """Return how many updates a round needs."""
    return (rows_needed(rule) - 1) * max(rule.bucket, 1) + 1


def most(rule: Rule) -> int:
    """Return how many updates a round may have."""
    return min({"mda/1": 20, "caf/1": 128}.get(rule.name, 1024) * max(rule.bucket, 1), 1024)


@dataclass(frozen=True)
class Mixed:
    """The rows v of section 14.3."""

    rows: Rows
    members: list[list[int]]
    w: int


def _mixed(rule: Rule, scaled: Rows, tensors: Sequence[Tensor], seed: bytes) -> Mixed:
    n, f = len(scaled), rule.f
    if "nnm/1" in rule.pre:
        gram = _gram(scaled, tensors)
        lines = [[(gram[i][i] + gram[j][j] - 2 * gram[i][j], j) for j in range(n)] for i in range(n)]
        hoods = [[j for _, j in sorted(line)[: n - f]] for line in lines]
        w = n - f
    elif "bucketing/1" in rule.pre:
        lots = sorted(range(n), key=lambda i: digest("bucketing", seed, i.to_bytes(8, "big")))
        hoods = [lots[start : start + rule.bucket] for start in range(0, n, rule.bucket)]
        w = lcm(*(len(hood) for hood in hoods))
    else:
        hoods, w = [[i] for i in range(n)], 1
    factors = [1 if "nnm/1" in rule.pre else w // len(hood) for hood in hoods]
    rows = [
        [factor * sum(column) for column in zip(*(scaled[j] for j in hood), strict=True)]
        for factor, hood in zip(factors, hoods, strict=True)
    ]
    return Mixed(rows, hoods, w)


def _gram(rows: Rows, tensors: Sequence[Tensor]) -> list[list[int]]:
    return [[inner(u, v, tensors) for v in rows] for u in rows]


def aggregate(
    rule: Rule,
    tensors: Sequence[Tensor],
    rows: Rows,
    weights: Sequence[int],
    clip: int,
    *,
    seed: bytes = b"",
    root: int | None = None,
) -> Outcome:
    """Return what the rule makes of the rows; `clip` is in units of the finest grid, `root` the row of the root."""
    n = len(rows)
    squares = [inner(row, row, tensors) for row in rows]
    factors = _factors(rule, squares, clip)
    scaled = [[half_even(q * a, 2**p) for q in row] for row, (a, p) in zip(rows, factors, strict=True)]
    mixed = _mixed(rule, scaled, tensors, seed)
    shares = shares_of(weights, rule.cap) if rule.name.startswith("weighted-") else [0] * n
    radius = clip_units(rule.radius_micros, min(tensor.e for tensor in tensors))
    gram = _gram(mixed.rows, tensors)
    given = Inputs(rule.name, rule.f, rule.keep, mixed.rows, gram, mixed.w, shares, radius, root)
    numerator, parts, used = apply(given)
    out_of = max(1, len(used)) if "nnm/1" in rule.pre else 1
    retained = [(sum(j in mixed.members[i] for i in used), out_of) for j in range(n)]
    return Outcome(numerator, parts * mixed.w, factors, squares, _peaks(rows, tensors, rule.f), shares, retained)


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


def next_model(model: list[int], outcome: Outcome, tensors: Sequence[Tensor]) -> tuple[list[int], int]:
    """Return the new words, and how many were cut off."""
    shifts = [t.e - t.x + 11 for t in tensors for _ in range(t.size)]
    exact = [
        half_even(m * outcome.denominator * 2 ** max(-s, 0) + a * 2 ** max(s, 0), outcome.denominator * 2 ** max(-s, 0))
        for m, a, s in zip(model, outcome.numerator, shifts, strict=True)
    ]
    cut = [min(max(word, -(2**31)), 2**31 - 1) for word in exact]
    return cut, sum(a != b for a, b in zip(exact, cut, strict=True))


@dataclass(frozen=True)
class Optimiser:
    """Section 14.7's parameters."""

    name: str
    rate: int
    b1: int
    b2: int
    floor: int


def on_grid(micros: int, x: int) -> int:
    words: int = micros * 2 ** max(24 - x, 0) // (10**6 * 2 ** max(x - 24, 0))
    return words


def optimised(
    optimiser: Optimiser,
    model: list[int],
    memory: list[int],
    squares: list[int],
    outcome: Outcome,
    tensors: Sequence[Tensor],
) -> tuple[list[int], list[int], list[int], int]:
    """Return the new words, M' and V' (section 14.7), and how many words were cut off."""
    places = [t for t in tensors for _ in range(t.size)]
    new, kept, grown, cut = [], [], [], 0
    for m, old, v, a, t in zip(model, memory, squares, outcome.numerator, places, strict=True):
        s = t.e - t.x + 11
        u = half_even(a * 2 ** max(s, 0), outcome.denominator * 2 ** max(-s, 0))
        if optimiser.name == "momentum/1":
            mean = min(max(half_even(1000 * u + optimiser.b1 * old, 1000), -(2**31)), 2**31 - 1)
            word = half_even(m * 10**6 + optimiser.rate * mean, 10**6)
        else:
            u = min(max(u, -(2**26) + 1), 2**26 - 1)
            mean = half_even(optimiser.b1 * old + (1000 - optimiser.b1) * u, 1000)
            sign = (u * u > v) - (u * u < v)
            growth = u * u - v if optimiser.name == "adam/1" else u * u * sign
            v = half_even(1000 * v + (1000 - optimiser.b2) * growth, 1000)  # noqa: PLW2901 - V becomes V'
            below = isqrt(v) + max(1, on_grid(optimiser.floor, t.x))
            word = half_even(m * below + on_grid(optimiser.rate, t.x) * mean, below)
        new.append(min(max(word, -(2**31)), 2**31 - 1))
        cut += new[-1] != word
        kept.append(mean)
        grown.append(v)
    return new, kept, grown, cut


def next_exponents(peaks: Sequence[int], tensors: Sequence[Tensor]) -> list[int]:
    """Return the next round's e_t."""
    moved = [t.e + (peak >= 4096) - (0 < peak < 1024) for t, peak in zip(tensors, peaks, strict=True)]
    return [min(max(e, t.x - 24), t.x + 7) for e, t in zip(moved, tensors, strict=True)]
