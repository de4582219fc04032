"""A consortium of real processes for `benchmarks.round`. One law: times are read where things happen.

Nodes and trainers are processes on this machine with mutual TLS and their usual persistence. Participants say when they
submit, nodes say in their logs when they have fetched, computed and certified; all clocks are this machine's.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import aiohttp

from benchmarks.consortium import Bench
from benchmarks.round_costs import Costs
from fl.records import TaskSpec
from fl.schema import ModelSchema, TensorSpec
from foedus.demo.processes import Processes
from genesis.local import LocalConsortium, LocalPlan, make_local
from genesis.presets import rule_named
from node.node import RECENT_BYTES_MAX

TASK: Final = "round"
TENSORS: Final = 12
DAY_MS: Final = 86_400_000
NODES: Final = 4
SECONDS_MAX: Final = 300.0
LINE_BYTES_MAX: Final = 1 << 20


def sizes_of(parameters: int) -> tuple[int, ...]:
    """Return the entries of each of `TENSORS` tensors that have so many together."""
    count = min(TENSORS, parameters)
    return tuple(parameters // count + (place < parameters % count) for place in range(count))


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """What to measure."""

    participants: int
    parameters: int
    rounds: int
    rule: str
    f: int

    @property
    def resident_mb(self) -> float:
        """About what all processes take: some 90 MB each, and what grows with the model.

        A parameter takes 30 bytes of a participant (base, given and trained model, update, download), and 8 of a node
        besides the round's updates, which it has twice as far as the memory for recent chunks goes.
        """
        updates = 2 * self.participants * self.parameters
        node = 90e6 + updates + min(updates, RECENT_BYTES_MAX) + 8 * self.parameters
        return (NODES * node + self.participants * (90e6 + 30 * self.parameters)) / 1e6

    def task(self, trainers: tuple[str, ...]) -> TaskSpec:
        """Return a task that closes each round with its last update."""
        tensors = tuple(TensorSpec(f"t{place}", (size,), 0) for place, size in enumerate(sizes_of(self.parameters)))
        return TaskSpec(
            id=TASK,
            description="One round after the other, without training",
            schema=ModelSchema(tensors),
            initial_model=None,
            rule=rule_named(self.rule, self.f),
            clip_norm_micros=0,
            updates_min=len(trainers),
            updates_max=len(trainers),
            collect_ms=DAY_MS,
            aggregate_ms=DAY_MS,
            rounds=1_000_000,
            participants=trainers,
        )


@dataclass(slots=True)
class NodeLog:
    """A node's log, read as it grows."""

    path: Path
    _offset: int = 0
    marks: dict[tuple[str, int], float] = field(default_factory=dict)
    """Time of the first event of a kind in a round."""

    details: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)

    def read(self) -> None:
        """Take what is new."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            if line.startswith(b"{"):
                self._take(json.loads(line))

    def _take(self, said: dict[str, object]) -> None:
        at = datetime.fromisoformat(str(said["timestamp"])).timestamp()
        subject = str(said.get("subject", ""))
        if said["event"] == "event" and subject.startswith(f"{TASK}/"):
            self.marks.setdefault((str(said["kind"]), int(subject.partition("/")[2])), at)
        elif said["event"] in {"result.computed", "result.kept"}:
            key = (str(said["event"]), int(str(said["round"])))
            self.marks[key] = at
            self.details[key] = {name: float(str(value)) for name, value in said.items() if name.endswith("_seconds")}


@dataclass(slots=True)
class Trainer:
    """A participant's process."""

    name: str
    process: asyncio.subprocess.Process

    async def hear(self, what: str) -> dict[str, float]:
        """Return its next line, which must have `what`."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SECONDS_MAX):
            line = await self.process.stdout.readline()
        said: dict[str, float] = json.loads(line) if line else {}
        if what not in said:
            raise RuntimeError(f"{self.name} should have said {what!r}, it said {line!r}: see its log")
        return said

    def go(self) -> None:
        """Let it submit."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")


@dataclass(slots=True)
class RunningRound:
    """A consortium with trainers that wait for their first round."""

    bench: Bench
    trainers: list[Trainer]
    logs: list[NodeLog]
    costs: Costs

    async def ready(self) -> list[float]:
        """Wait until every participant has the next round's model; return when each did."""
        return [(await trainer.hear("ready"))["at"] for trainer in self.trainers]

    async def one(self, number: int) -> dict[str, object]:
        """Run one round and return its times, in seconds after the first submit call."""
        cpu, nodes_cpu = self.costs.cpu_seconds(), self.costs.cpu_of("node-")
        for trainer in self.trainers:
            trainer.go()
        said = [await trainer.hear("submitted") for trainer in self.trainers]
        await self.everywhere(lambda log: self._ended(log, number) > 0)
        began = min(one["began"] for one in said)
        ended = max(self._ended(log, number) for log in self.logs)
        cpu, nodes_cpu = self.costs.cpu_seconds() - cpu, self.costs.cpu_of("node-") - nodes_cpu
        ready = max(await self.ready())
        await self.everywhere(lambda log: ("result.kept", number) in log.marks)

        def span(name: str) -> float:
            return round(max(one["spans"][name][1] for one in said) - began, 3)  # type: ignore[index]

        def mark(kind: str) -> float:
            return round(max(log.marks[kind, number] for log in self.logs) - began, 3)

        return {
            "seconds": round(ended - began, 3),
            "prepared": span("prepare"),
            "uploaded": span("send"),
            "available": span("upload"),
            "closed": mark("round.closed"),
            "computed": mark("result.computed"),
            "certified": mark("round.certified"),
            "kept": mark("result.kept"),
            "downloaded": round(ready - began, 3),
            "cpu_seconds": round(cpu, 2),
            "nodes_cpu_seconds": round(nodes_cpu, 2),
            "nodes": [log.details["result.computed", number] | log.details["result.kept", number] for log in self.logs],
        }

    async def everywhere(self, condition: Callable[[NodeLog], bool]) -> None:
        """Wait until a condition holds for the log of every node."""

        async def holds() -> bool:
            self.bench.processes.require_alive()
            for log in self.logs:
                log.read()
            return all(map(condition, self.logs))

        await self.bench.until(holds, pause=0.02)

    async def require_stored(self, version: int) -> None:
        """Check that every node can produce the model's last bytes."""
        for node in self.bench.consortium.nodes:
            url = f"{node.url}/v1/tasks/{TASK}/models/{version}/payload"
            async with self.bench.http.get(url, headers={"Range": "bytes=-64"}) as answer:
                body = await answer.read()
            if answer.status != 206 or len(body) != 64:
                raise RuntimeError(f"{node.name} does not have model {version}: {answer.status} {body[:200]!r}")

    @staticmethod
    def _ended(log: NodeLog, number: int) -> float:
        """When a node had appended the certificate and computed the model itself; 0 before."""
        certified = log.marks.get(("round.certified", number), 0.0)
        computed = log.marks.get(("result.computed", number), 0.0)
        return max(certified, computed) if certified and computed else 0.0


async def start_round(
    directory: Path, plan: RoundPlan, processes: Processes, http: aiohttp.ClientSession, costs: Costs
) -> RunningRound:
    """Make a consortium, start its nodes and one trainer process a participant."""
    os.environ["FOEDUS_LOGGING__FORMAT"] = "json"
    trainers = tuple(f"trainer-{number:02d}" for number in range(1, plan.participants + 1))
    organisations = tuple(f"site-{number}" for number in range(1, NODES + 1))
    consortium = make_local(
        directory / "consortium",
        LocalPlan(organisations, trainers, (plan.task(trainers),)),
        time_ms=time.time_ns() // 1_000_000,
    )
    for node in consortium.nodes:
        processes.start_node(node.name, node.config)
    bench = Bench(consortium, processes, http, {})

    async def connected() -> bool:
        processes.require_alive()
        return await bench.all_connected()

    await bench.until(connected, pause=0.05)
    logs = [NodeLog(processes.logs / f"node-{node.name}.log") for node in consortium.nodes]
    started = [await _start_trainer(consortium, name, place, processes) for place, name in enumerate(trainers)]
    costs.watch((name, process.pid) for name, process in processes.running.items())
    costs.watch((trainer.name, trainer.process.pid) for trainer in started)
    return RunningRound(bench, started, logs, costs)


async def _start_trainer(consortium: LocalConsortium, name: str, place: int, processes: Processes) -> Trainer:
    options = {
        "url": consortium.nodes[place % len(consortium.nodes)].url,
        "key": consortium.participants[name],
        "task": TASK,
        "genesis": consortium.genesis,
        "seed": 1_000 * place,
    }
    command = [sys.executable, "-m", "benchmarks.round_trainer"]
    command += [part for option, value in options.items() for part in (f"--{option}", str(value))]
    pipe = asyncio.subprocess.PIPE
    with (processes.logs / f"{name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=log, limit=LINE_BYTES_MAX
        )
    return Trainer(name, process)
