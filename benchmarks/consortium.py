"""A running consortium of node processes, and a client that sends small transactions. One law: the usual settings.

A transaction is `task.propose` of a small task, signed by an officer and submitted over HTTP.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import aiohttp
import msgspec

from fl.records import TaskProposal, TaskSpec
from foedus.demo.processes import Processes
from genesis.keys import read_key
from genesis.local import LocalConsortium, LocalNode, LocalPlan, make_local
from genesis.presets import PRESETS
from ledger.codec import encode
from ledger.identity import SigningKey
from ledger.transaction import sign_transaction
from node.api.answers import BlockAnswer
from node.signed_request import signed_headers
from node.view import NodeStatus

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
        """One officer a node, in the order of the validators."""
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
        """Tell whether every node has a link to every other, and all stand at one height."""
        states = [await self.status(node.url) for node in self.consortium.nodes]
        heights = {state.height for state in states if state is not None}
        return len(heights) == 1 and all(
            state is not None and all(peer.connected for peer in state.peers) for state in states
        )

    async def voted(self, url: str, validator: int, height: int) -> bool:
        """Tell whether a validator's seal stands in the certificate at `height`."""
        async with self.http.get(f"{url}/v1/blocks/{height}") as answer:
            block = msgspec.json.decode(await answer.read(), type=BlockAnswer)
        return validator in {seal.validator for seal in block.certificate.seals}

    def kill(self, node: LocalNode) -> None:
        """End a node without warning."""
        self.processes.kill(f"node-{node.name}")

    def start(self, node: LocalNode) -> None:
        """Start a node again."""
        self.processes.start_node(node.name, node.config)

    def memory_mb(self) -> dict[str, float]:
        """Return resident memory of each node."""
        return {
            name.removeprefix("node-"): round(_resident_kb(process.pid) / 1024, 1)
            for name, process in self.processes.running.items()
        }


@asynccontextmanager
async def running(nodes: int) -> AsyncIterator[Bench]:
    """Run so many nodes, connected to each other, in a directory that is gone afterwards."""
    names = tuple(f"site-{number:02d}" for number in range(1, nodes + 1))
    with tempfile.TemporaryDirectory(prefix="foedus-bench-") as directory:
        consortium = make_local(Path(directory) / "c", LocalPlan(names, ()), time_ms=time.time_ns() // 1_000_000)
        with Processes(Path(directory) / "logs") as processes:
            async with aiohttp.ClientSession() as http:
                bench = Bench(consortium, processes, http, {})
                for node in consortium.nodes:
                    bench.start(node)
                await bench.until(bench.all_connected, pause=0.05)
                yield bench


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


def _spec() -> TaskSpec:
    preset = PRESETS["heart"]
    return msgspec.structs.replace(preset.task(preset.trainers, None, None), participants=())


def _resident_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
