"""How the grid follows the updates: it settles, recovers, and cannot be led away by f liars."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fl.aggregators import aggregate, default_rule
from fl.grid import PEAK_HIGH, PEAK_LOW, WORD_MAX, GridError, next_exponents, quantise_update
from fl.schema import ModelSchema, SchemaError, TensorSpec

SCHEMA = ModelSchema((TensorSpec("t", (64,), 0),))
BOUNDS = SCHEMA.tensors[0].update_exponents


def peak_on_grid(value: float, exponent: int) -> int:
    words, _ = quantise_update({"t": np.full(64, value)}, SCHEMA, (exponent,))
    return int(np.abs(words).max())


@pytest.mark.parametrize(
    "peak, step",
    [(0, 0), (1, -1), (PEAK_LOW - 1, -1), (PEAK_LOW, 0), (PEAK_HIGH - 1, 0), (PEAK_HIGH, 1), (WORD_MAX, 1)],
)
def test_a_peak_moves_the_exponent_by_at_most_one(peak: int, step: int) -> None:
    assert next_exponents((-3,), (peak,), SCHEMA) == (-3 + step,)


def test_an_exponent_stays_within_the_schemas_bounds() -> None:
    assert next_exponents((BOUNDS[-1],), (WORD_MAX,), SCHEMA) == (BOUNDS[-1],)
    assert next_exponents((BOUNDS[0],), (1,), SCHEMA) == (BOUNDS[0],)


@given(st.floats(2**-20, 64.0), st.sampled_from(list(BOUNDS)))
def test_a_constant_update_settles_in_the_band_and_stays(value: float, start: int) -> None:
    exponent = start
    for _ in range(len(BOUNDS)):
        if peak_on_grid(value, exponent) == 0:
            return  # rounds to nothing on a grid far too wide: nothing is known of its scale
        (exponent,) = next_exponents((exponent,), (peak_on_grid(value, exponent),), SCHEMA)
    settled = exponent
    (exponent,) = next_exponents((exponent,), (peak_on_grid(value, exponent),), SCHEMA)

    assert exponent == settled
    assert PEAK_LOW <= peak_on_grid(value, exponent) < PEAK_HIGH or exponent in (BOUNDS[0], BOUNDS[-1])


def test_participants_that_disagree_a_hundredfold_do_not_starve_the_grid() -> None:
    """The rule by the aggregate's magnitude would fall for ever here: the median of saturated words is small."""
    random = np.random.default_rng(1)
    directions = np.where(random.random((8, 64)) < 0.5, -1.0, 1.0)
    exponent, by_aggregate = -8, -8
    for _ in range(30):
        rows: list[NDArray[np.int16]] = []
        aggregates: list[NDArray[np.int16]] = []
        for direction in directions:
            for target, at in ((rows, exponent), (aggregates, by_aggregate)):
                target.append(quantise_update({"t": 0.5 * direction + 0.001}, SCHEMA, (at,))[0])
        rule = default_rule(2)
        got = aggregate(rule, np.array(rows), [1] * 8, SCHEMA.segments((exponent,)))
        (exponent,) = next_exponents((exponent,), got.peaks, SCHEMA)
        mean = float(np.abs(np.array(aggregates).mean(axis=0)).min())
        by_aggregate = max(by_aggregate + (mean > 1024) - (mean < 128), BOUNDS[0])

    assert PEAK_LOW <= peak_on_grid(0.5, exponent) < PEAK_HIGH
    assert by_aggregate == BOUNDS[0]


@given(st.integers(0, 3), st.integers(0, 2**32), st.sampled_from([0, 1, WORD_MAX]))
def test_f_liars_cannot_move_the_peak_beyond_the_honest_ones(f: int, seed: int, lie: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.integers(-4000, 4001, (2 * f + 1, 64)).astype(np.int16)
    liars = random.permutation(len(rows))[:f]
    rows[liars] = lie
    honest = np.abs(np.delete(rows, liars, axis=0)).max(axis=1)

    (peak,) = aggregate(default_rule(f), rows, [1] * len(rows), SCHEMA.segments((0,))).peaks

    assert honest.min() <= peak <= honest.max()


@pytest.mark.parametrize("peaks", [(), (1, 2), (-1,), (WORD_MAX + 1,)])
def test_peaks_of_another_number_or_range_are_refused(peaks: tuple[int, ...]) -> None:
    with pytest.raises(GridError):
        next_exponents((0,), peaks, SCHEMA)


def test_exponents_beyond_the_bounds_are_refused() -> None:
    with pytest.raises(SchemaError):
        next_exponents((BOUNDS[-1] + 1,), (1,), SCHEMA)
