"""The one entry to all rules. One law: same words, weights and spec, same integers, whatever computes them.

Order of work: survey (norms, peaks, range), clip factors, Gram matrix if anything needs it, mixing, the rule's plan,
and one last pass that carries it out. Two or three reads of the words in all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, Protocol, assert_never

import numpy as np
from numpy.typing import NDArray

from fl.aggregators.arc import arc_threshold
from fl.aggregators.bucketing import buckets
from fl.aggregators.clip import WHOLE, ClipFactor, clip_factor, clip_norm_in_units
from fl.aggregators.combine import LastPass, last_pass
from fl.aggregators.errors import TooFewUpdatesError, TooManyUpdatesError, UpdateArrayError
from fl.aggregators.gram import Gram, gram_matrix
from fl.aggregators.mixing import Mixing, mixed_gram
from fl.aggregators.nnm import nearest_neighbourhoods
from fl.aggregators.plan import Around, Linear, Middle, Plan, Situation, WeightedMiddle
from fl.aggregators.registry import RULES, maximum_updates, minimum_updates
from fl.aggregators.rows import IN_TURN, Rows, Work
from fl.aggregators.spec import RuleSpec
from fl.aggregators.survey import Survey, survey
from fl.aggregators.weights import apportion
from fl.schema import Segment


class Retained(NamedTuple):
    """How much of one row the rule let through: `used` of `out_of`.

    Rules that choose or weigh rows: 1 of 1, or 0 where a row is not chosen or its share of 2^15 is 0. Coordinate rules:
    1 of 1, since they leave no row out as a whole. Behind bucketing: what holds of its bucket. Behind NNM: in how many
    of the neighbourhoods that the rule used the row is.
    """

    used: int
    out_of: int

    @property
    def left_out(self) -> bool:
        """Whether the row was not selected, or is in fewer than half of the neighbourhoods."""
        return 2 * self.used < self.out_of


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What a rule makes of a round's updates: exact, not yet divided."""

    numerator: NDArray[np.int64]
    """Shape (d,), |numerator| <= 8191 * denominator."""

    denominator: int
    """1..`fl.grid.DENOMINATOR_MAX`; the aggregate is numerator / denominator update words."""

    retained: tuple[Retained, ...]
    """One a row."""

    weights: tuple[int, ...]
    """One a row: its share of 2^15 in a weighted rule, 0 in rules without weights."""

    norms_squared: tuple[int, ...]
    """Per row as submitted, in squared grid units of the smallest exponent."""

    clip_factors: tuple[ClipFactor, ...]
    """One a row, by the static clip and ARC together."""

    peaks: tuple[int, ...]
    """One a tensor, for `fl.grid.next_exponents`."""


@dataclass(frozen=True, slots=True)
class Decision:
    """An `Aggregation` whose words have not been summed yet: `last_pass.sums(columns)` does that, piece by piece."""

    last_pass: LastPass
    retained: tuple[Retained, ...]
    weights: tuple[int, ...]
    norms_squared: tuple[int, ...]
    peaks: tuple[int, ...]


def aggregate(
    spec: RuleSpec,
    updates: NDArray[np.int16],
    weights: Sequence[int],
    segments: Sequence[Segment],
    *,
    clip_norm: int = 0,
    seed: bytes = b"",
    root: int | None = None,
    work: Work = IN_TURN,
) -> Aggregation:
    """Aggregate a round's updates.

    Args:
        spec: the rule, f, pre-aggregations, clip.
        updates: shape (n, d) int16, rows in ascending order of participant id, |word| <= 8191; may be memory-mapped.
        weights: n sample counts (used by weighted rules alone).
        segments: the tensors' places and exponents, `ModelSchema.segments(exponents)`.
        clip_norm: static L2 bound of a row, in grid units of the smallest exponent (`clip_norm_in_units`); 0 for none.
        seed: of the round, for what is drawn by lot.
        root: the row of `spec.root`, None when it is not there.
        work: how the passes are carried out; gives the same result.

    Raises:
        TooFewUpdatesError: n < `minimum_updates(spec)`.
        TooManyUpdatesError: n > `maximum_updates(spec)`.
        RootMissingError: the rule needs a root and it is not there.
        UpdateArrayError: shapes or dtype are not as above.
        UpdateRangeError: a word is beyond 8191.
        WeightError: a weight of a weighted rule is not a sample count.

    Cost: as the rule's module says; memory is the result (8 d bytes) and less than 16 MB.
    """
    decision = decide(spec, updates, weights, segments, clip_norm=clip_norm, seed=seed, root=root, work=work)
    return Aggregation(
        numerator=decision.last_pass.numerator(),
        denominator=decision.last_pass.denominator,
        retained=decision.retained,
        weights=decision.weights,
        norms_squared=decision.norms_squared,
        clip_factors=decision.last_pass.rows.factors,
        peaks=decision.peaks,
    )


def decide(
    spec: RuleSpec,
    updates: NDArray[np.int16],
    weights: Sequence[int],
    segments: Sequence[Segment],
    *,
    clip_norm: int = 0,
    seed: bytes = b"",
    root: int | None = None,
    work: Work = IN_TURN,
) -> Decision:
    """Do all of `aggregate` but its last pass: a caller that uses the sums in pieces needs no vector of length d."""
    _require_arrays(updates, weights, segments)
    rows = Rows(updates, (WHOLE,) * len(updates), tuple(segments), work)
    return decide_by(spec, InMemory(rows), weights, clip_norm=clip_norm, seed=seed, root=root)


class Passes(Protocol):
    """Who reads the words of a round for a decision, pass by pass."""

    @property
    def rows(self) -> Rows:
        """The updates as submitted; without any column where they are not in memory."""
        ...

    def survey(self, f: int) -> Survey:
        """Return norms and peaks; errors as `fl.aggregators.survey.survey`."""
        ...

    def gram(self, factors: tuple[ClipFactor, ...]) -> Gram:
        """Return the Gram matrix of the clipped rows; called after `survey`."""
        ...


@dataclass(frozen=True, slots=True)
class InMemory:
    """Passes over words that are in memory."""

    rows: Rows

    def survey(self, f: int) -> Survey:
        """Measure the rows."""
        return survey(self.rows, f)

    def gram(self, factors: tuple[ClipFactor, ...]) -> Gram:
        """Multiply the clipped rows."""
        return gram_matrix(replace(self.rows, factors=factors))


def decide_by(
    spec: RuleSpec,
    passes: Passes,
    weights: Sequence[int],
    *,
    clip_norm: int = 0,
    seed: bytes = b"",
    root: int | None = None,
) -> Decision:
    """As `decide`, of words that `passes` reads, wherever they are."""
    assert clip_norm >= 0, f"a clip norm is at least 0, got {clip_norm}"
    rows = passes.rows
    _require_count(spec, rows.count)
    rule = RULES[spec.rule]
    measured = passes.survey(spec.f)
    rows = replace(rows, factors=_clip_factors(spec, measured.norms_squared, clip_norm))
    gram: Gram = passes.gram(rows.factors) if needs_gram(spec) else ()
    mixing = _mixing(spec, rows.count, gram, seed)
    situation = Situation(
        count=rows.count if mixing is None else mixing.count,
        shares=apportion(weights, spec.weight_cap_permille) if rule.weighted else (),
        gram=gram if mixing is None or not rule.needs_gram else mixed_gram(gram, mixing),
        weight=1 if mixing is None else mixing.weight,
        radius=clip_norm_in_units(spec.radius_micros, [segment.exponent for segment in rows.segments]),
        root=root,
    )
    plan = rule.plan(spec, situation)
    return Decision(
        last_pass=last_pass(rows, plan, mixing),
        retained=_retained(spec, rows.count, plan, mixing),
        weights=situation.shares or (0,) * rows.count,
        norms_squared=measured.norms_squared,
        peaks=measured.peaks,
    )


def needs_gram(spec: RuleSpec) -> bool:
    """Tell whether a decision takes the Gram matrix."""
    return RULES[spec.rule].needs_gram or "nnm/1" in spec.pre


def _require_arrays(updates: NDArray[np.int16], weights: Sequence[int], segments: Sequence[Segment]) -> None:
    if updates.ndim != 2 or updates.dtype != np.dtype(np.int16) or updates.shape[1] == 0:
        raise UpdateArrayError(f"n rows of d int16 words are needed, got shape {updates.shape} of {updates.dtype}")
    if len(weights) != len(updates):
        raise UpdateArrayError(f"{len(updates)} rows need as many weights, got {len(weights)}")
    bounds = [0, *(segment.stop for segment in segments)]
    places = [(segment.start, segment.stop) for segment in segments]
    increasing = all(start < stop for start, stop in places)
    if not increasing or places != list(pairwise(bounds)) or bounds[-1] != updates.shape[1]:
        raise UpdateArrayError(f"segments must cover 0..{updates.shape[1]} in order, got {places[:8]}")


def _require_count(spec: RuleSpec, count: int) -> None:
    needed = minimum_updates(spec)
    if count < needed:
        raise TooFewUpdatesError(rule=spec.rule, received=count, needed=needed)
    most = maximum_updates(spec)
    if count > most:
        raise TooManyUpdatesError(rule=spec.rule, received=count, updates_max=most)


def _clip_factors(spec: RuleSpec, norms_squared: tuple[int, ...], clip_norm: int) -> tuple[ClipFactor, ...]:
    """Return each row's factor. ARC looks at norms after the static clip; the words are rounded once for both."""
    bounds = list(norms_squared)
    if clip_norm:
        bounds = [min(norm, clip_norm**2) for norm in bounds]
    if "arc/1" in spec.pre:
        adaptive = arc_threshold(bounds, spec.f)
        bounds = [min(norm, adaptive) for norm in bounds]
    return tuple(clip_factor(norm, bound) for norm, bound in zip(norms_squared, bounds, strict=True))


def _mixing(spec: RuleSpec, count: int, gram: Gram, seed: bytes) -> Mixing | None:
    if "nnm/1" in spec.pre:
        return nearest_neighbourhoods(gram, spec.f)
    return buckets(count, spec.bucket, seed) if spec.bucket else None


def _retained(spec: RuleSpec, count: int, plan: Plan, mixing: Mixing | None) -> tuple[Retained, ...]:
    used = _used(plan, count if mixing is None else mixing.count)
    if mixing is None:
        members = set(used)
        return tuple(Retained(int(row in members), 1) for row in range(count))
    counts = Counter(row for center in used for row in mixing.members[center])
    out_of = max(len(used), 1) if "nnm/1" in spec.pre else 1
    return tuple(Retained(counts[row], out_of) for row in range(count))


def _used(plan: Plan, count: int) -> Sequence[int]:
    match plan:
        case Linear(coefficients, _):
            return [row for row in range(count) if coefficients[row]]
        case Around(chosen, _):
            return chosen
        case Middle() | WeightedMiddle():
            return range(count)
        case _:
            assert_never(plan)
