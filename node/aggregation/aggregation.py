"""Rounds in memory or in shards. One law: the choice changes how long it takes and what it takes, not one bit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

from fl.aggregators import Work
from fl.aggregators.streaming import ShardWork
from fl.results import AggregationJob, ComputedModel, RoundInputs
from fl.streaming import compute_streamed
from node.aggregation.executor import Executor, Threads
from node.aggregation.processes import Processes
from node.aggregation.ray_cluster import RayCluster
from node.aggregation.room import memory_bytes
from node.aggregation.team import Team
from node.aggregation.updates import WORD_BYTES, StoredUpdates
from node.background import background_threads
from node.config import AggregationSection
from node.round_inputs import ReadInto, read_base

FoundT = TypeVar("FoundT")

WORKERS_MAX: Final = 8
"""Threads among which a node divides the words of a round by itself: more than memory can feed bring nothing."""

SHARDS_BYTES_MAX: Final = 256 << 20
"""Of all shards that are in memory at once."""

DEFAULTS: Final = AggregationSection()


class Aggregation:
    """This node's workers, and how much memory their work may take."""

    def __init__(self, settings: AggregationSection, read: ReadInto) -> None:
        """Make the threads; other workers start when they are needed.

        Args:
            settings: `[aggregation]`.
            read: reads payloads that are here; picklable where `settings.executor` is `processes`.
        """
        workers = settings.threads or min(os.cpu_count() or 1, WORKERS_MAX)
        self._read: Final = read
        self._is_in_memory_first: Final = settings.executor == "threads"
        self._bytes_max: Final = settings.memory_mb << 20 or memory_bytes() // 2
        self.threads: Final = background_threads(workers, "pieces")
        self.work: Final = Work(Team(self.threads, workers))
        """How rounds in memory are worked on."""

        self._executor: Final = _executor(settings, self.threads, workers)

    def streams(self, job: AggregationJob) -> bool:
        """Tell whether a round is worked on in shards: its updates and model are too large, or others work on it."""
        size = job.spec.schema.size
        needed = (WORD_BYTES * len(job.updates) + 2 * WORD_BYTES) * size
        return not self._is_in_memory_first or needed > self._bytes_max

    def stream(self, job: AggregationJob, used: RoundInputs | None) -> tuple[RoundInputs, ComputedModel]:
        """Compute a round in shards; blocks, for worker threads.

        Args:
            job: whose payloads are all here.
            used: of an earlier job: its model's memory serves again, and a base model that is already in it.

        Raises:
            InputError: a payload is not what the task's schema says, or has words out of range.
            AggregationError: too few updates for the rule.
            PayloadError: a payload is not here or damaged, or a worker is lost.
        """
        updates = StoredUpdates.of(job, self._read)
        inputs = RoundInputs(job, used, streamed=True)
        read_base(inputs, self._read)
        room = min(self._bytes_max, SHARDS_BYTES_MAX)
        places = updates.places(room // (self._executor.workers + 1))
        return inputs, compute_streamed(inputs, _Shards(self._executor, updates, places))

    def close(self) -> None:
        """Let all workers go."""
        self._executor.close()
        self.threads.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Shards:
    """`fl.aggregators.streaming.Shards` of updates on disk."""

    executor: Executor
    updates: StoredUpdates
    places: list[slice]

    def run(self, work: ShardWork[FoundT], /) -> Iterator[FoundT]:
        """Do a pass."""
        return self.executor.map(self.updates, work, self.places)


def _executor(settings: AggregationSection, threads: ThreadPoolExecutor, workers: int) -> Executor:
    match settings.executor:
        case "threads":
            return Threads(threads, workers)
        case "processes":
            return Processes(workers)
        case "ray":
            return RayCluster(settings.ray_address)
