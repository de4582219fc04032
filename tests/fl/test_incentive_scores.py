"""Scores and shares against what is promised of them, on random rounds; and credits through random lives."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fl.aggregators.gram import Gram
from fl.incentives import accounts
from fl.incentives.records import SUPPLY_MAX
from fl.incentives.residual import adjugate, determinant, residual
from fl.incentives.scores import Score, scores
from fl.incentives.shares import divide, proportional
from fl.incentives.state import account_of, treasury_of
from fl.state import present
from ledger.application import BlockContext, Overlay
from ledger.digest import ZERO_DIGEST, digest
from ledger.fields import Height
from ledger.state_map import StateMap
from tests.fl.consortium import NAMES, validators_of

SEED = digest("test-seed")
WORDS = 400
RNG = np.random.default_rng(11)
LIVES = 2_000
LIVES_SOAK = 200_000


def gram_of(rows: NDArray[np.int64]) -> Gram:
    return tuple(tuple(int(x) for x in line) for line in rows.astype(object) @ rows.T.astype(object))


def honest(count: int, noise: int = 300) -> NDArray[np.int64]:
    """Return updates with something in common and much of their own."""
    common = RNG.integers(-500, 501, WORDS)
    return np.stack([common + RNG.integers(-noise, noise + 1, WORDS) for _ in range(count)])


def scored(rows: NDArray[np.int64], past: int = 0, weights: list[int] | None = None) -> tuple[Score, ...]:
    count = len(rows) - past
    return scores(gram_of(rows), past, weights or [1] * count, WORDS)


def test_the_residual_is_what_projecting_with_exact_fractions_leaves() -> None:
    rows = RNG.integers(-50, 51, (7, 20))
    gram, past = gram_of(rows), 3
    inner = [[Fraction(gram[4 + a][4 + b]) for b in range(past)] for a in range(past)]
    scale = determinant([[int(x) for x in line] for line in inner])
    inverse = [[Fraction(x, scale) for x in line] for line in adjugate([[int(x) for x in line] for line in inner])]
    for i in range(4):
        for j in range(4):
            explained = sum(
                Fraction(gram[i][4 + a]) * inverse[a][b] * gram[j][4 + b] for a in range(past) for b in range(past)
            )
            assert residual(gram, past)[i][j] == scale * (gram[i][j] - explained)


def test_dependent_global_updates_are_left_out_the_oldest_first() -> None:
    rows = RNG.integers(-50, 51, (5, 20))
    twice = np.vstack([rows[:4], rows[4], rows[4], rows[4] * 2])
    assert residual(gram_of(twice), 3) == residual(gram_of(twice[:5]), 1)
    nothing = np.vstack([rows[:4], np.zeros((2, 20), np.int64)])
    assert residual(gram_of(nothing), 2) == gram_of(rows[:4])


@pytest.mark.parametrize("scale", [1, 9, 1 << 70])
def test_nobody_is_paid_more_for_a_longer_update(scale: int) -> None:
    rows = honest(6).astype(object)
    before = scores(gram_of(rows), 0, [1] * 6, WORDS)
    rows[2] = rows[2] * scale
    after = scores(gram_of(rows), 0, [1] * 6, WORDS)
    assert after[2] == before[2]


@pytest.mark.parametrize("weight", [1, 5, 10**6])
def test_nobody_is_paid_more_for_claiming_more_samples(weight: int) -> None:
    rows = honest(6)
    assert scored(rows, weights=[1, 1, 1, weight, 1, 1])[3] == scored(rows)[3]


def test_noise_and_copies_of_public_updates_score_nothing_and_the_honest_pass() -> None:
    rows, past = honest(6), RNG.integers(-400, 401, (3, WORDS))
    noise = RNG.integers(-600, 601, (1, WORDS))
    stale = np.vstack([past[:1], 2 * past[:1] - past[1:2] + 3 * past[2:3]])
    found = scored(np.vstack([rows, noise, stale, past]), past=3)

    assert [one.passed for one in found] == [True] * 6 + [False] * 3
    assert [one.score for one in found[6:]] == [0, 0, 0]
    assert found[6].information_micros < 3_000_000
    assert [one.information_micros for one in found[7:]] == [0, 0]


@pytest.mark.parametrize("copies", [2, 3, 5])
def test_copies_together_get_hardly_more_than_one_would(copies: int) -> None:
    rows = honest(6)
    many = np.vstack([rows, np.repeat(rows[5:], copies - 1, axis=0)])
    names = [f"n{place}" for place in range(len(many))]
    alone = divide(1_000_000, scored(rows), names[:6], SEED)
    together = divide(1_000_000, scored(many), names, SEED)

    assert sum(together[5:]) <= 1.1 * alone[5]


def test_who_is_not_selected_gets_the_equal_part_alone() -> None:
    rows = honest(6)
    found = scored(rows, weights=[1, 1, 1, 1, 1, 0])
    shares = divide(1_200_000, found, list("abcdef"), SEED)

    assert (found[5].passed, found[5].score, shares[5]) == (True, 0, 50_000)


def test_a_matrix_that_no_updates_have_is_scored_without_an_error() -> None:
    """A quorum would have to sign it; execution must go on all the same."""
    for seed in range(50):
        random = np.random.default_rng(seed)
        half = random.integers(-9, 10, (7, 7))
        matrix = tuple(tuple(int(x) for x in line) for line in half + half.T)
        for past in range(4):
            count = 7 - past
            found = scores(matrix, past, [int(x) for x in random.integers(0, 3, count)], 10)
            shares = divide(1_000, found, [f"n{place}" for place in range(count)], SEED)
            assert sum(shares) in {0, 1_000}
            assert all(0 <= one.score <= 1_000_000 for one in found)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, SUPPLY_MAX),
    st.lists(st.integers(0, 10**7), min_size=1, max_size=64).filter(any),
)
def test_parts_add_up_and_are_within_one_of_their_proportion(total: int, weights: list[int]) -> None:
    order = [digest("order", str(place).encode()) for place in range(len(weights))]
    parts = proportional(total, weights, order)

    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(total * weight, sum(weights))) < 1


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, SUPPLY_MAX),
    st.lists(st.tuples(st.integers(0, 10**6), st.booleans(), st.integers(1, 4)), min_size=1, max_size=64),
)
def test_a_stake_is_paid_whole_or_not_at_all(stake: int, kinds: list[tuple[int, bool, int]]) -> None:
    found = [
        Score(0, size, 5_000_000 if passed else 1_000_000, score if passed else 0) for score, passed, size in kinds
    ]
    shares = divide(stake, found, [f"n{place}" for place in range(len(found))], SEED)

    assert sum(shares) == (stake if any(one.score for one in found) else 0)
    assert min(shares) >= 0
    assert all(share == 0 for share, one in zip(shares, found, strict=True) if not one.passed)


def lives(count: int) -> int:
    """Move credits at random so many times; return how many there are in the end, having looked after each."""
    state = Overlay(StateMap.build(()))
    context = BlockContext(ZERO_DIGEST, Height(1), 1, ZERO_DIGEST, validators_of(NAMES), 0)
    random = np.random.default_rng(count)
    moves = random.integers(0, 7, count)
    names, amounts = random.integers(0, 4, (count, 2)), random.integers(1, 1_000, count)
    accounts.mint(state, 10_000)
    for move, (first, second), amount in zip(moves.tolist(), names.tolist(), amounts.tolist(), strict=True):
        _move(state, context, move, NAMES[first], NAMES[second], amount)
        assert accounts.is_conserved(state)
    return accounts.supply(state)


def _move(state: Overlay, context: BlockContext, move: int, first: str, second: str, amount: int) -> None:
    found = present(treasury_of(state), "the treasury")
    balance = account_of(state, first).balance
    if move == 0:
        accounts.mint(state, amount)
    elif move == 1 and found.treasury:
        accounts.burn(state, min(amount, found.treasury))
    elif move == 2 and found.treasury:
        accounts.pay(state, context, first, min(amount, found.treasury), "granted", "")
    elif move == 3 and balance:
        accounts.take(state, context, first, min(amount, balance), "sent", second)
        accounts.pay(state, context, second, min(amount, balance), "received", first)
    elif move == 4 and found.treasury:
        accounts.lock(state, min(amount, found.treasury))
    elif move == 5 and found.escrow:
        accounts.release(state, min(amount, found.escrow))
    else:
        accounts.set_reputation(state, first, amount)


def test_whatever_happens_no_credit_is_lost() -> None:
    assert lives(LIVES) >= 0


@pytest.mark.soak
def test_many_moves_lose_no_credit() -> None:
    assert lives(LIVES_SOAK) >= 0


def rounds(count: int) -> None:
    """Divide random stakes among random scores, many rounds at once."""
    random = np.random.default_rng(count)
    stakes = random.integers(1, 10**12, count)
    points = random.integers(0, 1_000_001, (count, 8)) * random.integers(0, 2, (count, 8))
    passed = (points > 0) | (random.integers(0, 2, (count, 8)) > 0)
    names = [f"n{place}" for place in range(8)]
    for stake, line, good in zip(stakes.tolist(), points.tolist(), passed.tolist(), strict=True):
        found = [Score(0, 1, 5_000_000 if one else 0, score) for one, score in zip(good, line, strict=True)]
        assert sum(divide(stake, found, names, SEED)) == (stake if any(line) else 0)


def test_random_rounds_pay_their_stakes_exactly() -> None:
    rounds(2_000)


@pytest.mark.soak
def test_a_million_random_rounds_pay_their_stakes_exactly() -> None:
    rounds(1_000_000)
