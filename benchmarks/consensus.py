"""How fast a consortium of processes agrees, and how soon it goes on after a fault.

    python -m benchmarks.consensus [--sizes 4,7,16] [--transactions 4000] [--down 60] [--quick] [--json]

Latency: one small transaction at a time, from the HTTP request to the answer that it stands in a block. Throughput:
from the first request to the last transaction in a block of the node that is slowest to get there. The smallest
consortium also goes through faults: its next primary is killed, a validator is killed and started again, one more than
f are down for `--down` seconds, and payloads of 100 MB move. Beside them: what one fdatasync costs on this disk, since
every vote waits for one, and figures that need no process (simulator, light client). With `--json` the last line is
one object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Final

from benchmarks import light_proof
from benchmarks.consensus_bulk import while_payloads_move
from benchmarks.consensus_faults import killed_primary, many_down, restarted
from benchmarks.consortium import Bench, Sender, fsync_ms, running

SIZES_DEFAULT: Final = "4,7,16"
LATENCY_SAMPLES: Final = 200
WARM_UP: Final = 20
REQUESTS_AT_ONCE: Final = 64
SIMULATED_SEEDS: Final = 200


async def latency(bench: Bench, samples: int) -> dict[str, float]:
    """Submit one transaction at a time through each node in turn."""
    senders = bench.senders
    took = [await once(bench, senders[number % len(senders)]) for number in range(samples + WARM_UP)]
    return spread(took[WARM_UP:])


async def once(bench: Bench, sender: Sender) -> float:
    """Return how long one transaction takes, in ms."""
    raw = bench.proposal(sender)
    began = perf_counter()
    await bench.submit(sender, raw, wait=True)
    return 1000 * (perf_counter() - began)


def spread(took: list[float]) -> dict[str, float]:
    """Return median and 99th percentile."""
    return {"p50": round(median(took), 2), "p99": round(quantiles(took, n=100)[98], 2)}


async def throughput(bench: Bench, count: int) -> dict[str, float]:
    """Submit many transactions at once, spread over the nodes."""
    senders = bench.senders
    raws = [(sender, bench.proposal(sender)) for _ in range(count // len(senders)) for sender in senders]
    lanes = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def one(sender: Sender, raw: bytes) -> None:
        async with lanes:
            await bench.submit(sender, raw, wait=False)

    async def all_in() -> bool:
        states = [await bench.status(sender.url) for sender in senders]
        return all(state is not None and state.mempool_transactions == 0 for state in states)

    before = await bench.status(senders[0].url)
    began = perf_counter()
    await asyncio.gather(*(one(sender, raw) for sender, raw in raws))
    await bench.until(all_in, pause=0.05)
    seconds = perf_counter() - began
    after = await bench.status(senders[0].url)
    blocks = 0 if before is None or after is None else after.height - before.height
    return {"tx_per_s": round(len(raws) / seconds, 1), "transactions": len(raws), "blocks": blocks}


async def measure(size: int, options: argparse.Namespace, *, faults: bool) -> dict[str, object]:
    """Measure a consortium of one size."""
    async with running(size) as bench:
        found: dict[str, object] = {"memory_idle_mb": max(bench.memory_mb().values())}
        found["commit_ms"] = await latency(bench, options.samples)
        found |= await throughput(bench, options.transactions)
        found["memory_after_mb"] = max(bench.memory_mb().values())
        if faults:
            found["killed_primary_ms"] = await killed_primary(bench)
            found["restart_to_vote_s"] = await restarted(bench)
            found["after_more_than_f_down"] = await many_down(bench, options.down)
            probe = lambda: once(bench, bench.senders[-1])  # noqa: E731 - one expression with the bench in it
            found["bulk"] = await _bulk(bench, probe, options.samples)
    return found


async def _bulk(bench: Bench, probe: Callable[[], Awaitable[float]], samples: int) -> dict[str, object]:
    idle = spread([await probe() for _ in range(samples)])
    during = spread(await while_payloads_move(bench, probe, samples))
    return {"idle_ms": idle, "during_ms": during, "p99_ratio": round(during["p99"] / idle["p99"], 2)}


def simulated() -> float:
    """Return how many seeds the simulator runs in an hour, on all processors."""
    command = [sys.executable, "-m", "tests.simulation", "--seeds", str(SIMULATED_SEEDS), "--n", "4,7,10"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"(\d+) an hour", said)
    if found is None:
        raise RuntimeError(f"the simulator did not say how many seeds an hour: {said[-300:]}")
    return float(found[1])


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure everything that was asked for."""
    sizes = sorted(int(size) for size in options.sizes.split(","))
    with tempfile.TemporaryDirectory(prefix="foedus-bench-") as directory:
        found: dict[str, object] = {
            "processors": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 2),
            "fdatasync_ms": fsync_ms(Path(directory)),
        }
    for size in sizes:
        found[f"n{size}"] = await measure(size, options, faults=size == sizes[0])
        print(f"n{size} {found[f'n{size}']}", flush=True)
    if not options.quick:
        found["simulator_seeds_per_hour"] = simulated()
        found["light_proof_n16"] = light_proof.measure()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else "")
    parser.add_argument("--sizes", default=SIZES_DEFAULT, help="how many validators; the smallest has faults")
    parser.add_argument("--samples", type=int, default=LATENCY_SAMPLES, help="transactions timed one by one")
    parser.add_argument("--transactions", type=int, default=4_000, help="transactions sent at once")
    parser.add_argument("--down", type=float, default=60.0, help="seconds for which more than f validators are down")
    parser.add_argument("--quick", action="store_true", help="100 samples, 1,000 transactions, 10 s down, no simulator")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.samples, options.transactions, options.down = 100, 1_000, 10.0
    found = asyncio.run(run(options))
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:26} {value}")


if __name__ == "__main__":
    main()
