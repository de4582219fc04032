"""How much many readers slow down what a consortium decides.

    python -m benchmarks.api [--readers 200] [--seconds 10] [--json]

A consortium of four processes takes small transactions, one after another, through one node, and each waits until it
stands in a block: first alone, then while `--readers` connections read the same node's API from a process of
their own, each with a pause of `--pause-ms` between an answer and the next question, then alone again. The ratio of the
p99 is what counts: readers must not be able to stop what is decided.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import aiohttp

from benchmarks.consortium import Bench, Sender
from foedus.demo.processes import Processes
from genesis.local import LocalPlan, make_local

PATHS: Final = (
    "/v1/status",
    "/v1/blocks?limit=20",
    "/v1/blocks/latest",
    "/v1/headers/latest",
    "/v1/transactions?limit=20",
    "/v1/tasks",
    "/v1/participants",
    "/v1/validators",
    "/v1/mempool",
    "/metrics",
)
WARM_UP: Final = 20


@dataclass(frozen=True, slots=True)
class Found:
    """Commit latencies of one phase."""

    transactions: int
    p50_ms: float
    p99_ms: float


async def commits(bench: Bench, sender: Sender, seconds: float) -> Found:
    """Submit one transaction after another and wait for each to stand in a block."""
    for _ in range(WARM_UP):
        await bench.submit(sender, bench.proposal(sender), wait=True)
    samples, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        raw, began = bench.proposal(sender), time.perf_counter()
        await bench.submit(sender, raw, wait=True)
        samples.append(1000 * (time.perf_counter() - began))
    return Found(len(samples), round(median(samples), 2), round(quantiles(samples, n=100)[98], 2))


async def read(url: str, readers: int, pause_ms: int, seconds: float) -> dict[str, float]:
    """Let many connections read, each again and again."""
    samples: list[float] = []
    failed = 0
    end = time.perf_counter() + seconds

    async def one(number: int, http: aiohttp.ClientSession) -> None:
        nonlocal failed
        drawn = random.Random(number)
        await asyncio.sleep(drawn.random() * pause_ms / 1000)
        while time.perf_counter() < end:
            began = time.perf_counter()
            async with http.get(url + drawn.choice(PATHS)) as answer:
                await answer.read()
                failed += answer.status != 200
            samples.append(1000 * (time.perf_counter() - began))
            await asyncio.sleep(pause_ms / 1000)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=readers)) as http:
        print(json.dumps({"ready": readers}), flush=True)
        await asyncio.gather(*(one(number, http) for number in range(readers)))
    return {
        "requests": len(samples),
        "failed": failed,
        "per_second": round(len(samples) / seconds, 1),
        "p50_ms": round(median(samples), 2),
        "p99_ms": round(quantiles(samples, n=100)[98], 2),
    }


async def beside_readers(bench: Bench, sender: Sender, options: Options) -> tuple[Found, dict[str, float]]:
    """Measure commits while a process of its own reads."""
    command = [sys.executable, "-m", "benchmarks.api", "--read", sender.url, "--readers", str(options.readers)]
    command += ["--pause-ms", str(options.pause_ms), "--seconds", str(options.seconds + 4)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    await asyncio.sleep(1)
    found = await commits(bench, sender, options.seconds)
    said, _ = await process.communicate()
    return found, json.loads(said)


async def measure(options: Options) -> dict[str, object]:
    """Run everything once."""
    with tempfile.TemporaryDirectory(prefix="foedus-bench-") as directory:
        names = tuple(f"site-{number:02d}" for number in range(1, 5))
        consortium = make_local(Path(directory) / "c", LocalPlan(names, ()), time_ms=time.time_ns() // 1_000_000)
        with Processes(Path(directory) / "logs") as processes:
            for node in consortium.nodes:
                processes.start_node(node.name, node.config)
            async with aiohttp.ClientSession() as http:
                bench = Bench(consortium, processes, http, {})
                await bench.until(bench.all_connected, pause=0.05)
                sender = bench.senders[0]
                alone = await commits(bench, sender, options.seconds)
                beside, readers = await beside_readers(bench, sender, options)
                again = await commits(bench, sender, options.seconds)
    quiet = max(alone.p99_ms, again.p99_ms)
    return {
        "readers": options.readers,
        "pause_ms": options.pause_ms,
        "alone": asdict(alone),
        "alone_again": asdict(again),
        "beside_readers": asdict(beside),
        "read": readers,
        "ratio_p99": round(beside.p99_ms / quiet, 2),
        "ratio_p50": round(beside.p50_ms / max(alone.p50_ms, again.p50_ms), 2),
        "load_average": round(os.getloadavg()[0], 2),
    }


class Options(argparse.Namespace):
    """What was asked for."""

    readers: int
    seconds: float
    pause_ms: int
    json: bool
    read: str | None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else "")
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--pause-ms", type=int, default=1_000, help="between an answer and the next question")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    options = parser.parse_args(namespace=Options())
    if options.read is not None:
        print(json.dumps(asyncio.run(read(options.read, options.readers, options.pause_ms, options.seconds))))
        return
    found = asyncio.run(measure(options))
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:16} {value}")


if __name__ == "__main__":
    main()
