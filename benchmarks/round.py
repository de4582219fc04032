"""How long a big round takes: from the first submit call to the certified model on all nodes, beside plain Flower.

    python -m benchmarks.round [--participants 4 ...] [--parameters 25000000 ...] [--rounds 3] [--rule mean] [--json]
    python -m benchmarks.round --flower --flower-python PATH     # the same round in flwr 1.42, in the same run
    python -m benchmarks.round --probe                           # consensus latency, idle and while payloads move

Four nodes as processes (mutual TLS, encrypted payloads, fsync), participants as processes through the SDK; training
counts as nothing: the difference is there before the clock starts. The clock stops when every node has appended the
certificate and computed the model itself; `kept` says when the model was on every disk (until then the updates are, and
it would be computed again from them). Flower's `submit_to_model_seconds` begins when the first client answers and
`round_seconds` when the server sends the model; compare the first with `seconds`, the second with `cycle_seconds`,
which also counts the download of the new model by every participant.

Each number of participants is measured with each number of parameters; what this machine's memory cannot hold is left
out, and `skipped` says what was needed. With `--json` the last line is one object: `runs`, and in each `foedus`,
`flower` and their ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import aiohttp

from benchmarks.round_consortium import RoundPlan, RunningRound, sizes_of, start_round
from benchmarks.round_costs import Costs, available_mb
from benchmarks.round_flower import FlowerRun, measure_flower
from foedus.demo.processes import Processes

PHASES: Final = (
    "prepared",
    "uploaded",
    "available",
    "closed",
    "computed",
    "certified",
    "seconds",
    "kept",
    "downloaded",
    "cpu_seconds",
    "nodes_cpu_seconds",
)
IDLE_PROBES: Final = 200
PROBE_PAUSE_S: Final = 0.02


async def measure_foedus(directory: Path, plan: RoundPlan, *, probe: bool) -> dict[str, object]:
    """Run a consortium's rounds and return their times."""
    async with aiohttp.ClientSession() as http:
        with Processes(directory / "logs") as processes, Costs() as costs:
            running = await start_round(directory, plan, processes, http, costs)
            await running.ready()
            rounds = [await running.one(number) for number in range(1, plan.rounds + 1)]
            await running.require_stored(plan.rounds)
            found = summary(rounds, plan)
            found["memory_mb"] = costs.resident_mb()
            if probe:
                found["probe"] = await probed(running, plan)
    return found


def summary(rounds: list[dict[str, object]], plan: RoundPlan) -> dict[str, object]:
    """Return medians over the rounds, and all of them."""
    steady = rounds[1:] or rounds  # the first has no base model to read, and warms everything up
    middle = {name: round(median(float(str(one[name])) for one in steady), 3) for name in PHASES}
    parts = ("obtain_seconds", "read_seconds", "aggregate_seconds", "keep_seconds")
    every_node = [node for one in steady for node in one["nodes"]]  # type: ignore[attr-defined]
    return {
        "rounds": plan.rounds,
        "rule": plan.rule,
        "seconds": middle["seconds"],
        "seconds_all": [one["seconds"] for one in rounds],
        "cycle_seconds": middle["downloaded"],
        "cpu_seconds": middle["cpu_seconds"],
        "nodes_cpu_seconds": middle["nodes_cpu_seconds"],
        "after_submit_seconds": {name: middle[name] for name in (*PHASES[:6], "kept")},
        "node_seconds": {name: round(median(node[name] for node in every_node), 3) for name in parts},
    }


async def probed(running: RunningRound, plan: RoundPlan) -> dict[str, object]:
    """Return the latency of small transactions, first with nothing else going on, then during rounds."""
    idle = [await once(running, number) for number in range(IDLE_PROBES)]
    busy: list[float] = []
    done = asyncio.Event()

    async def keep_probing() -> None:
        while not done.is_set():
            busy.append(await once(running, len(busy)))
            await asyncio.sleep(PROBE_PAUSE_S)

    probing = asyncio.create_task(keep_probing())
    rounds = [await running.one(plan.rounds + number) for number in range(1, plan.rounds + 1)]
    done.set()
    await probing
    quiet, loaded = spread(idle), spread(busy)
    return {
        "idle": quiet,
        "during_rounds": loaded,
        "p50_ratio": round(loaded["p50_ms"] / quiet["p50_ms"], 2),
        "p99_ratio": round(loaded["p99_ms"] / quiet["p99_ms"], 2),
        "seconds": median(float(str(one["seconds"])) for one in rounds),
    }


async def once(running: RunningRound, number: int) -> float:
    """Return how many milliseconds one small transaction takes from request to block."""
    senders = running.bench.senders
    sender = senders[number % len(senders)]
    raw = running.bench.proposal(sender)
    began = time.perf_counter()
    await running.bench.submit(sender, raw, wait=True)
    return 1000 * (time.perf_counter() - began)


def spread(samples: list[float]) -> dict[str, float]:
    """Return the middle and the tail."""
    return {
        "samples": len(samples),
        "p50_ms": round(median(samples), 2),
        "p99_ms": round(quantiles(samples, n=100)[98], 2),
        "max_ms": round(max(samples), 2),
    }


def measure(options: argparse.Namespace, participants: int, parameters: int) -> dict[str, object]:
    """Measure one size, with Flower beside it when asked."""
    plan = RoundPlan(participants, parameters, options.rounds + 1, options.rule, options.f)
    found: dict[str, object] = {"participants": plan.participants, "parameters": parameters}
    needed, available = plan.resident_mb, available_mb()
    if needed > available:
        return found | {"skipped": f"its processes need about {needed:.0f} MB together, {available:.0f} are available"}
    with tempfile.TemporaryDirectory(prefix="foedus-round-", dir=options.directory) as directory:
        ours = found["foedus"] = asyncio.run(measure_foedus(Path(directory) / "foedus", plan, probe=options.probe))
        if options.flower:
            run = FlowerRun(options.flower_python.absolute(), plan.participants, sizes_of(parameters), options.rounds)
            try:
                theirs = found["flower"] = measure_flower(Path(directory) / "flower", run)
            except (TimeoutError, subprocess.SubprocessError) as error:
                return found | {"flower": {"failed": str(error)}}
            found["ratio_submit_to_model"] = ratio(theirs["submit_to_model_seconds"], ours["seconds"])
            found["ratio_cycle"] = ratio(theirs["round_seconds"], ours["cycle_seconds"])
            found["ratio_round_to_submit"] = ratio(theirs["round_seconds"], ours["seconds"])
            found["ratio_cpu"] = ratio(theirs["cpu_seconds"], ours["cpu_seconds"])
    return found


def ratio(theirs: object, ours: object) -> float:
    """Return by how much ours is faster."""
    return round(float(str(theirs)) / float(str(ours)), 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else "")
    parser.add_argument("--participants", type=int, nargs="+", default=[4])
    parser.add_argument("--parameters", type=int, nargs="+", default=[25_000_000])
    parser.add_argument("--rounds", type=int, default=3, help="counted; one more goes before them")
    parser.add_argument("--rule", default="mean", help="mean, median, trimmed-mean, nnm, arc-nnm, krum, multi-krum")
    parser.add_argument("--f", type=int, default=1, help="liars that a robust rule withstands")
    parser.add_argument("--directory", type=Path, help="where the nodes keep their data; a temporary one by default")
    parser.add_argument("--flower", action="store_true", help="run the same round in Flower")
    parser.add_argument("--flower-python", type=Path, help="interpreter of an environment with flwr 1.42")
    parser.add_argument("--probe", action="store_true", help="measure small transactions while payloads move")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.flower and options.flower_python is None:
        parser.error("--flower needs --flower-python PATH")
    runs = [measure(options, count, size) for count in options.participants for size in options.parameters]
    found = {"load_average": os.getloadavg()[0], "processors": os.cpu_count(), "runs": runs}
    if options.json:
        print(json.dumps(found))
    else:
        for run in runs:
            print(json.dumps(run, indent=2))


if __name__ == "__main__":
    main()
