"""A round's report: what became of each update and why. One law: whoever has the payloads gets the same bytes.

Lengths are millionths of a unit of value, angles and shares are millionths, all rounded towards zero, so that the
report of one node, of another one and of an auditor can be compared as bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Final

from fl.aggregators import ClipFactor
from fl.aggregators.duplicates import clusters
from fl.aggregators.gram import Gram
from fl.explanation.geometry import RoundGeometry
from fl.explanation.retention import Retention
from fl.explanation.sentences import Facts, sentence
from fl.grid import UPDATE_FRACTION_BITS
from fl.records import Contribution, RoundResult
from fl.results import AggregationJob

MICROS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """One update."""

    participant: str
    organisation: str
    norm_micros: int
    """Length as submitted."""

    distance_micros: int
    """To the aggregate."""

    cosine_micros: int
    """Of the angle to the aggregate."""

    nearest: str
    """Which other update is the most similar; empty when there is no other."""

    nearest_cosine_micros: int
    cluster: str
    """First of those that are almost the same update (cosine above 0.99); its own name when nobody's is."""

    cluster_size: int
    kept_length_micros: int
    """How much of its length was left by clipping: 1,000,000 when all of it."""

    at_limit: int
    """Words at either end of the grid's range, counted."""

    saturated: int
    """Words cut off, as the participant says."""

    retained: int
    retained_of: int
    left_out: bool
    weight: int
    influence_micros: int
    """Its part of all push along the aggregate; negative when it pushes against it."""

    last: Retention
    """In the last rounds, this one included."""

    why: str


@dataclass(frozen=True, slots=True)
class RoundReport:
    """One certified round."""

    task: str
    round: int
    rule: str
    pre: tuple[str, ...]
    f: int
    aggregate_norm_micros: int
    words: int
    """Of each update."""

    rounds_looked_at: int
    """Certified rounds that `UpdateReport.last` counts in."""

    updates: tuple[UpdateReport, ...]
    """Ascending by participant."""


def report(
    job: AggregationJob, result: RoundResult, geometry: RoundGeometry, looked_at: int, last: dict[str, Retention]
) -> RoundReport:
    """Return a certified round's report.

    Args:
        job: the round.
        result: its certified result.
        geometry: of the same round.
        looked_at: how many certified rounds `last` counts in.
        last: see `retention`.
    """
    rule = job.spec.rule
    return RoundReport(
        task=job.spec.id,
        round=job.round.number,
        rule=rule.rule,
        pre=tuple(rule.pre),
        f=rule.f,
        aggregate_norm_micros=length_micros(geometry.gram[-1][-1], geometry.exponent),
        words=job.spec.schema.size,
        rounds_looked_at=looked_at,
        updates=tuple(_updates(job, result.contributions, geometry, last)),
    )


def length_micros(squared: int, exponent: int) -> int:
    """Return a length in millionths of a unit of value, rounded down, from its square in squared grid units."""
    shift = 2 * (UPDATE_FRACTION_BITS - exponent)
    square = squared * MICROS**2
    return isqrt(square >> shift if shift >= 0 else square << -shift)


def cosine_micros(product: int, left: int, right: int) -> int:
    """Return the cosine of an angle in millionths, rounded towards zero; 0 when a length is 0.

    Args:
        product: inner product.
        left: one squared length.
        right: the other.
    """
    if left == 0 or right == 0:
        return 0
    size = isqrt(MICROS**2 * product**2 // (left * right))
    return size if product >= 0 else -size


def _updates(
    job: AggregationJob, parts: Sequence[Contribution], geometry: RoundGeometry, last: dict[str, Retention]
) -> list[UpdateReport]:
    gram, count = geometry.gram, len(job.updates)
    names = [update.participant for update in job.updates]
    distances = [_distance_squared(gram, row, count) for row in range(count)]
    cluster = clusters(gram, count)
    influences = _influences(geometry, count)
    found = []
    for row, (update, part) in enumerate(zip(job.updates, parts, strict=True)):
        nearest = _nearest(gram, row, count)
        facts = Facts(
            left_out=part.left_out,
            farther=sum(distance < distances[row] for distance in distances) + 1,
            count=count,
            cosine_micros=cosine_micros(gram[row][count], gram[row][row], gram[count][count]),
            kept_length_micros=_kept(geometry.factors[row]),
            twins=tuple(names[other] for other in cluster[row] if other != row),
            retained=part.retained,
            retained_of=part.retained_of,
            influence_micros=influences[row],
            is_zero=gram[row][row] == 0,
        )
        found.append(
            UpdateReport(
                participant=update.participant,
                organisation=update.organisation,
                norm_micros=length_micros(gram[row][row], geometry.exponent),
                distance_micros=length_micros(distances[row], geometry.exponent),
                cosine_micros=facts.cosine_micros,
                nearest="" if nearest is None else names[nearest],
                nearest_cosine_micros=0 if nearest is None else _cosine(gram, row, nearest),
                cluster=names[cluster[row][0]],
                cluster_size=len(cluster[row]),
                kept_length_micros=facts.kept_length_micros,
                at_limit=geometry.at_limit[row],
                saturated=update.saturated,
                retained=part.retained,
                retained_of=part.retained_of,
                left_out=part.left_out,
                weight=part.weight,
                influence_micros=influences[row],
                last=last[update.participant],
                why=sentence(facts),
            )
        )
    return found


def _distance_squared(gram: Gram, row: int, other: int) -> int:
    return gram[row][row] + gram[other][other] - 2 * gram[row][other]


def _cosine(gram: Gram, row: int, other: int) -> int:
    return cosine_micros(gram[row][other], gram[row][row], gram[other][other])


def _nearest(gram: Gram, row: int, count: int) -> int | None:
    others = [other for other in range(count) if other != row]
    return max(others, key=lambda other: (_cosine(gram, row, other), -other), default=None)


def _kept(factor: ClipFactor) -> int:
    return MICROS * factor.numerator >> factor.shift


def _influences(geometry: RoundGeometry, count: int) -> list[int]:
    pushes = [pull * geometry.gram[row][count] for row, pull in enumerate(geometry.pulls)]
    everything = sum(abs(push) for push in pushes) or 1
    return [MICROS * abs(push) // everything * (1 if push >= 0 else -1) for push in pushes]
