"""The rules as their papers' formulas say them, in fractions. One law: obviously right before fast; no numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from statistics import median

from fl.aggregators import RuleSpec
from fl.aggregators.spec import WEIGHTED
from fl.schema import Segment
from ledger.digest import digest
from tests.fl.aggregation_oracle_points import CHOICES, POINTS, Row, Space, around, bulyan_rows, weighted_trimmed


@dataclass(frozen=True, slots=True)
class Expected:
    """The aggregate in update words, and each row's part in it."""

    values: list[Fraction]
    retained: list[tuple[int, int]]
    factors: list[Fraction]


def expected(
    spec: RuleSpec,
    updates: list[list[int]],
    weights: Sequence[int],
    segments: Sequence[Segment],
    clip_norm: int = 0,
    *,
    seed: bytes = b"",
    root: int | None = None,
) -> Expected:
    """Aggregate as `fl.aggregators.aggregate` must."""
    worths = column_worths(segments)
    factors = clip_factors(spec, updates, worths, clip_norm)
    rows = [
        [Fraction(round(word * factor)) for word in update]  # round() of a fraction is half-even
        for update, factor in zip(updates, factors, strict=True)
    ]
    count = len(rows)
    hoods, weight = [[row] for row in range(count)], 1
    if "nnm/1" in spec.pre:
        hoods, weight = [nearest(rows, center, worths, count - spec.f) for center in range(count)], count - spec.f
    elif spec.bucket:
        lots = sorted(range(count), key=lambda row: digest("bucketing", seed, row.to_bytes(8, "big")))
        hoods = [lots[start : start + spec.bucket] for start in range(0, count, spec.bucket)]
        weight = lcm(*map(len, hoods))
    rows = [mean([rows[row] for row in hood]) for hood in hoods]
    shares = largest_remainder(weights, spec.weight_cap_permille) if spec.rule in WEIGHTED else []
    radius = int(Fraction(spec.radius_micros, 10**6) * Fraction(2) ** (13 - min(one.exponent for one in segments)))
    space = Space(rows, worths, weight, spec.f, shares, max(radius, 1), root)
    values, used = by_rule(spec, space)
    out_of = max(len(used), 1) if "nnm/1" in spec.pre else 1
    retained = [(sum(row in hoods[center] for center in used), out_of) for row in range(count)]
    return Expected(values, retained, factors)


def by_rule(spec: RuleSpec, space: Space) -> tuple[list[Fraction], list[int]]:
    """Return the rule's result and the rows it used."""
    rows, count, columns, f = space.rows, space.count, space.columns, spec.f
    everyone = list(range(count))
    if spec.rule in POINTS:
        return by_point(space, POINTS[spec.rule](space))
    if spec.rule in KRUM:
        chosen = sorted(by_score(rows, f, space.worths)[: KRUM[spec.rule](spec, count)])
        return mean([rows[row] for row in chosen]), chosen
    if spec.rule in CHOICES:
        chosen = sorted(CHOICES[spec.rule](space))
        return mean([rows[row] for row in chosen]), chosen
    match spec.rule:
        case "median/1":
            return [median(column) for column in columns], everyone
        case "trimmed-mean/1":
            return [average(sorted(column)[spec.f : count - spec.f]) for column in columns], everyone
        case "mean-around-median/1":
            return [around(column, count - f) for column in columns], everyone
        case "bulyan/1":
            chosen = bulyan_rows(space)
            return [around([column[row] for row in chosen], count - 4 * f) for column in columns], chosen
        case "weighted-median/1":
            return [weighted_trimmed(column, space.shares, 2**14 - Fraction(1, 9)) for column in columns], everyone
        case "weighted-trimmed-mean/1":
            trim = Fraction(sum(sorted(space.shares, reverse=True)[:f]))
            return [weighted_trimmed(column, space.shares, trim) for column in columns], everyone
    raise AssertionError(spec.rule)


KRUM: dict[str, Callable[[RuleSpec, int], int]] = {
    "krum/1": lambda _spec, _count: 1,
    "multi-krum/1": lambda spec, count: spec.keep or count - spec.f,
}
"""Rule to how many rows of the lowest scores it keeps."""


def by_point(space: Space, coefficients: list[Fraction]) -> tuple[list[Fraction], list[int]]:
    """Return the point with these coefficients."""
    return space.at(coefficients), [row for row in range(space.count) if coefficients[row]]


def by_score(rows: list[Row], f: int, worths: list[int]) -> list[int]:
    """Return all rows, lowest Krum score first."""
    scores = []
    for center, row in enumerate(rows):
        others = sorted(distance(row, other, worths) for place, other in enumerate(rows) if place != center)
        scores.append((sum(others[: len(rows) - f - 2]), center))
    return [center for _, center in sorted(scores)]


def nearest(rows: list[Row], center: int, worths: list[int], size: int) -> list[int]:
    """Return the `size` rows nearest to one, itself among them; ties to the lower row."""
    ranked = sorted((distance(rows[center], row, worths), place) for place, row in enumerate(rows))
    return [place for _, place in ranked[:size]]


def clip_factors(spec: RuleSpec, updates: list[list[int]], worths: list[int], clip_norm: int) -> list[Fraction]:
    """Return what each row is multiplied by."""
    norms = [sum((word * worth) ** 2 for word, worth in zip(update, worths, strict=True)) for update in updates]
    bounds = [min(norm, clip_norm**2) if clip_norm else norm for norm in norms]
    if "arc/1" in spec.pre:
        k = int(Fraction(2 * spec.f, len(updates)) * (len(updates) - spec.f))
        threshold = sorted(bounds)[-(k + 1)]
        bounds = [min(bound, threshold) for bound in bounds]
    return [
        largest_factor(Fraction(bound, norm) if norm else Fraction(1))
        for norm, bound in zip(norms, bounds, strict=True)
    ]


def largest_factor(square: Fraction) -> Fraction:
    """Return the largest a / 2^p, 2^15 <= a < 2^16, p <= 30, whose square is at most `square`, by bisection."""
    if square == 1:
        return Fraction(1)
    for p in range(15, 31):
        low, high = 0, 2**16
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if Fraction(middle, 2**p) ** 2 <= square else (low, middle)
        if low >= 2**15:
            return Fraction(low, 2**p)
    return Fraction(0)


def largest_remainder(weights: Sequence[int], cap_permille: int) -> list[int]:
    """Return shares of 2^15: capped rows in descending order of weight, then Hamilton's method."""
    cap = 2**15 * cap_permille // 1000 if cap_permille else 2**15
    exact = [Fraction(0)] * len(weights)
    left, total = Fraction(2**15), sum(weights)
    for row in sorted(range(len(weights)), key=lambda row: -weights[row]):
        exact[row] = min(left * weights[row] / total, Fraction(cap))
        left, total = left - exact[row], total - weights[row]
    shares = [value.numerator // value.denominator for value in exact]
    by_remainder = sorted(range(len(weights)), key=lambda row: (shares[row] - exact[row], row))
    for row in by_remainder[: 2**15 - sum(shares)]:
        shares[row] += 1
    return shares


def column_worths(segments: Sequence[Segment]) -> list[int]:
    """Return what a word of each column is worth, in units of the smallest exponent."""
    smallest = min(segment.exponent for segment in segments)
    return [2 ** (segment.exponent - smallest) for segment in segments for _ in range(segment.start, segment.stop)]


def distance(one: Row, other: Row, worths: list[int]) -> Fraction:
    """Return the squared distance of two rows."""
    return sum((((a - b) * worth) ** 2 for a, b, worth in zip(one, other, worths, strict=True)), Fraction(0))


def average(values: list[Fraction]) -> Fraction:
    """Return the mean of some values."""
    return sum(values, Fraction(0)) / len(values)


def mean(rows: list[Row]) -> Row:
    """Return the mean of some rows."""
    return [average(list(column)) for column in zip(*rows, strict=True)]
