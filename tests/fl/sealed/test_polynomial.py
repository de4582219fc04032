"""Opening shares of which some are wrong: the right polynomial, the liars' points, or nothing yet."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.sealed.committee import Committee, CommitteeError, point_of
from fl.sealed.field import FIELD, MERSENNE
from fl.sealed.polynomial import evaluate, lagrange, open_shares

COMMITTEES = st.integers(4, 13).map(Committee)


@st.composite
def lies(draw: st.DrawFn) -> tuple[Committee, int, tuple[int, ...], dict[int, int], set[int]]:
    committee = draw(COMMITTEES)
    degree = draw(st.sampled_from([committee.f, 2 * committee.f]))
    dice = random.Random(draw(st.integers(0, 2**32)))
    coefficients = tuple(dice.randrange(MERSENNE) for _ in range(degree + 1))
    points = [point_of(seat) for seat in range(committee.n)]
    shares = {point: evaluate(FIELD, coefficients, point) for point in points}
    wrong = set(dice.sample(points, dice.randint(0, committee.f)))
    shift = dice.randrange(1, MERSENNE)
    for point in wrong:  # in half of the cases all by the same polynomial, as colluders would
        shares[point] = (shares[point] + (shift if dice.random() < 0.5 else dice.randrange(1, MERSENNE))) % MERSENNE
    return committee, degree, coefficients, shares, wrong


@settings(max_examples=150)
@given(lies())
def test_what_is_accepted_is_the_polynomial_of_the_honest_and_misses_exactly_the_wrong_shares(
    case: tuple[Committee, int, tuple[int, ...], dict[int, int], set[int]],
) -> None:
    committee, degree, coefficients, shares, wrong = case
    order = random.Random(len(wrong)).sample(sorted(shares), len(shares))
    opened = None
    for count in range(1, len(order) + 1):
        known = {point: shares[point] for point in order[:count]}
        opened = open_shares(FIELD, known, degree, committee.f)
        if opened is not None:
            assert opened.coefficients == coefficients
            assert set(opened.wrong) == wrong & set(known)
            assert count - len(opened.wrong) >= degree + committee.f + 1
    if degree == committee.f or not wrong:
        assert opened is not None


@pytest.mark.parametrize("n", [4, 7, 10, 13])
def test_of_degree_2f_one_lie_keeps_the_smallest_committee_from_accepting_anything(n: int) -> None:
    """With n = 3f + 1 a liar could be any of the points, so the slot is disputed."""
    f = (n - 1) // 3
    shares = {point: evaluate(FIELD, range(1, 2 * f + 2), point) for point in range(1, n + 1)}
    shares[2] += 1

    assert open_shares(FIELD, shares, 2 * f, f) is None
    shares[2] -= 1
    assert open_shares(FIELD, shares, 2 * f, f) is not None
    del shares[2]
    assert open_shares(FIELD, shares, 2 * f, f) is None


def test_two_f_plus_one_points_of_degree_2f_always_fit_and_are_never_enough() -> None:
    assert open_shares(FIELD, {1: 5, 2: 77, 3: 12}, 2, 1) is None


@given(COMMITTEES, st.data())
def test_parts_of_sets_add_up_to_shares_of_their_sum(committee: Committee, data: st.DataObject) -> None:
    dice = random.Random(data.draw(st.integers(0, 2**32)))
    parts = [dice.randrange(MERSENNE) for _ in committee.sets]
    shares = [
        sum(committee.basis(place, seat) * parts[place] for place in committee.sets_of(seat)) % MERSENNE
        for seat in range(committee.n)
    ]
    chosen = dice.sample(range(committee.n), committee.f + 1)
    factors = lagrange(FIELD, [point_of(seat) for seat in chosen])

    assert sum(factor * shares[seat] for factor, seat in zip(factors, chosen, strict=True)) % MERSENNE == (
        sum(parts) % MERSENNE
    )


@pytest.mark.parametrize("n", [1, 3, 14])
def test_a_committee_that_is_too_small_or_too_large_is_refused(n: int) -> None:
    with pytest.raises(CommitteeError, match=f"got {n}"):
        Committee(n)
