"""A Ray cluster whose workers are sent shards. One law: only words and sums leave this node, never a key.

For models that outgrow a machine. Ray authenticates nobody and encrypts nothing by itself, and who sees a shard sees
what participants' updates say: the cluster belongs to this institution and its network to nobody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Final, TypeVar

from fl.aggregators.streaming import Shard, ShardWork
from node.aggregation.executor import WorkerError, in_order
from node.aggregation.updates import StoredUpdates
from node.background import background_threads

FoundT = TypeVar("FoundT")

TASKS_MAX: Final = 64
"""Shards that are with workers at once; each takes a thread here that reads, sends and waits."""


class RayCluster:
    """Workers of a cluster that runs already."""

    def __init__(self, address: str) -> None:
        """Connect to nothing yet.

        Args:
            address: as Ray means it: `auto`, `HOST:PORT`, `ray://HOST:PORT`.
        """
        self._address = address
        self._threads: ThreadPoolExecutor | None = None
        self._ray: ModuleType | None = None
        self._workers = 1

    @property
    def workers(self) -> int:
        """As many as the cluster has processors, at most `TASKS_MAX`."""
        self._connected()
        return self._workers

    def map(self, updates: StoredUpdates, work: ShardWork[FoundT], places: Sequence[slice]) -> Iterator[FoundT]:
        """Yield what `work` gives of every shard, in order."""
        ray, threads = self._connected()
        try:
            sent = ray.put(work)
            remote = ray.remote(num_cpus=1)(_work_on_shard)
        except (ray.exceptions.RayError, OSError) as error:
            self.close()
            raise WorkerError(f"the Ray cluster at {self._address} refuses work: {error}") from error

        def there(place: slice) -> FoundT:
            found: FoundT = ray.get(remote.remote(sent, updates.shard(place, work.rows_read)))
            return found

        try:
            yield from in_order(lambda place: threads.submit(there, place), places, self._workers)
        except ray.exceptions.RayError as error:
            self.close()  # the next attempt connects anew
            raise WorkerError(f"a worker of the Ray cluster at {self._address} failed: {error}") from error

    def close(self) -> None:
        """Leave the cluster."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        if self._ray is not None:
            self._ray.shutdown()
        self._threads = self._ray = None

    def _connected(self) -> tuple[ModuleType, ThreadPoolExecutor]:
        """Return Ray, connected.

        Raises:
            WorkerError: there is no such cluster.
        """
        if self._ray is None or self._threads is None:
            import ray  # noqa: PLC0415 - an extra, and a second to import

            try:
                ray.init(address=self._address, configure_logging=False, log_to_driver=False)
                processors = int(ray.cluster_resources().get("CPU", 1))
            except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
                raise WorkerError(f"no Ray cluster at {self._address}: {error}; was `ray start` run?") from error
            self._workers = min(max(processors, 1), TASKS_MAX)
            self._threads = background_threads(self._workers, "ray")
            self._ray = ray
        return self._ray, self._threads


def _work_on_shard(work: ShardWork[FoundT], shard: Shard) -> FoundT:
    return work(shard)
