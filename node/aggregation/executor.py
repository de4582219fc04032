"""Who works on shards. One law: results come in the order of columns, and few shards are in memory at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

from fl.aggregators.streaming import ShardWork
from node.aggregation.updates import StoredUpdates
from node.payloads.errors import PayloadError

FoundT = TypeVar("FoundT")


class WorkerError(PayloadError):
    """A worker could not do its part, or is gone; the round is begun again later."""


class Executor(Protocol):
    """Workers that read shards, or are sent them, and do a pass's work on each."""

    @property
    def workers(self) -> int:
        """How many shards are worked on at once; at most one more is in memory."""
        ...

    def map(self, updates: StoredUpdates, work: ShardWork[FoundT], places: Sequence[slice]) -> Iterator[FoundT]:
        """Yield what `work` gives of every shard, in the order of `places`; blocks.

        Raises:
            PayloadError: updates cannot be read, or workers are lost.
        """
        ...

    def close(self) -> None:
        """Let the workers go."""
        ...


class Threads:
    """Threads of this process."""

    def __init__(self, threads: ThreadPoolExecutor, workers: int) -> None:
        """Work in `threads`, of which there are `workers`; who made them ends them."""
        self._threads = threads
        self._workers = workers

    @property
    def workers(self) -> int:
        """How many threads there are."""
        return self._workers

    def map(self, updates: StoredUpdates, work: ShardWork[FoundT], places: Sequence[slice]) -> Iterator[FoundT]:
        """Yield what `work` gives of every shard, in order."""
        return in_order(lambda place: self._threads.submit(work_on, updates, work, place), places, self._workers)

    def close(self) -> None:
        """Nothing: the threads belong to others too."""


def work_on(updates: StoredUpdates, work: ShardWork[FoundT], place: slice) -> FoundT:
    """Read a shard and do the work on it."""
    return work(updates.shard(place, work.rows_read))


def in_order(begin: Callable[[slice], Future[FoundT]], places: Sequence[slice], workers: int) -> Iterator[FoundT]:
    """Yield the results in order, with one more shard begun than there are workers."""
    waiting: deque[Future[FoundT]] = deque()
    try:
        for place in places:
            waiting.append(begin(place))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
