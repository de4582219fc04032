"""Fixed-point words of updates and models: rounding, ranges, refusals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from fl.grid import (
    DENOMINATOR_MAX,
    MODEL_WORD_MAX,
    MODEL_WORD_MIN,
    WORD_MAX,
    GridError,
    ModelRangeError,
    NonFiniteError,
    apply_aggregate,
    check_words,
    dequantise_update,
    model_from_bytes,
    model_from_float,
    model_to_bytes,
    model_to_float,
    quantise_update,
    update_from_bytes,
    update_to_bytes,
)
from fl.schema import ModelSchema, SchemaError, TensorSpec

SCHEMA = ModelSchema((TensorSpec("weight", (2, 3), 0), TensorSpec("bias", (), 2)))


def update(weight: float, bias: float) -> dict[str, NDArray[np.generic]]:
    return {"weight": np.full((2, 3), weight), "bias": np.array(bias)}


# --- updates ----------------------------------------------------------------------------------------------------------


@given(st.floats(-3, 3, width=32), st.integers(-24, 7))
def test_a_word_is_the_nearest_to_the_value_and_ties_go_to_the_even(value: float, exponent: int) -> None:
    words, saturated = quantise_update(update(value, 0.0), SCHEMA, (exponent, 0))

    exact = round(Fraction(value) * Fraction(2) ** (13 - exponent))
    assert words.tolist() == [min(max(exact, -WORD_MAX), WORD_MAX)] * 6 + [0]
    assert saturated == 6 * (abs(exact) > WORD_MAX)
    assert check_words(words) == "ok"


@given(arrays.arrays(np.int16, 7, elements=st.integers(-WORD_MAX, WORD_MAX)), st.integers(-22, 7))
def test_words_survive_the_way_to_floats_and_back(words: NDArray[np.int16], exponent: int) -> None:
    values = dequantise_update(words, SCHEMA, (exponent, exponent))

    again, saturated = quantise_update(dict(values), SCHEMA, (exponent, exponent))

    assert np.array_equal(again, words)
    assert saturated == 0
    assert values["bias"].shape == ()
    assert values["weight"].dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_update_with_nan_or_infinity_is_refused_with_the_tensors_name(bad: float) -> None:
    with pytest.raises(NonFiniteError) as refusal:
        quantise_update(update(bad, 0.0), SCHEMA, (0, 0))
    assert (refusal.value.tensor, refusal.value.count) == ("weight", 6)


@pytest.mark.parametrize("huge", [1e300, -1e300, 1.7e308])
def test_a_finite_value_beyond_every_grid_saturates(huge: float) -> None:
    words, saturated = quantise_update(update(huge, 0.0), SCHEMA, (-24, 0))

    assert saturated == 6
    assert words.tolist()[:6] == [int(np.sign(huge)) * WORD_MAX] * 6


@pytest.mark.parametrize(
    "delta",
    [
        {"weight": np.zeros((2, 3))},
        {"weight": np.zeros((2, 3)), "bias": np.array(0.0), "more": np.zeros(1)},
        {"weight": np.zeros((3, 2)), "bias": np.array(0.0)},
        {"weight": np.zeros(6), "bias": np.array(0.0)},
        {"weight": np.zeros((2, 3), np.complex64), "bias": np.array(0.0)},
        {"weight": np.zeros((2, 3), bool), "bias": np.array(0.0)},
        {"weight": np.zeros((2, 3), np.longdouble), "bias": np.array(0.0)},
        {"weight": np.full((2, 3), None), "bias": np.array(0.0)},
    ],
)
def test_an_update_of_other_names_shapes_or_dtypes_is_refused(delta: dict[str, NDArray[np.generic]]) -> None:
    with pytest.raises(GridError):
        quantise_update(delta, SCHEMA, (0, 0))


@pytest.mark.parametrize("exponents", [(0,), (0, 0, 0), (8, 0), (-25, 0), (0, 10), (0, -23)])
def test_exponents_that_the_schema_does_not_allow_are_refused(exponents: tuple[int, ...]) -> None:
    with pytest.raises(SchemaError):
        quantise_update(update(0.0, 0.0), SCHEMA, exponents)


@pytest.mark.parametrize("word", [8192, -8192, 32767, -32768])
def test_one_word_beyond_the_range_makes_the_verdict_out_of_range(word: int) -> None:
    words = np.zeros(9, np.int16)
    assert check_words(words) == "ok"
    words[4] = word
    assert check_words(words) == "out_of_range"


def test_the_extreme_words_are_within_the_range() -> None:
    assert check_words(np.array([WORD_MAX, -WORD_MAX], np.int16)) == "ok"
    assert check_words(np.zeros(0, np.int16)) == "ok"


# --- models -----------------------------------------------------------------------------------------------------------


@given(arrays.arrays(np.int32, 7, elements=st.integers(-(2**24), 2**24)))
def test_a_model_within_its_scale_survives_the_way_to_float32_and_back(words: NDArray[np.int32]) -> None:
    values = model_to_float(words, SCHEMA)

    assert np.array_equal(model_from_float(dict(values), SCHEMA), words)


@given(arrays.arrays(np.int32, 7, elements=st.integers(MODEL_WORD_MIN, MODEL_WORD_MAX)))
def test_a_model_beyond_its_scale_becomes_the_nearest_float32(words: NDArray[np.int32]) -> None:
    values = model_to_float(words, SCHEMA)

    assert values["weight"].ravel().tolist() == [float(np.float32(word * 2.0**-24)) for word in words[:6].tolist()]
    assert values["bias"] == np.float32(words[6] * 2.0**-22)


def test_a_model_too_large_for_its_grid_is_refused_with_what_it_would_take() -> None:
    assert model_from_float(update(-128.0, 511.9), SCHEMA)[0] == MODEL_WORD_MIN
    with pytest.raises(ModelRangeError) as refusal:
        model_from_float(update(128.0, 0.0), SCHEMA)
    assert (refusal.value.tensor, refusal.value.largest, refusal.value.exponent) == ("weight", 128.0, 0)


def test_bodies_are_little_endian_words_in_schema_order() -> None:
    words = np.array([1, -2, 3, 4, 5, 6, -8191], np.int16)
    assert update_to_bytes(words) == b"".join(word.to_bytes(2, "little", signed=True) for word in words.tolist())
    assert np.array_equal(update_from_bytes(memoryview(update_to_bytes(words)), SCHEMA), words)
    model = np.arange(7, dtype=np.int32) * -300_000_000
    assert model_to_bytes(model)[4:8] == (-300_000_000).to_bytes(4, "little", signed=True)
    assert np.array_equal(model_from_bytes(model_to_bytes(model), SCHEMA), model)


@pytest.mark.parametrize("length", [0, 13, 15, 28])
def test_a_body_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(GridError):
        update_from_bytes(bytes(length), SCHEMA)
    with pytest.raises(GridError):
        model_from_bytes(bytes(length + 1), SCHEMA)


# --- the step ---------------------------------------------------------------------------------------------------------


@st.composite
def steps(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Return a model word, a numerator, a denominator and how far e_t is above x_t."""
    denominator = draw(st.one_of(st.integers(1, 40), st.sampled_from([2**15, DENOMINATOR_MAX, DENOMINATOR_MAX - 1])))
    numerator = draw(
        st.one_of(
            st.integers(-WORD_MAX * denominator, WORD_MAX * denominator),
            st.sampled_from([-WORD_MAX * denominator, WORD_MAX * denominator, denominator // 2, -denominator // 2]),
        )
    )
    word = draw(
        st.one_of(st.integers(-3, 3), st.integers(MODEL_WORD_MIN, MODEL_WORD_MAX), st.sampled_from([MODEL_WORD_MAX]))
    )
    return word, numerator, denominator, draw(st.integers(-24, 7))


@settings(max_examples=400)
@given(steps())
def test_the_next_word_is_the_nearest_to_the_exact_sum_and_saturates(step: tuple[int, int, int, int]) -> None:
    word, numerator, denominator, above = step
    schema = ModelSchema((TensorSpec("t", (1,), 5),))

    words, saturated = apply_aggregate(
        np.array([word], np.int32), np.array([numerator], np.int64), denominator, (5 + above,), schema
    )

    exact = round(word + Fraction(numerator, denominator) * Fraction(2) ** (above + 11))
    assert words.tolist() == [min(max(exact, MODEL_WORD_MIN), MODEL_WORD_MAX)]
    assert saturated == (not MODEL_WORD_MIN <= exact <= MODEL_WORD_MAX)


def test_each_tensor_is_stepped_on_its_own_grid() -> None:
    words, _ = apply_aggregate(np.zeros(7, np.int32), np.full(7, 3, np.int64), 2, (-11, -10), SCHEMA)

    assert words.tolist() == [2, 2, 2, 2, 2, 2, 1]  # 3/2 is a tie, even is 2; 3/4 * 1 rounds to 1


def test_a_thousand_half_units_do_not_drift() -> None:
    """Flooring would lose 500 units here."""
    model = np.zeros(1, np.int32)
    schema = ModelSchema((TensorSpec("t", (1,), 0),))
    for turn in range(1000):
        model, _ = apply_aggregate(model, np.array([(-1) ** turn], np.int64), 2, (-11,), schema)
    assert abs(int(model[0])) <= 1


@pytest.mark.parametrize("denominator", [0, -1, DENOMINATOR_MAX + 1])
def test_a_denominator_out_of_range_is_refused(denominator: int) -> None:
    with pytest.raises(GridError):
        apply_aggregate(np.zeros(7, np.int32), np.zeros(7, np.int64), denominator, (0, 0), SCHEMA)


@pytest.mark.parametrize("numerator", [WORD_MAX * 3 + 1, -WORD_MAX * 3 - 1, 2**62])
def test_a_numerator_that_no_rule_can_give_is_refused(numerator: int) -> None:
    with pytest.raises(GridError):
        apply_aggregate(np.zeros(7, np.int32), np.full(7, numerator, np.int64), 3, (0, 0), SCHEMA)


def test_words_of_another_size_or_dtype_are_refused() -> None:
    with pytest.raises(GridError):
        apply_aggregate(np.zeros(6, np.int32), np.zeros(7, np.int64), 1, (0, 0), SCHEMA)
    with pytest.raises(GridError):
        dequantise_update(np.zeros(7, np.int8).astype(">i2"), SCHEMA, (0, 0))
    with pytest.raises(GridError):
        model_to_float(np.zeros((7, 1), np.int32), SCHEMA)
