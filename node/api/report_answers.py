"""What the API answers about why a round came out as it did. One law: two nodes send the same bytes.

So there is nothing in it that only one node knows, and no float: lengths are millionths of a unit of value, angles and
shares are millionths, all rounded towards zero.
"""

from __future__ import annotations

from fl.explanation import RoundReport, UpdateReport
from node.api.answers import Answer


class UpdateReportAnswer(Answer, frozen=True):
    """One update of a certified round: where it lies, what the rule made of it, and why."""

    participant: str
    organisation: str
    norm_micros: int
    """Length as submitted."""

    distance_micros: int
    """To the aggregate."""

    cosine_micros: int
    """Of the angle to the aggregate."""

    nearest: str
    """The most similar other update; empty when there is none."""

    nearest_cosine_micros: int
    cluster: str
    """First of those that are almost the same update (cosine above 0.99)."""

    cluster_size: int
    """1 when no other is almost the same."""

    kept_length_micros: int
    """What clipping left of its length; 1000000 when all of it."""

    at_limit: int
    """Words at either end of the grid's range, counted by the node."""

    saturated: int
    """Words cut off, as the participant says."""

    retained: int
    retained_of: int
    left_out: bool
    weight: int
    influence_micros: int
    """Part of all push along the aggregate; negative when it pushes against it."""

    last_rounds: int
    """Of the `rounds_looked_at`, those in which it took part."""

    last_left_out: int
    last_retained_permille: int
    """What the rule let through of it on average in these."""

    why: str


class RoundReportAnswer(Answer, frozen=True):
    """A certified round, explained."""

    task: str
    round: int
    rule: str
    pre: tuple[str, ...]
    f: int
    aggregate_norm_micros: int
    words: int
    rounds_looked_at: int
    """Certified rounds, this one and those before it, that the `last_` fields count in."""

    updates: tuple[UpdateReportAnswer, ...]
    """Ascending by participant."""


def report_answer(found: RoundReport) -> RoundReportAnswer:
    """Return a report as it is sent."""
    return RoundReportAnswer(
        task=found.task,
        round=found.round,
        rule=found.rule,
        pre=found.pre,
        f=found.f,
        aggregate_norm_micros=found.aggregate_norm_micros,
        words=found.words,
        rounds_looked_at=found.rounds_looked_at,
        updates=tuple(_update(one) for one in found.updates),
    )


def _update(one: UpdateReport) -> UpdateReportAnswer:
    return UpdateReportAnswer(
        participant=one.participant,
        organisation=one.organisation,
        norm_micros=one.norm_micros,
        distance_micros=one.distance_micros,
        cosine_micros=one.cosine_micros,
        nearest=one.nearest,
        nearest_cosine_micros=one.nearest_cosine_micros,
        cluster=one.cluster,
        cluster_size=one.cluster_size,
        kept_length_micros=one.kept_length_micros,
        at_limit=one.at_limit,
        saturated=one.saturated,
        retained=one.retained,
        retained_of=one.retained_of,
        left_out=one.left_out,
        weight=one.weight,
        influence_micros=one.influence_micros,
        last_rounds=one.last.rounds,
        last_left_out=one.last.left_out,
        last_retained_permille=one.last.permille,
        why=one.why,
    )
