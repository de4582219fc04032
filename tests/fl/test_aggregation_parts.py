"""The parts that rules are made of: shares, networks, Gram matrices, clip factors."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fl.aggregators import ClipFactor, TooFewUpdatesError, WeightError, clip_norm_in_units
from fl.aggregators.arc import arc_threshold, clipped_count
from fl.aggregators.clip import NOTHING, WHOLE, clip_factor, scale_words
from fl.aggregators.gram import gram_matrix, squared_distances
from fl.aggregators.krum import krum_scores
from fl.aggregators.mixing import mixed_gram
from fl.aggregators.nnm import nearest_neighbourhoods
from fl.aggregators.order_statistics import (
    NETWORK_ROWS_MAX,
    middle_sum,
    network,
    network_middle_sum,
    sorted_middle_sum,
)
from fl.aggregators.rows import Rows, Work, merged
from fl.aggregators.weights import SHARE_TOTAL, WEIGHT_MAX, apportion
from fl.grid import WORD_MAX
from fl.rounding import shift_half_even
from fl.schema import Segment
from tests.fl.aggregation_oracle import largest_factor, largest_remainder

WEIGHTS = st.lists(st.one_of(st.integers(1, 4), st.integers(1, WEIGHT_MAX)), min_size=1, max_size=12)


def plain(rows: NDArray[np.int16], segments: tuple[Segment, ...] | None = None) -> Rows:
    return Rows(rows, (WHOLE,) * len(rows), segments or (Segment(0, rows.shape[1], 0),))


# --- shares -----------------------------------------------------------------------------------------------------------


@given(WEIGHTS, st.sampled_from([0, 1000, 600, 334, 125]))
def test_shares_are_those_of_the_largest_remainder_under_the_cap(weights: list[int], cap: int) -> None:
    if cap and len(weights) * (SHARE_TOTAL * cap // 1000) < SHARE_TOTAL:
        with pytest.raises(TooFewUpdatesError):
            apportion(weights, cap)
        return

    shares = apportion(weights, cap)

    assert list(shares) == largest_remainder(weights, cap)
    assert sum(shares) == SHARE_TOTAL
    assert not cap or max(shares) <= SHARE_TOTAL * cap // 1000


@given(WEIGHTS)
def test_a_share_is_within_one_unit_of_its_proportion(weights: list[int]) -> None:
    for weight, share in zip(weights, apportion(weights), strict=True):
        assert abs(share - Fraction(weight * SHARE_TOTAL, sum(weights))) < 1


def test_a_remainder_that_is_tied_goes_to_the_lower_row() -> None:
    assert apportion([1, 1, 1]) == (10923, 10923, 10922)


def test_a_large_site_is_held_at_its_cap_and_the_rest_share_in_proportion() -> None:
    assert apportion([1_000_000, 30, 10], 500) == (16384, 12288, 4096)


@pytest.mark.parametrize("weight", [0, -1, WEIGHT_MAX + 1])
def test_a_weight_that_is_no_sample_count_is_refused(weight: int) -> None:
    with pytest.raises(WeightError) as refusal:
        apportion([5, weight])
    assert (refusal.value.row, refusal.value.weight) == (1, weight)


# --- middle sums ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, 12))
def test_the_network_separates_all_columns_of_zeros_and_ones(count: int) -> None:
    """A network that is right for 0 and 1 is right for all values (Knuth, 5.3.4, theorem Z)."""
    rows = np.array(list(product((0, 1), repeat=count)), np.int16).T
    for drop in range((count - 1) // 2 + 1):
        assert np.array_equal(network_middle_sum(rows, drop), np.sort(rows, axis=0)[drop : count - drop].sum(axis=0))


@pytest.mark.parametrize("count", [1, 2, 13, 32, NETWORK_ROWS_MAX, NETWORK_ROWS_MAX + 1, 100])
def test_network_and_sorting_give_the_same_sums_and_leave_the_rows_alone(count: int) -> None:
    rows = np.random.default_rng(count).integers(-WORD_MAX, WORD_MAX + 1, (count, 50)).astype(np.int16)
    wide, before = rows.astype(np.int32) * 1000, rows.copy()
    for drop in {0, count // 5, (count - 1) // 2}:
        direct = np.sort(rows, axis=0)[drop : count - drop].sum(axis=0)
        assert np.array_equal(network_middle_sum(rows, drop), direct)
        assert np.array_equal(sorted_middle_sum(rows, drop), direct)
        assert np.array_equal(middle_sum(rows, drop), direct)
        assert np.array_equal(network_middle_sum(wide, drop), direct * 1000)
        assert np.array_equal(sorted_middle_sum(wide, drop), direct * 1000)
    assert np.array_equal(rows, before)


def test_dropping_nothing_needs_no_comparison() -> None:
    assert network(10, 0) == ()


# --- Gram matrix ------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(
    st.integers(1, 6), st.lists(st.integers(-80, 70), min_size=1, max_size=4), st.integers(0, 2**32), st.integers(1, 9)
)
def test_the_gram_matrix_is_that_of_python_integers(count: int, exponents: list[int], seed: int, chunk: int) -> None:
    words = np.random.default_rng(seed).integers(-WORD_MAX, WORD_MAX + 1, (count, 3 * len(exponents))).astype(np.int16)
    segments = tuple(Segment(3 * place, 3 * place + 3, e) for place, e in enumerate(exponents))
    worth = [2 ** (e - min(exponents)) for e in exponents for _ in range(3)]
    values = [[word * by for word, by in zip(row, worth, strict=True)] for row in words.tolist()]

    gram = gram_matrix(Rows(words, (WHOLE,) * count, segments, Work(chunk_words=chunk)))

    assert gram == tuple(
        tuple(sum(a * b for a, b in zip(one, other, strict=True)) for other in values) for one in values
    )
    assert all(distance >= 0 for line in squared_distances(gram) for distance in line)


def test_the_gram_matrix_does_not_overflow_where_every_word_is_extreme() -> None:
    words = np.full((2, 100_000), WORD_MAX, np.int16)
    words[1] = -WORD_MAX

    assert gram_matrix(plain(words))[0] == (WORD_MAX**2 * 100_000, -(WORD_MAX**2) * 100_000)


def test_the_gram_matrix_of_mixtures_needs_no_rows() -> None:
    words = np.random.default_rng(5).integers(-5, 6, (6, 30)).astype(np.int16)
    gram = gram_matrix(plain(words))
    hoods = nearest_neighbourhoods(gram, 2)
    mixtures = np.array([words[list(hood)].sum(axis=0) for hood in hoods.members]).astype(np.int16)

    assert mixed_gram(gram, hoods) == gram_matrix(plain(mixtures))


def test_equally_near_rows_are_taken_in_ascending_order() -> None:
    words = np.array([[0], [1], [-1], [1], [-1]], np.int16)

    assert nearest_neighbourhoods(gram_matrix(plain(words)), 2).members[0] == (0, 1, 2)


def test_a_krum_score_sums_n_minus_f_minus_two_other_rows() -> None:
    """Rows at 0, 1, 3, 7, 15 with f = 1: the two nearest others."""
    words = np.array([[0], [1], [3], [7], [15]], np.int16)

    assert krum_scores(gram_matrix(plain(words)), 1) == [1 + 9, 1 + 4, 4 + 9, 16 + 36, 64 + 144]


# --- clipping ---------------------------------------------------------------------------------------------------------


@given(st.integers(1, 2**90), st.integers(0, 2**90))
def test_a_clip_factor_is_the_largest_that_does_not_exceed_the_threshold(norm: int, threshold: int) -> None:
    factor = clip_factor(norm, threshold)

    assert Fraction(factor.numerator, 2**factor.shift) == largest_factor(min(Fraction(threshold, norm), Fraction(1)))


def test_a_row_within_the_threshold_is_left_alone() -> None:
    assert clip_factor(10, 10) == WHOLE
    assert clip_factor(0, 0) == WHOLE


def test_a_row_32768_times_too_long_is_nothing_and_no_word_of_it_would_have_reached_one_half() -> None:
    assert clip_factor(2**30 + 1, 1) == NOTHING
    assert not scale_words(np.array([WORD_MAX, -WORD_MAX], np.int16), ClipFactor(2**15, 30)).any()


@given(st.lists(st.integers(-WORD_MAX, WORD_MAX), min_size=1), st.integers(2**15, 2**16 - 1), st.integers(16, 30))
def test_scaled_words_are_rounded_half_even(words: list[int], numerator: int, shift: int) -> None:
    scaled = scale_words(np.array(words, np.int16), ClipFactor(numerator, shift))

    assert scaled.tolist() == [round(Fraction(word * numerator, 2**shift)) for word in words]


@given(st.lists(st.integers(1 - 2**30, 2**30 - 1), min_size=1), st.integers(0, 30))
def test_a_shift_rounds_to_the_nearest_and_ties_to_the_even(values: list[int], shift: int) -> None:
    values += [1 << max(shift - 1, 0), -(1 << max(shift - 1, 0)), 3 << max(shift - 1, 0) & 2**30 - 1]

    assert shift_half_even(np.array(values, np.int32), shift).tolist() == [
        round(Fraction(value, 2**shift)) for value in values
    ]


def test_arc_scales_the_papers_number_of_rows() -> None:
    """K = floor(2 (f / n) (n - f)): the issue's four hospitals, the digits' ten and fifteen."""
    assert [clipped_count(*pair) for pair in ((4, 1), (10, 3), (15, 3), (9, 0))] == [1, 4, 4, 0]
    assert arc_threshold([9, 1, 4, 16], 1) == 9


@pytest.mark.parametrize(
    "micros, exponents, units",
    [
        (0, [0], 0),
        (1_000_000, [0, 3], 8192),
        (1_500_000, [-3], 98304),
        (1, [0], 1),
        (3_000_000, [20], 1),
        (10**9, [20], 7),
    ],
)
def test_a_policys_norm_keeps_its_worth_on_every_grid(micros: int, exponents: list[int], units: int) -> None:
    assert clip_norm_in_units(micros, exponents) == units


def test_neighbouring_tensors_of_one_exponent_are_read_as_one() -> None:
    tensors = [Segment(0, 2, 1), Segment(2, 5, 1), Segment(5, 6, 0), Segment(6, 9, 1)]

    assert merged(tensors) == [Segment(0, 5, 1), Segment(5, 6, 0), Segment(6, 9, 1)]
