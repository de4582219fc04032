"""A round whose updates are larger than memory: seconds and peak memory, read from a payload store in shards.

    python -m benchmarks.streamed_round [--participants 10] [--parameters 100000000] [--json]

Writes encrypted updates of random words to a payload store (2 bytes a word each, so 2 GB on disk by default), then
computes the round once for each executor and rule, each time in a process of its own: `peak_mb` is what that process
had resident at most, the model (4 bytes a word) among it, `worker_peak_mb` the same of its largest worker process. All
results of one rule must be equal. `mean` reads the words twice (range and sums), `krum` and `nnm` too (Gram matrix and
sums), `arc-nnm` three times. With --json the last line is one object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import pickle
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np

from fl.aggregators import RuleSpec
from fl.records import ModelState, RoundState, TaskSpec, UpdateState
from fl.results import AggregationJob
from fl.schema import ModelSchema, TensorSpec
from ledger.digest import digest
from ledger.fields import Height
from ledger.payload import SALT_BYTES, PayloadDescriptor
from node.aggregation import Aggregation
from node.config import AggregationSection
from node.payloads import PayloadStore
from node.payloads.files import PayloadFiles

RULES: Final = {
    "mean": RuleSpec("weighted-mean/1", 0),
    "krum": RuleSpec("krum/1", 2),
    "nnm": RuleSpec("trimmed-mean/1", 2, ("nnm/1",)),
    "arc-nnm": RuleSpec("trimmed-mean/1", 2, ("arc/1", "nnm/1")),
}
HEIGHT: Final = Height(1)


async def write_updates(path: Path, count: int, size: int) -> list[PayloadDescriptor]:
    """Write the updates, one after the other."""
    store = await PayloadStore.open(path, bytes_max=1 << 42)
    written = []
    for row in range(count):
        words = np.random.default_rng(row).integers(-3000, 3001, SALT_BYTES // 2 + size, dtype=np.int16)
        written.append(await store.add(words.tobytes()))
    await store.close()
    return written


def job_of(rule: RuleSpec, payloads: list[PayloadDescriptor], size: int) -> AggregationJob:
    """Return a closed round of these updates on a model of zeros."""
    schema = ModelSchema((TensorSpec("weights", (size,), 0),))
    names = tuple(f"hospital-{row:03}" for row in range(len(payloads)))
    nothing = digest("benchmark")
    return AggregationJob(
        TaskSpec("large", "", schema, None, rule, 0, 1, len(names), 1000, 1000, 1, names),
        RoundState(
            "large", 1, "closed", 0, schema.initial_exponents, HEIGHT, 0, 0, HEIGHT, names, names, 0, "", nothing
        ),
        ModelState("large", 0, 0, 0, None, nothing, HEIGHT),
        tuple(
            UpdateState("large", 1, name, name, nothing, HEIGHT, payload, 100, 0, {})
            for name, payload in zip(names, payloads, strict=True)
        ),
    )


def compute(path: Path, job_path: Path, executor: str, memory_mb: int) -> None:
    """Compute a round in this process and print what it took."""
    job: AggregationJob = pickle.loads(job_path.read_bytes())  # noqa: S301 - written by this very benchmark
    settings = AggregationSection(executor=executor, memory_mb=memory_mb)  # type: ignore[arg-type]
    idle = resident_most()
    aggregation = Aggregation(settings, PayloadFiles(path).read_into)
    assert aggregation.streams(job), "a round that fits into memory is not what is measured"
    began = perf_counter()
    _, computed = aggregation.stream(job, None)
    seconds = perf_counter() - began
    aggregation.close()
    for child in multiprocessing.active_children():
        child.join()
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    peak = resident_most()
    print(
        json.dumps(
            {
                "seconds": round(seconds, 2),
                "peak_mb": peak >> 10,
                "idle_mb": idle >> 10,
                "worker_peak_mb": worker >> 10,
                "digest": computed.result.digest.hex(),
            }
        )
    )


def resident_most() -> int:
    """Return the most kB that this program had resident; unlike `ru_maxrss` without what ran in it before."""
    (line,) = (line for line in Path("/proc/self/status").read_text("ascii").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


def measure(path: Path, job_path: Path, executor: str, memory_mb: int) -> dict[str, Any]:
    """Compute a round in a process of its own; return what that took."""
    command = [sys.executable, "-m", "benchmarks.streamed_round", "--compute", str(path), str(job_path), executor]
    done = subprocess.run([*command, str(memory_mb)], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="A round larger than memory.")
    parser.add_argument("--participants", type=int, default=10)
    parser.add_argument("--parameters", type=int, default=100_000_000)
    parser.add_argument("--memory-mb", type=int, default=512, help="aggregation.memory_mb; a smaller round fits")
    parser.add_argument("--executors", nargs="+", choices=["threads", "processes"], default=["threads", "processes"])
    parser.add_argument("--rules", nargs="+", choices=list(RULES), default=list(RULES))
    parser.add_argument("--directory", help="where the payload store is made; a temporary directory by default")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--compute", nargs=4, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Write, compute, print."""
    options = arguments()
    if options.compute:
        path, job_path, executor, memory_mb = options.compute
        compute(Path(path), Path(job_path), executor, int(memory_mb))
        return
    found: dict[str, dict[str, dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        path, job_path = Path(directory) / "payloads", Path(directory) / "job"
        began = perf_counter()
        payloads = asyncio.run(write_updates(path, options.participants, options.parameters))
        print(f"{options.participants} x {options.parameters} words written in {perf_counter() - began:.0f} s")
        for rule in options.rules:
            job_path.write_bytes(pickle.dumps(job_of(RULES[rule], payloads, options.parameters)))
            for executor in options.executors:
                row = measure(path, job_path, executor, options.memory_mb)
                found.setdefault(rule, {})[executor] = row
                memory = f"{row['peak_mb']:8} MB, worker {row['worker_peak_mb']} MB"
                print(f"{rule:10}{executor:12}{row['seconds']:8.2f} s{memory}", flush=True)
            digests = {row["digest"] for row in found[rule].values()}
            assert len(digests) == 1, f"{rule}: results differ: {digests}"
    if options.json:
        print(json.dumps({"participants": options.participants, "parameters": options.parameters, "rules": found}))


if __name__ == "__main__":
    main()
