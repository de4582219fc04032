"""Participants that hide what no grid has: a certified sum keeps the bound, and only they are named."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.aggregators import RuleSpec
from fl.schema import Segment
from fl.sealed.certificate import Certified, Violated, certify, is_possible, square_length
from fl.sealed.field import MERSENNE
from fl.sealed.messages import Blame
from fl.sealed.selection import Selection, consistent_rows, is_semidefinite, select
from fl.sealed.task import SealedTask, SealedTaskError, norm_bound
from tests.fl.sealed.consortium import Case, Played, play
from tests.fl.sealed.forgeries import DEAD, FORGERIES

LIVE = 24
SEGMENTS = (Segment(0, LIVE, -13), Segment(LIVE, LIVE + DEAD, 0))
MDA = RuleSpec("mda/1", 2)
MEDIAN = RuleSpec("geometric-median/1", 2)
Vectors = list[list[int]]


def attacked(name: str, rule: RuleSpec, seed: int) -> tuple[Played, list[int]]:
    """Play a round of seven participants, of whom two forge; return it and where they sit."""
    random = np.random.default_rng(seed)
    words = np.zeros((7, LIVE + DEAD), np.int16)
    words[:, :LIVE] = random.integers(-900, 901, (7, LIVE)) + random.integers(-300, 301, LIVE)
    liars = sorted(random.choice(7, 2, replace=False).tolist())
    honest = [seat for seat in range(7) if seat not in liars]
    forged = FORGERIES[name](words[honest].astype(np.int64), 2, random)
    case = Case(
        n=4,
        rule=rule,
        segments=SEGMENTS,
        words=words,
        samples=[1] * 7,
        seed=seed,
        forged={
            seat: np.array([value % MERSENNE for value in row], np.uint64)
            for seat, row in zip(liars, forged, strict=True)
        },
    )
    return play(case), liars


def require_bound(played: Played, liars: list[int]) -> None:
    """Hold the certified sum against the honest updates, in exact fractions."""
    assert played.running.selection is not None
    honest = [
        played.task.scaled(played.case.words[seat]).tolist()
        for seat in played.running.participants
        if seat not in liars and played.running.participants.index(seat) not in played.running.selection.left_out
    ]
    some = next(iter(played.summed.values()))
    scales = [2 ** played.task.shift(segment) for segment in SEGMENTS for _ in range(segment.start, segment.stop)]
    result = [
        Fraction(value * scale, some.denominator) for value, scale in zip(some.numerator.tolist(), scales, strict=True)
    ]
    mean = [Fraction(sum(column), len(honest)) for column in zip(*honest, strict=True)]
    error = sum((value - middle) ** 2 for value, middle in zip(result, mean, strict=True))
    n, f = len(played.running.participants) - len(played.running.selection.left_out), played.case.rule.f
    if played.case.rule == MDA:
        diameter = max(sum((a - b) ** 2 for a, b in zip(*pair, strict=True)) for pair in combinations(honest, 2))
        share = Fraction(2 * f, n - f) if len(honest) == n - f else Fraction(n - 2 * f + 2 * f, n - f)
        assert error <= share**2 * diameter
    else:
        spread = Fraction(
            sum((value - middle) ** 2 for row in honest for value, middle in zip(row, mean, strict=True)), len(honest)
        )
        assert error <= 4 * (1 + Fraction(f, n - 2 * f)) ** 2 * spread * Fraction(101, 100)


@pytest.mark.parametrize("rule", [MDA, MEDIAN], ids=lambda rule: rule.rule)
@pytest.mark.parametrize("name", FORGERIES)
def test_no_forgery_moves_a_certified_sum_beyond_the_rules_bound(name: str, rule: RuleSpec) -> None:
    played, liars = attacked(name, rule, seed=len(name))

    assert {one.seat for one in played.blamed} <= set(liars)
    if played.running.phase == "done":
        require_bound(played, liars)
        assert {one.fault for one in played.blamed} <= {"too_long"}
    elif played.running.phase == "blamed":
        assert "out_of_range" in {one.fault for one in played.blamed}
    else:
        assert played.running.phase == "failed"


@pytest.mark.soak
@pytest.mark.parametrize("rule", [MDA, MEDIAN], ids=lambda rule: rule.rule)
@pytest.mark.parametrize("name", FORGERIES)
def test_nor_do_many_of_them(name: str, rule: RuleSpec) -> None:
    for seed in range(100, 120):
        played, liars = attacked(name, rule, seed)
        assert {one.seat for one in played.blamed} <= set(liars)
        if played.running.phase == "done":
            require_bound(played, liars)


def test_there_are_enough_forgeries_and_they_end_in_every_way() -> None:
    ends = {attacked(name, MEDIAN, 5)[0].running.phase for name in FORGERIES}

    assert len(FORGERIES) >= 20
    assert {"done", "blamed"} <= ends


@pytest.mark.parametrize("name", ["too_long", "a_negative_length"])
def test_who_is_longer_than_allowed_is_named_and_left_out(name: str) -> None:
    played, liars = attacked(name, MEDIAN, 8)

    assert played.running.phase == "done"
    assert played.blamed == {Blame("participant", seat, "too_long") for seat in liars}


@pytest.mark.parametrize(
    "name", ["a_power_whose_square_is_two", "no_length_at_all", "a_wrapped_length_in_range", "off_the_tensors_grid"]
)
def test_who_wraps_around_and_is_selected_is_named(name: str) -> None:
    played, liars = attacked(name, MEDIAN, 8)

    assert played.running.phase == "blamed"
    assert {one.seat for one in played.blamed} <= set(liars)
    assert played.blamed


def task_of(rule: RuleSpec, d: int = 3) -> SealedTask:
    return SealedTask(rule, (Segment(0, d, 0),), 9, norm_bound(rule, 9), max(3, rule.f + 2))


@given(st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=1, max_size=6))
def test_the_gram_matrix_of_vectors_is_semidefinite_and_stops_being_so_when_a_length_is_too_small(
    rows: Vectors,
) -> None:
    gram = [[sum(a * b for a, b in zip(x, y, strict=True)) for y in rows] for x in rows]
    everybody = range(len(rows))

    assert is_semidefinite(tuple(map(tuple, gram)), everybody)
    for row in everybody:
        if len(rows) > 3:  # more rows than dimensions: each length is the least that its products allow, or larger
            continue
        gram[row][row] -= 1
        determinant = round(float(np.linalg.det(np.array(gram, float))))
        if determinant < 0:
            assert not is_semidefinite(tuple(map(tuple, gram)), everybody)
        gram[row][row] += 1


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_semidefiniteness_is_what_all_principal_minors_say(seed: int) -> None:
    dice = np.random.default_rng(seed)
    size = int(dice.integers(1, 5))
    half = dice.integers(-2, 3, (size, size))
    gram = tuple(tuple(line) for line in (half + half.T + np.diag(dice.integers(0, 4, size))).tolist())
    minors = [
        _determinant([[gram[i][j] for j in rows] for i in rows])
        for count in range(1, size + 1)
        for rows in combinations(range(size), count)
    ]

    assert is_semidefinite(gram, range(size)) == (min(minors) >= 0)


def _determinant(matrix: list[list[int]]) -> int:
    if not matrix:
        return 1
    return sum(
        (-1) ** place * entry * _determinant([[*row[:place], *row[place + 1 :]] for row in matrix[1:]])
        for place, entry in enumerate(matrix[0])
    )


def test_as_few_rows_as_possible_are_left_out_of_an_inconsistent_matrix() -> None:
    gram = [[100 * (i == j) for j in range(6)] for i in range(6)]
    for honest in (0, 1, 3):
        gram[honest][2] = gram[2][honest] = 150

    assert consistent_rows(tuple(map(tuple, gram)), range(6), 2) == [0, 1, 3, 4, 5]
    gram[4][4] = -1
    assert consistent_rows(tuple(map(tuple, gram)), range(6), 2) == [0, 1, 3, 5]
    assert consistent_rows(tuple(map(tuple, gram)), range(6), 1) is None


def test_too_long_an_update_has_no_part_and_too_few_of_them_open_nothing() -> None:
    task = task_of(RuleSpec("multi-krum/1", 1))
    gram = [[1 + (i == j) for j in range(6)] for i in range(6)]
    gram[3][3] = task.norm_max**2 + 1

    chosen = select(task, tuple(map(tuple, gram)), [1] * 6)

    assert isinstance(chosen, Selection)
    assert chosen.left_out == (3,)
    assert chosen.weights[3] == 0
    for row in (0, 1):
        gram[row][row] = task.norm_max**2 + 1
    assert select(task, tuple(map(tuple, gram)), [1] * 6) == "too_few_updates"


def test_one_heavy_update_among_light_ones_is_not_opened() -> None:
    """Its weight would show it: a weighted mean with 30,000 samples of one and one of everybody else."""
    task = task_of(RuleSpec("weighted-mean/1", 0))
    gram = tuple(tuple(1 + (i == j) for j in range(4)) for i in range(4))

    assert select(task, gram, [30_000, 1, 1, 1]) == "too_few_selected"
    assert isinstance(select(task, gram, [30, 10, 10, 10]), Selection)


def test_a_sum_is_certified_by_range_grid_and_length() -> None:
    task = SealedTask(MEDIAN, (Segment(0, 2, -1), Segment(2, 3, 0)), 9, norm_bound(MEDIAN, 9), 4)
    rows = [[1, 2, 4], [8191, -8191, -8], [3, 0, 2]]
    gram = tuple(tuple(sum(a * b for a, b in zip(x, y, strict=True)) for y in rows) for x in rows)
    total = np.array([2 * a + b for a, b in zip(rows[0], rows[1], strict=True)], np.int64)

    assert certify(task, gram, (2, 1, 0), total) == Certified()
    assert certify(task, gram, (2, 1, 0), total + np.array([1, 0, 0])) == Violated("length", 0)
    assert certify(task, gram, (2, 1, 0), total + np.array([0, 0, 1])) == Violated("coordinate", 2)
    assert certify(task, gram, (2, 1, 0), np.array([0, -3 * 8191 - 1, 0])) == Violated("coordinate", 1)
    assert is_possible(task, Violated("coordinate", 1), -8191)
    assert not is_possible(task, Violated("coordinate", 1), 8192)
    assert is_possible(task, Violated("coordinate", 2), 2 * 8191)
    assert not is_possible(task, Violated("coordinate", 2), 2 * 8191 - 1)
    assert not is_possible(task, Violated("length", 0), 12 * task.norm_max + 1)


@given(st.lists(st.integers(-(2**45) + 1, 2**45 - 1), min_size=1, max_size=9), st.integers(1, 1_000))
def test_a_squared_length_is_exact(values: list[int], repeat: int) -> None:
    total = np.array(values * repeat, np.int64)

    assert square_length(total) == repeat * sum(value * value for value in values)


@pytest.mark.parametrize(
    "change,said",
    [
        ({"rule": RuleSpec("krum/1", 1)}, "would show that update"),
        ({"rule": RuleSpec("multi-krum/1", 1, keep=1)}, "would show that update"),
        ({"rule": RuleSpec("median/1", 1)}, "orders the values"),
        ({"rule": RuleSpec("mda/1", 1, pre=("arc/1",))}, "rounds every word"),
        ({"selected_min": 2}, "at least 3"),
        ({"rule": RuleSpec("mda/1", 3)}, "at least 5"),
        ({"norm_max": 1 << 28}, "norm_max must be within"),
        ({"participants_max": 65}, "participants_max must be within"),
        ({"segments": (Segment(0, 1, 0), Segment(1, 2, 60))}, "too far apart"),
        ({"segments": ()}, "words are needed"),
    ],
)
def test_a_task_that_cannot_be_sealed_says_why(change: dict[str, object], said: str) -> None:
    terms = {
        "rule": RuleSpec("mda/1", 1),
        "segments": (Segment(0, 3, 0),),
        "participants_max": 9,
        "norm_max": 1 << 20,
        "selected_min": 3,
    }

    with pytest.raises(SealedTaskError, match=said):
        SealedTask(**{**terms, **change})  # type: ignore[arg-type]
