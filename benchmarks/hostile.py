"""What is left of honest throughput while somebody attacks, and what the attack costs in memory.

    python -m benchmarks.hostile [--transactions 1500] [--only WORD] [--json]

Three of four nodes run; the fourth member's keys belong to a program that attacks all three, as a member or as a
stranger, on the same machine at a lower priority. For each attack: memory and processor time of the nodes while it
runs alone, then throughput of honest transactions while it goes on, and beside it throughput with the attacker stopped
and a neighbour at the same priority that spins for as much processor time as the attacker took: what is left is what
the attack does to its victims, who have machines of their own. Attack and neighbour take turns, the ratio is between
medians. Every fourth height waits for the primary that is missing, with and without attack; its time-out is set low, so
that what is measured is work and not waiting. With `--json` the last line is one object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from typing import Final

import aiohttp

from benchmarks.consensus import throughput
from benchmarks.consortium import Bench
from benchmarks.hostile_program import Attacker, attacks
from foedus.demo.processes import Processes
from genesis.local import LocalPlan, make_local
from ledger.parameters import ConsensusParameters

NAMES: Final = ("site-01", "site-02", "site-03", "site-04")
PARAMETERS: Final = ConsensusParameters(view_timeout_ms=100, resend_ms=90)
NICE: Final = "5"
"""So that the attacker does not take what its victims would have had on machines of their own, and is not starved."""

ALONE_SECONDS: Final = 3.0
REST_SECONDS: Final = 1.0
SAMPLE_SECONDS: Final = 0.1
TURNS: Final = 3


class Honest(Bench):
    """The three nodes that run, and the fourth's keys."""

    @property
    def senders(self):  # type: ignore[no-untyped-def]  # noqa: ANN201 - as the base
        """One officer a running node."""
        return super().senders[:3]

    async def connected(self) -> bool:
        """Tell whether the three have links to each other."""
        states = [await self.status(sender.url) for sender in self.senders]
        return all(state is not None and sum(peer.connected for peer in state.peers) >= 2 for state in states)


@asynccontextmanager
async def three_of_four() -> AsyncIterator[Honest]:
    """Run three nodes in a directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="foedus-bench-") as directory:
        plan = LocalPlan(NAMES, (), parameters=PARAMETERS)
        consortium = make_local(Path(directory) / "c", plan, time_ms=time.time_ns() // 1_000_000)
        with Processes(Path(directory) / "logs") as processes:
            async with aiohttp.ClientSession() as http:
                bench = Honest(consortium, processes, http, {})
                for node in consortium.nodes[:3]:
                    bench.start(node)
                await bench.until(bench.connected, pause=0.05)
                yield bench


@contextmanager
def attacking(bench: Honest, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Let the fourth member attack."""
    consortium = bench.consortium
    ports = ",".join(str(node.api_port) for node in consortium.nodes[:3])
    arguments = [str(consortium.genesis), str(consortium.nodes[3].directory), ports, name]
    log = bench.processes.logs / "attacker.log"
    with log.open("wb") as file:
        process = subprocess.Popen(beside("benchmarks.hostile_program", *arguments), stdout=file, stderr=file)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
    if b"Traceback" in log.read_bytes():
        raise RuntimeError(f"{name}: the attacker failed: {log.read_text()[-1500:]}")


def beside(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module at the attacker's priority."""
    return ["nice", "-n", NICE, sys.executable, "-m", module, *arguments]


@contextmanager
def stopped(attacker: subprocess.Popen[bytes], share: float) -> Iterator[None]:
    """Stop the attacker where it is, and let a neighbour take as much processor time."""
    attacker.send_signal(signal.SIGSTOP)
    try:
        with subprocess.Popen(beside("benchmarks.neighbour", str(share))) as neighbour:
            yield
            neighbour.kill()
    finally:
        attacker.send_signal(signal.SIGCONT)


async def alone(bench: Honest, before: dict[str, float]) -> dict[str, float]:
    """Return what the attack costs the node that pays most, while nothing else goes on.

    Memory: growth at its largest, in MB. Processor: part of one core; on a machine of its own a node has the rest.
    """
    log, most = bench.processes.logs / "attacker.log", 0.0

    async def begun() -> bool:
        return b"}" in log.read_bytes()

    await bench.until(begun, pause=0.05)
    began, spent = time.monotonic(), nodes_spent(bench)
    for _ in range(round(ALONE_SECONDS / SAMPLE_SECONDS)):
        await asyncio.sleep(SAMPLE_SECONDS)
        now = bench.memory_mb()
        most = max(most, *(now[name] - before[name] for name in before))
    now_spent, seconds = nodes_spent(bench), time.monotonic() - began
    share = max(now_spent[name] - spent[name] for name in spent) / seconds
    return {"memory_mb": round(most, 1), "processor": round(share, 2)}


def nodes_spent(bench: Honest) -> dict[str, float]:
    """Return how much processor time each node has taken."""
    return {name: processor_seconds(process.pid) for name, process in bench.processes.running.items()}


def processor_seconds(pid: int) -> float:
    """Return how much processor time a process has taken."""
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


async def turns(bench: Honest, attacker: subprocess.Popen[bytes], count: int) -> tuple[list[float], list[float]]:
    """Return throughputs with the attack, and with a neighbour in its place."""
    attacked, control = [], []
    for _ in range(TURNS):
        began, spent = time.monotonic(), processor_seconds(attacker.pid)
        attacked.append((await throughput(bench, count))["tx_per_s"])
        share = (processor_seconds(attacker.pid) - spent) / (time.monotonic() - began)
        with stopped(attacker, share):
            await asyncio.sleep(REST_SECONDS)
            control.append((await throughput(bench, count))["tx_per_s"])
    return attacked, control


async def measure(bench: Honest, name: str, count: int) -> dict[str, object]:
    """Measure one attack."""
    await throughput(bench, count)
    told, resident = said_of(bench), bench.memory_mb()
    with attacking(bench, name) as attacker:
        cost = await alone(bench, resident)
        attacked, control = await turns(bench, attacker, count)
    sent = (bench.processes.logs / "attacker.log").read_text().strip().splitlines()[-1:]
    await asyncio.sleep(REST_SECONDS)
    bench.processes.require_alive()
    return {
        "ratio": round(median(attacked) / median(control), 2),
        "tx_per_s": attacked,
        "control_tx_per_s": control,
        **cost,
        "sent": sent[0] if sent else "",
        "said": dict(said_of(bench) - told),
    }


def said_of(bench: Honest) -> Counter[str]:
    """Count what the nodes' logs say of what they dropped."""
    words = ("peer.sent_garbage", "door.dropped", "peer.refused", "link.down")
    texts = [path.read_text(errors="replace") for path in bench.processes.logs.glob("node-*.log")]
    return Counter({word: sum(text.count(word) for text in texts) for word in words})


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure every attack that was asked for."""
    async with three_of_four() as bench:
        consortium = bench.consortium
        names = list(attacks(Attacker(consortium.genesis, consortium.nodes[3].directory, [])))
        await throughput(bench, options.transactions)  # warms up
        found = {}
        for name in names:
            if options.only in name:
                found[name] = await measure(bench, name, options.transactions)
                print(f"{name:44} {found[name]}", flush=True)
    ratios = [one["ratio"] for one in found.values()]
    return {
        "processors": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "ratio_min": min(ratios),  # type: ignore[type-var]
        "ratio_median": median(ratios),  # type: ignore[type-var]
        "processor_max": max(one["processor"] for one in found.values()),  # type: ignore[type-var]
        "memory_mb_max": max(one["memory_mb"] for one in found.values()),  # type: ignore[type-var]
        "attacks": found,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else "")
    parser.add_argument("--transactions", type=int, default=1_500, help="honest transactions, each time")
    parser.add_argument("--only", default="", help="attacks whose name contains this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = asyncio.run(run(options))
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
