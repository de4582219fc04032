"""Threads that divide pieces: each piece once, results in order, failures told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from node.aggregation.team import PIECES_MAX, Team


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("count", [0, 1, 2, PIECES_MAX * 4 + 5])
def test_every_piece_is_worked_on_once_and_results_keep_their_order(
    threads: ThreadPoolExecutor, workers: int, count: int
) -> None:
    worked: list[int] = []

    def work(item: int) -> int:
        worked.append(item)
        return item * item

    assert list(Team(threads, workers)(work, range(count))) == [item * item for item in range(count)]
    assert sorted(worked) == list(range(count))


def test_pieces_are_worked_on_at_the_same_time(threads: ThreadPoolExecutor) -> None:
    together = threading.Barrier(4)

    assert list(Team(threads, 4)(lambda _: together.wait(10) < 4, range(4))) == [True] * 4


def test_no_more_pieces_are_begun_than_results_may_be_in_memory(threads: ThreadPoolExecutor) -> None:
    begun: list[int] = []
    results = Team(threads, 2)(begun.append, range(10 * PIECES_MAX))

    next(results)

    assert len(begun) == 2 * PIECES_MAX


@pytest.mark.parametrize("bad", [0, 7, 39])
def test_a_failure_in_any_piece_is_told_and_ends_the_pass(threads: ThreadPoolExecutor, bad: int) -> None:
    def work(item: int) -> int:
        if item == bad:
            raise ArithmeticError(item)
        return item

    with pytest.raises(ArithmeticError):
        list(Team(threads, 3)(work, range(40)))
