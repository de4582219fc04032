"""Processes of this machine that work on shards. One law: they end with the node, however it ends.

They read the payload store themselves, so that nothing but results goes through pipes. They are started when they are
first needed, without copying the node's memory or threads, and replaced when one of them dies.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar, cast

from fl.aggregators.streaming import ShardWork
from node.aggregation.executor import WorkerError, in_order, work_on
from node.aggregation.updates import StoredUpdates
from node.background import NICENESS
from node.payloads.errors import PayloadError

FoundT = TypeVar("FoundT")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a worker has no result; errors with values do not travel between processes."""

    reason: str


class Processes:
    """Worker processes."""

    def __init__(self, workers: int) -> None:
        """Start none yet."""
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    @property
    def workers(self) -> int:
        """How many processes there are."""
        return self._workers

    def map(self, updates: StoredUpdates, work: ShardWork[FoundT], places: Sequence[slice]) -> Iterator[FoundT]:
        """Yield what `work` gives of every shard, in order; `updates` must be picklable."""
        sent = pickle.dumps((updates, work))
        pool = self._running()

        def begin(place: slice) -> Future[FoundT | Failure]:
            return cast("Future[FoundT | Failure]", pool.submit(_work_on_sent, sent, place))

        try:
            for found in in_order(begin, places, self._workers):
                if isinstance(found, Failure):
                    raise WorkerError(f"a worker process found: {found.reason}")
                yield found
        except BrokenProcessPool as error:
            self.close()
            raise WorkerError(f"a worker process ended: {error}") from error

    def close(self) -> None:
        """End the processes after what they are at."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _running(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._workers, mp_context=context, initializer=_begin)
        return self._pool


def _begin() -> None:
    """Give way to the node's own threads, leave the terminal's interrupt to it, and end when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError):  # a sandbox may forbid it
        os.nice(NICENESS)
    threading.Thread(target=_end_with_parent, daemon=True, name="parent").start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has been started by somebody"
    parent.join()
    os._exit(1)


def _work_on_sent(sent: bytes, place: slice) -> object:
    updates, work = _received(sent)
    try:
        return work_on(updates, work, place)
    except (PayloadError, OSError) as error:
        return Failure(str(error))


@lru_cache(maxsize=1)
def _received(sent: bytes) -> tuple[StoredUpdates, ShardWork[object]]:
    received: tuple[StoredUpdates, ShardWork[object]] = pickle.loads(sent)  # noqa: S301 - from the node, through its own pipe
    return received
