"""Every rule equals its paper's formula in exact fractions, on any rows, exponents, weights and chunkings."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import get_args

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from fl.aggregators import Aggregation, RuleSpec, Work, aggregate, minimum_updates
from fl.aggregators.spec import PRE_ORDERS, WEIGHTED, WEIGHTED_ROBUST, RuleId
from fl.grid import WORD_MAX
from fl.schema import Segment
from tests.fl.aggregation_cases import ROOT_ROW, SEED, may_stand, spec_of
from tests.fl.aggregation_oracle import expected


@dataclass(frozen=True)
class Case:
    """One round."""

    spec: RuleSpec
    rows: list[list[int]]
    weights: list[int]
    segments: tuple[Segment, ...]
    clip_norm: int
    chunk_words: int

    def aggregate(self) -> Aggregation:
        updates = np.array(self.rows, np.int16)
        return aggregate(
            self.spec,
            updates,
            self.weights,
            self.segments,
            clip_norm=self.clip_norm,
            seed=SEED,
            root=self.root,
            work=Work(chunk_words=self.chunk_words),
        )

    @property
    def root(self) -> int | None:
        return ROOT_ROW if self.spec.root else None


@st.composite
def specs(draw: st.DrawFn) -> RuleSpec:
    rule = draw(st.sampled_from(get_args(RuleId)))
    pre = draw(st.sampled_from([pre for pre in PRE_ORDERS if may_stand(rule, pre)]))
    f = draw(st.integers(0, 1 if pre and rule == "bulyan/1" else 3))
    changes = {}
    if rule == "multi-krum/1":
        changes["keep"] = draw(st.integers(0, 4))
    if rule in WEIGHTED:
        changes["weight_cap_permille"] = draw(
            st.sampled_from([0, 1000, 400, 250] if f == 0 or rule not in WEIGHTED_ROBUST else [480 // f, 320 // f])
        )
    if rule == "centred-clipping/1":
        changes["radius_micros"] = draw(st.sampled_from([1, 10_000, 10**6, 10**12]))
    if "bucketing/1" in pre:
        changes["bucket"] = draw(st.integers(2, 4))
    return spec_of(rule, f, pre, **changes)


def words() -> st.SearchStrategy[int]:
    """Favour ties (few values) and both ends of the range."""
    return st.one_of(st.integers(-2, 2), st.integers(-WORD_MAX, WORD_MAX), st.sampled_from([-WORD_MAX, WORD_MAX]))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    spec = draw(specs())
    count = minimum_updates(spec) + draw(st.integers(0, 3))
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    stops = np.cumsum(sizes).tolist()
    exponents = draw(st.lists(st.integers(-30, 5), min_size=len(sizes), max_size=len(sizes)))
    segments = tuple(Segment(stop - size, stop, e) for size, stop, e in zip(sizes, stops, exponents, strict=True))
    row = st.lists(words(), min_size=sum(sizes), max_size=sum(sizes))
    return Case(
        spec,
        draw(st.lists(row, min_size=count, max_size=count)),
        draw(st.lists(st.one_of(st.integers(1, 3), st.integers(1, 10**6)), min_size=count, max_size=count)),
        segments,
        draw(st.sampled_from([0, 0, 1, 100, 10**6, 10**13])),
        draw(st.integers(1, 200)),
    )


ONE_LONG_ROW = Case(
    RuleSpec("weighted-mean/1", 1, ("arc/1",)), [[8191, -8191], [1, 0], [0, 3]], [1, 1, 1], (Segment(0, 2, 0),), 0, 64
)


@given(cases())
@example(ONE_LONG_ROW)
def test_a_rule_gives_exactly_what_its_formula_says(case: Case) -> None:
    want = expected(case.spec, case.rows, case.weights, case.segments, case.clip_norm, seed=SEED, root=case.root)

    got = case.aggregate()

    assert [Fraction(value, got.denominator) for value in got.numerator.tolist()] == want.values
    assert list(got.retained) == want.retained
    assert [Fraction(factor.numerator, 2**factor.shift) for factor in got.clip_factors] == want.factors


@given(cases())
def test_the_survey_tells_norms_and_peaks_of_the_rows_as_submitted(case: Case) -> None:
    got = case.aggregate()

    smallest = min(segment.exponent for segment in case.segments)
    for row, norm in zip(case.rows, got.norms_squared, strict=True):
        parts = [
            sum((word * 2 ** (segment.exponent - smallest)) ** 2 for word in row[segment.start : segment.stop])
            for segment in case.segments
        ]
        assert norm == sum(parts)
    for segment, peak in zip(case.segments, got.peaks, strict=True):
        maxima = [max(abs(word) for word in row[segment.start : segment.stop]) for row in case.rows]
        assert peak == sorted(maxima)[-1 - case.spec.f]


@given(cases())
def test_a_numerator_never_exceeds_the_largest_word_times_the_denominator(case: Case) -> None:
    got = case.aggregate()

    assert got.denominator <= 1 << 25
    assert max(abs(value) for value in got.numerator.tolist()) <= WORD_MAX * got.denominator


@given(cases(), st.integers(1, 50))
def test_the_chunk_size_changes_no_bit(case: Case, chunk_words: int) -> None:
    one = case.aggregate()
    other = Case(case.spec, case.rows, case.weights, case.segments, case.clip_norm, chunk_words).aggregate()

    assert one.numerator.tobytes() == other.numerator.tobytes()
    assert (one.denominator, one.retained, one.clip_factors) == (other.denominator, other.retained, other.clip_factors)
