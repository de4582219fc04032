"""How fast a consortium of processes orders small transactions, and how soon a killed validator votes again.

    python -m benchmarks.commit [--nodes 4] [--transactions 4000] [--json]

A transaction is `task.propose` of a small task, signed by an officer, submitted over HTTP, executed and written by all
nodes. Latency: one at a time, from the request to the answer that it stands in a block. Throughput: from the first
request to the last transaction in a block of the node that is slowest to get there. Beside them: what one fdatasync
costs on this disk, since every vote waits for one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import aiohttp
import msgspec

from fl.records import TaskProposal, TaskSpec
from foedus.demo.processes import Processes
from genesis.keys import read_key
from genesis.local import LocalConsortium, LocalPlan, make_local
from genesis.presets import PRESETS
from ledger.codec import encode
from ledger.identity import SigningKey
from ledger.transaction import sign_transaction
from node.api.answers import BlockAnswer
from node.signed_request import signed_headers
from node.view import NodeStatus

LATENCY_SAMPLES: Final = 200
REQUESTS_AT_ONCE: Final = 64
FSYNC_SAMPLES: Final = 100
SECONDS_MAX: Final = 300.0


@dataclass(frozen=True, slots=True)
class Sender:
    """An officer, the node it talks to, and its transactions so far."""

    key: SigningKey
    url: str
    name: str


@dataclass(slots=True)
class Bench:
    """A running consortium and a client."""

    consortium: LocalConsortium
    processes: Processes
    http: aiohttp.ClientSession
    nonces: dict[str, int]

    @property
    def senders(self) -> list[Sender]:
        """One officer a node."""
        return [
            Sender(read_key(self.consortium.participants[f"{node.name}-officer"]), node.url, node.name)
            for node in self.consortium.nodes
        ]

    def proposal(self, sender: Sender) -> bytes:
        """Return the sender's next transaction."""
        nonce = self.nonces.get(sender.name, 0)
        self.nonces[sender.name] = nonce + 1
        spec = msgspec.structs.replace(_spec(), id=f"{sender.name}-{nonce}")
        chain_id = self.consortium.document.chain_id
        return encode(sign_transaction(sender.key, chain_id, "task.propose", nonce, TaskProposal(spec, None)))

    async def submit(self, sender: Sender, raw: bytes, *, wait: bool) -> None:
        """Send one transaction."""
        path = "/v1/transactions" + ("?wait=committed" if wait else "")
        now = time.time_ns() // 1_000_000
        headers = signed_headers(sender.key, self.consortium.document.chain_id, "POST", path, now, raw)
        headers["Content-Type"] = "application/msgpack"
        async with self.http.post(sender.url + path, data=raw, headers=headers) as answer:
            if answer.status not in {200, 202}:
                raise RuntimeError(f"{answer.status}: {await answer.text()}")

    async def status(self, url: str) -> NodeStatus | None:
        """Return a node's status; None while it is down."""
        try:
            async with self.http.get(f"{url}/v1/status") as answer:
                return msgspec.json.decode(await answer.read(), type=NodeStatus)
        except aiohttp.ClientError:
            return None

    async def until(self, condition: Callable[[], Awaitable[bool]], pause: float = 0.005) -> None:
        """Wait for a condition."""
        async with asyncio.timeout(SECONDS_MAX):
            while not await condition():  # noqa: ASYNC110 - the condition is another process's
                await asyncio.sleep(pause)

    async def all_connected(self) -> bool:
        """Tell whether every node has a link to every other."""
        states = [await self.status(node.url) for node in self.consortium.nodes]
        return all(state is not None and all(peer.connected for peer in state.peers) for state in states)

    async def voted(self, url: str, validator: int, height: int) -> bool:
        """Tell whether a validator's seal stands in the certificate at `height`."""
        async with self.http.get(f"{url}/v1/blocks/{height}") as answer:
            block = msgspec.json.decode(await answer.read(), type=BlockAnswer)
        return validator in {seal.validator for seal in block.certificate.seals}


async def latency(bench: Bench) -> dict[str, float]:
    """Submit one transaction at a time through each node in turn."""
    senders, samples = bench.senders, []
    for number in range(LATENCY_SAMPLES + 20):
        sender = senders[number % len(senders)]
        raw = bench.proposal(sender)
        began = time.perf_counter()
        await bench.submit(sender, raw, wait=True)
        samples.append(1000 * (time.perf_counter() - began))
    counted = samples[20:]
    return {"p50_ms": round(median(counted), 2), "p99_ms": round(quantiles(counted, n=100)[98], 2)}


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
    began = time.perf_counter()
    await asyncio.gather(*(one(sender, raw) for sender, raw in raws))
    submitted = time.perf_counter() - began
    await bench.until(all_in, pause=0.05)
    seconds = time.perf_counter() - began
    after = await bench.status(senders[0].url)
    blocks = 0 if before is None or after is None else after.height - before.height
    return {
        "transactions": len(raws),
        "per_second": round(len(raws) / seconds, 1),
        "blocks": blocks,
        "seconds_submitting": round(submitted, 2),
        "seconds": round(seconds, 2),
    }


async def restart(bench: Bench) -> dict[str, float]:
    """Kill a validator and start it again; time from the start of its process to its first vote in a certificate."""
    node, other = bench.consortium.nodes[0], bench.senders[1]
    bench.processes.kill(f"node-{node.name}")
    await bench.submit(other, bench.proposal(other), wait=True)
    began = time.perf_counter()
    bench.processes.start_node(node.name, node.config)

    async def votes() -> bool:
        await bench.submit(other, bench.proposal(other), wait=True)
        state = await bench.status(other.url)
        return state is not None and await bench.voted(other.url, 0, state.height)

    await bench.until(votes)
    return {"seconds_to_vote": round(time.perf_counter() - began, 2)}


def memory(bench: Bench) -> dict[str, float]:
    """Return resident memory of each node in MB."""
    return {
        name.removeprefix("node-"): round(_resident_kb(process.pid) / 1024, 1)
        for name, process in bench.processes.running.items()
    }


def fsync_ms(directory: Path) -> float:
    """Return the median cost of one fdatasync after a 4 KiB append."""
    samples = []
    with (directory / "fsync").open("wb", buffering=0) as file:
        for _ in range(FSYNC_SAMPLES):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            samples.append(1000 * (time.perf_counter() - began))
    return round(median(samples), 2)


async def measure(nodes: int, transactions: int) -> dict[str, object]:
    """Run everything once."""
    with tempfile.TemporaryDirectory(prefix="foedus-bench-") as directory:
        names = tuple(f"site-{number:02d}" for number in range(1, nodes + 1))
        consortium = make_local(Path(directory) / "c", LocalPlan(names, ()), time_ms=time.time_ns() // 1_000_000)
        with Processes(Path(directory) / "logs") as processes:
            for node in consortium.nodes:
                processes.start_node(node.name, node.config)
            async with aiohttp.ClientSession() as http:
                bench = Bench(consortium, processes, http, {})
                await bench.until(bench.all_connected, pause=0.05)
                idle = memory(bench)
                found: dict[str, object] = {
                    "nodes": nodes,
                    "fdatasync_ms": fsync_ms(Path(directory)),
                    "latency": await latency(bench),
                    "throughput": await throughput(bench, transactions),
                    "memory_idle_mb": idle,
                    "memory_after_mb": memory(bench),
                    "restart": await restart(bench),
                }
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else "")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--transactions", type=int, default=4_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = asyncio.run(measure(options.nodes, options.transactions))
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:18} {value}")


def _spec() -> TaskSpec:
    preset = PRESETS["heart"]
    return msgspec.structs.replace(preset.task(preset.trainers, None, None), participants=())


def _resident_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


if __name__ == "__main__":
    main()
