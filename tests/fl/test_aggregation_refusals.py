"""What aggregation refuses: it fails closed, with an error that carries the values."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from fl.aggregators import (
    UPDATES_MAX,
    RootMissingError,
    RuleSpec,
    RuleSpecError,
    TooManyUpdatesError,
    UpdateArrayError,
    UpdateRangeError,
    WeightError,
    aggregate,
    maximum_updates,
    minimum_updates,
)
from fl.aggregators.spec import PreId, RuleId
from fl.schema import Segment
from ledger.codec import CodecError, decode, encode

MEAN = RuleSpec("weighted-mean/1", 0)
ROWS = np.zeros((3, 4), np.int16)
WHOLE = (Segment(0, 4, 0),)


@pytest.mark.parametrize("word", [8192, -8192, -32768, 32767])
def test_a_word_beyond_the_grid_is_refused_with_its_row(word: int) -> None:
    rows = ROWS.copy()
    rows[1, 2] = word

    with pytest.raises(UpdateRangeError) as refusal:
        aggregate(MEAN, rows, [1, 1, 1], WHOLE)
    assert (refusal.value.row, refusal.value.magnitude) == (1, abs(word))


@pytest.mark.parametrize(
    "rows", [ROWS.astype(np.int32), ROWS.astype(np.float32), ROWS.astype(">i2"), ROWS[0], ROWS[:, :0]]
)
def test_anything_but_rows_of_native_int16_is_refused(rows: np.ndarray) -> None:
    with pytest.raises(UpdateArrayError):
        aggregate(MEAN, rows, [1, 1, 1], WHOLE)


@pytest.mark.parametrize(
    "segments",
    [
        (),
        (Segment(0, 3, 0),),
        (Segment(0, 5, 0),),
        (Segment(0, 2, 0), Segment(3, 4, 0)),
        (Segment(0, 3, 0), Segment(2, 4, 0)),
        (Segment(0, 4, 0), Segment(4, 4, 0)),
        (Segment(2, 4, 0), Segment(0, 2, 0)),
    ],
)
def test_segments_that_do_not_cover_the_columns_once_are_refused(segments: tuple[Segment, ...]) -> None:
    with pytest.raises(UpdateArrayError):
        aggregate(MEAN, ROWS, [1, 1, 1], segments)


def test_another_number_of_weights_than_of_rows_is_refused() -> None:
    with pytest.raises(UpdateArrayError):
        aggregate(MEAN, ROWS, [1, 1], WHOLE)


def test_a_row_without_samples_is_refused_by_a_weighted_rule_and_not_looked_at_by_others() -> None:
    with pytest.raises(WeightError):
        aggregate(MEAN, ROWS, [1, 0, 1], WHOLE)
    assert aggregate(RuleSpec("median/1", 1), ROWS, [1, 0, 1], WHOLE).weights == (0, 0, 0)


def test_more_rows_than_the_sums_are_proven_for_are_refused() -> None:
    rows = np.zeros((UPDATES_MAX + 1, 1), np.int16)

    with pytest.raises(TooManyUpdatesError):
        aggregate(MEAN, rows, [1] * len(rows), (Segment(0, 1, 0),))


@pytest.mark.parametrize("rule, most", [("mda/1", 20), ("caf/1", 128)])
def test_a_rule_whose_search_grows_fast_takes_no_more_rows_than_it_says(rule: RuleId, most: int) -> None:
    spec = RuleSpec(rule, 1)
    rows = np.random.default_rng(1).integers(-99, 100, (most + 1, 3)).astype(np.int16)

    assert maximum_updates(spec) == most
    assert len(aggregate(spec, rows[1:], [1] * most, (Segment(0, 3, 0),)).retained) == most
    with pytest.raises(TooManyUpdatesError) as refusal:
        aggregate(spec, rows, [1] * len(rows), (Segment(0, 3, 0),))
    assert (refusal.value.received, refusal.value.updates_max) == (most + 1, most)


def test_without_the_root_there_is_no_trust() -> None:
    with pytest.raises(RootMissingError, match="ann"):
        aggregate(RuleSpec("fltrust/1", 0, root="ann"), ROWS, [1, 1, 1], WHOLE, root=None)


def test_bucketing_multiplies_what_a_rule_needs_and_takes() -> None:
    spec = RuleSpec("mda/1", 2, ("bucketing/1",), bucket=3)

    assert (minimum_updates(spec), maximum_updates(spec)) == (13, 60)
    assert maximum_updates(RuleSpec("median/1", 2, ("bucketing/1",), bucket=3)) == UPDATES_MAX


def test_the_largest_round_of_the_largest_words_does_not_overflow() -> None:
    rows = np.full((UPDATES_MAX, 3), 8191, np.int16)
    for spec in (RuleSpec("weighted-mean/1", 0, ("nnm/1",)), RuleSpec("trimmed-mean/1", 0, ("nnm/1",))):
        got = aggregate(spec, rows, [1] * UPDATES_MAX, (Segment(0, 3, 0),))
        assert got.numerator.tolist() == [8191 * got.denominator] * 3


@pytest.mark.parametrize(
    "fields",
    [
        {"rule": "krum/2"},
        {"f": -1},
        {"f": UPDATES_MAX},
        {"pre": ("nnm/1", "arc/1")},
        {"pre": ("arc/1", "arc/1")},
        {"pre": ("bucketing/1",)},
        {"pre": ("bucketing/1",), "bucket": 17},
        {"pre": ("bucketing/1",), "bucket": 2, "rule": "weighted-mean/1"},
        {"pre": ("nnm/1", "bucketing/1"), "bucket": 2},
        {"bucket": 2},
        {"radius_micros": 1},
        {"rule": "centred-clipping/1"},
        {"root": "ann"},
        {"rule": "fltrust/1"},
        {"rule": "fltrust/1", "root": "Ann"},
        {"rule": "fltrust/1", "root": "ann\n"},
        {"rule": "fltrust/1", "root": "ann", "pre": ("nnm/1",)},
        {"rule": "weighted-median/1"},
        {"rule": "weighted-trimmed-mean/1", "weight_cap_permille": 501},
        {"rule": "weighted-geometric-median/1", "f": 2, "weight_cap_permille": 251},
        {"keep": 3},
        {"keep": -1, "rule": "multi-krum/1"},
        {"weight_cap_permille": 300},
        {"weight_cap_permille": 1001, "rule": "weighted-mean/1"},
        {"weight_cap_permille": 1, "rule": "weighted-mean/1"},
    ],
)
def test_a_spec_without_a_meaning_cannot_be_built_or_decoded(fields: dict[str, object]) -> None:
    whole = {"pre": (), "keep": 0, "weight_cap_permille": 0, "bucket": 0, "radius_micros": 0, "root": ""}
    values = {"rule": "median/1", "f": 1} | whole | fields

    with pytest.raises(RuleSpecError):
        RuleSpec(**values)  # type: ignore[arg-type]
    with pytest.raises(CodecError):
        decode(msgspec.msgpack.encode(list(values.values())), RuleSpec, bytes_max=1000)


@pytest.mark.parametrize("pre", [(), ("arc/1",), ("nnm/1",), ("arc/1", "nnm/1")])
def test_a_spec_survives_its_canonical_bytes(pre: tuple[PreId, ...]) -> None:
    spec = RuleSpec("multi-krum/1", 2, pre, keep=3)

    assert decode(encode(spec), RuleSpec, bytes_max=1000) == spec
