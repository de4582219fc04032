"""Threads that divide the pieces of a pass. One law: who is free takes the next one, results keep their order.

The pieces of a round in memory take a fraction of a millisecond each: waking a thread for every one of them, as the
`map` of an executor does, would cost as much as the smaller ones are worth. Here threads are woken once for a few dozen
pieces, and who asks works too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, wait
from itertools import islice
from typing import Final, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

PIECES_MAX: Final = 32
"""Whose results are in memory at once, for each thread."""


class Team:
    """A `fl.aggregators.Run`."""

    def __init__(self, threads: Executor, workers: int) -> None:
        """Work in `threads`.

        Args:
            threads: who made them ends them.
            workers: how many work at once, the caller among them.
        """
        self._threads: Final = threads
        self._workers: Final = workers

    def __call__(self, work: Callable[[ItemT], ResultT], items: Iterable[ItemT], /) -> Iterator[ResultT]:
        """Yield the results in the order of the items."""
        left = iter(items)
        while some := list(islice(left, PIECES_MAX * self._workers)):
            yield from self._together(work, some)

    def _together(self, work: Callable[[ItemT], ResultT], items: list[ItemT]) -> list[ResultT]:
        waiting, found = deque(enumerate(items)), dict[int, ResultT]()

        def take() -> None:
            while True:
                try:
                    place, item = waiting.popleft()
                except IndexError:
                    return
                found[place] = work(item)

        helpers = [self._threads.submit(take) for _ in range(min(self._workers, len(items)) - 1)]
        try:
            take()
        finally:
            waiting.clear()  # where work has failed, nobody begins more of it
            wait(helpers)
        for helper in helpers:
            helper.result()
        return [found[place] for place in range(len(items))]
