"""Rounds larger than memory, read from the payload store: the bits of the whole, whoever works on the shards."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pickle
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fl.aggregators import RuleSpec
from fl.results import AggregationJob, ComputedRound, closed_jobs, compute
from fl.schema import ModelSchema, TensorSpec
from ledger.codec import decode
from ledger.payload import PayloadDescriptor
from node.aggregation import Aggregation, StoredUpdates, WorkerError
from node.aggregation.room import memory_bytes
from node.aggregation.updates import CHUNK_COLUMNS, SALT_COLUMNS
from node.config import AggregationSection
from node.payloads import PayloadStore
from node.payloads.errors import PayloadError
from node.payloads.sealing import PLACE_BYTES
from node.results import RESULT_VOTE_BYTES_MAX, ResultBook, ResultVote
from tests.fl.consortium import CHAIN, NAMES, Consortium, key_of, task_spec, validators_of

SIZE = CHUNK_COLUMNS + 70_001
SCHEMA = ModelSchema((TensorSpec("a", (30_000,), 0), TensorSpec("b", (SIZE - 30_000,), 0, -1)))
ROOT = Path(__file__).parents[2]


@dataclass
class Stored:
    """A closed round whose updates are on disk, and its result."""

    job: AggregationJob
    store: PayloadStore
    expected: ComputedRound


@pytest.fixture(scope="module")
def words() -> NDArray[np.int16]:
    return np.random.default_rng(9).integers(-8191, 8192, (4, SIZE)).astype(np.int16)


@pytest.fixture
async def stored(tmp_path: Path, words: NDArray[np.int16]) -> AsyncIterator[Stored]:
    """After one round, so that the base model is a payload too."""
    consortium = Consortium.begin(task_spec(schema=SCHEMA, rule=RuleSpec("trimmed-mean/1", 1, ("nnm/1",))))
    consortium.fill_round(words[::-1])
    consortium.certify(consortium.claim(consortium.compute()))
    consortium.fill_round(words)
    job = next(closed_jobs(consortium.state))
    base = consortium.payloads[job.payloads[0].id]
    store = await PayloadStore.open(tmp_path / "payloads", bytes_max=1 << 30)
    for payload in job.payloads:
        assert await store.add(consortium.payloads[payload.id]) == payload
    expected = compute(job, base, [consortium.payloads[update.payload.id] for update in job.updates])
    yield Stored(job, store, expected)
    await store.close()


@contextmanager
def working(stored: Stored, **settings: object) -> Iterator[Aggregation]:
    aggregation = Aggregation(AggregationSection(**settings), stored.store.files.read_into)  # type: ignore[arg-type]
    try:
        yield aggregation
    finally:
        aggregation.close()


def require_expected(stored: Stored, aggregation: Aggregation) -> None:
    inputs, computed = aggregation.stream(stored.job, None)
    assert computed.result == stored.expected.result
    assert bytes(inputs.model) == stored.expected.model_payload


@pytest.mark.parametrize("executor, threads, memory_mb", [("threads", 1, 1), ("threads", 3, 0), ("processes", 2, 1)])
def test_a_round_on_disk_gives_the_bits_of_one_in_memory(
    stored: Stored, executor: str, threads: int, memory_mb: int
) -> None:
    with working(stored, executor=executor, threads=threads, memory_mb=memory_mb) as aggregation:
        require_expected(stored, aggregation)


@pytest.mark.soak
def test_a_ray_cluster_of_two_workers_gives_the_same_bits(stored: Stored, tmp_path: Path) -> None:
    """A real cluster of two nodes, in a process of its own, which pytest's rules for warnings are not meant for."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install 'foedus[ray]'")
    job = tmp_path / "job"
    job.write_bytes(pickle.dumps(stored.job))
    command = [sys.executable, "-m", "tests.node.ray_round", str(job), str(stored.store.files.path)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)

    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == [stored.expected.result.digest.hex(), "2"]


def test_a_worker_process_that_is_killed_costs_an_attempt_and_is_replaced(stored: Stored) -> None:
    with working(stored, executor="processes", threads=1) as aggregation:
        require_expected(stored, aggregation)
        pool = aggregation._executor._pool  # type: ignore[attr-defined]
        ((worker, process),) = pool._processes.items()
        os.kill(worker, signal.SIGKILL)
        process.join()
        with pytest.raises(WorkerError, match="a worker process ended"):
            aggregation.stream(stored.job, None)
        require_expected(stored, aggregation)


def test_worker_processes_end_with_a_node_that_is_killed() -> None:
    code = (
        "import os, sys\n"
        "from node.aggregation.processes import Processes\n"
        "if __name__ == '__main__':\n"
        "    pool = Processes(1)._running()\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as node:
        assert node.stdout is not None
        worker = os.pidfd_open(int(node.stdout.readline()))
        node.kill()

    ended, _, _ = select.select([worker], [], [], 20)
    os.close(worker)
    assert ended


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_damaged_chunk_gives_no_result_whoever_reads_it(stored: Stored, executor: str) -> None:
    payload = stored.job.updates[2].payload
    with (stored.store.files.path / "payloads" / payload.id.hex() / "data").open("r+b") as data:
        data.seek(PLACE_BYTES + 5_000)
        data.write(b"\0\1\2\3")
    with (
        working(stored, executor=executor, threads=1) as aggregation,
        pytest.raises(PayloadError, match="chunk 1 is damaged"),
    ):
        aggregation.stream(stored.job, None)


def test_shards_cover_every_column_once_and_begin_where_chunks_do(stored: Stored) -> None:
    updates = StoredUpdates.of(stored.job, stored.store.files.read_into)
    for bytes_max in (1, 50_000, 1 << 20, 1 << 40):
        places = updates.places(bytes_max)
        assert [column for place in places for column in (place.start, place.stop)] == [
            0,
            *(bound for place in places[:-1] for bound in (place.stop, place.stop)),
            SIZE,
        ]
        assert CHUNK_COLUMNS - SALT_COLUMNS in {place.stop for place in places}
        assert all(8 * (place.stop - place.start) <= max(bytes_max, 8 << 12) for place in places)
    assert [place.stop for place in updates.places(1 << 40)] == [CHUNK_COLUMNS - SALT_COLUMNS, SIZE]


def test_a_shard_of_any_place_is_that_part_of_the_words(stored: Stored, words: NDArray[np.int16]) -> None:
    updates = StoredUpdates.of(stored.job, stored.store.files.read_into)
    place = slice(CHUNK_COLUMNS - 100, CHUNK_COLUMNS + 100)

    shard = updates.shard(place, [0, 3])

    assert shard.words[[0, 3]].tolist() == words[[0, 3], place].tolist()
    assert not shard.words[[1, 2]].any()


def test_only_what_does_not_fit_is_streamed_unless_others_than_threads_work(stored: Stored) -> None:
    needed = (4 * 2 + 4) * SIZE
    fits, not_quite = -(-needed >> 20) + 1, needed >> 20
    for settings, streams in (
        ({"memory_mb": fits}, False),
        ({"memory_mb": not_quite}, True),
        ({"memory_mb": fits, "executor": "processes"}, True),
        ({}, False),
    ):
        with working(stored, **settings) as aggregation:
            assert aggregation.streams(stored.job) is streams


def test_a_containers_limit_counts_as_memory(tmp_path: Path) -> None:
    limit, none = tmp_path / "memory.max", tmp_path / "none"
    none.write_text("max\n")

    machine = memory_bytes((none, tmp_path / "missing"))
    limit.write_text("12345\n")

    assert machine > 1 << 20
    assert memory_bytes((none, limit)) == 12_345


@dataclass
class OnDisk:
    """`node.results.Payloads` of payloads that are here."""

    store: PayloadStore
    kept: asyncio.Queue[bytes]

    async def obtain(self, descriptor: PayloadDescriptor) -> None:
        assert self.store.has(descriptor.id)

    def read_into(self, descriptor: PayloadDescriptor, offset: int, target: memoryview) -> None:
        self.store.files.read_into(descriptor, offset, target)

    async def keep(self, descriptor: PayloadDescriptor, payload: memoryview, chunk_hashes: bytes) -> None:
        assert len(chunk_hashes) == 32 * descriptor.chunk_count
        await self.kept.put(bytes(payload))


async def test_a_node_signs_and_keeps_what_it_streamed(stored: Stored) -> None:
    said, shelf = asyncio.Queue[bytes](), OnDisk(stored.store, asyncio.Queue())
    aggregation = Aggregation(AggregationSection(memory_mb=1), stored.store.files.read_into)
    key = key_of(NAMES[0], "validator")
    book = ResultBook(key, CHAIN, shelf, said.put_nowait, lambda: None, aggregation=aggregation)
    book.validators = validators_of(NAMES)

    book.open_job(stored.job)

    async with asyncio.timeout(20):
        vote = decode(await said.get(), ResultVote, bytes_max=RESULT_VOTE_BYTES_MAX)
        assert vote.result == stored.expected.result.digest
        assert await shelf.kept.get() == stored.expected.model_payload
    await book.stop()
