"""A consortium of real nodes in one process: sockets, TLS, disk and time are real, only the processes are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from fl.grid import update_to_bytes
from fl.records import EvaluationReport, RoundState, TaskSpec, UpdateSubmission
from fl.schema import ModelSchema, TensorSpec
from fl.state import present, round_of, task_of
from genesis.keys import read_key
from genesis.local import LocalConsortium, LocalNode, LocalPlan, make_local
from genesis.presets import PRESETS
from ledger.codec import Record, encode
from ledger.digest import Digest, digest
from ledger.fields import Height
from ledger.identity import SigningKey
from ledger.receipt import Receipt
from ledger.transaction import sign_transaction
from node.config import load_config
from node.node import Node, clock_ms
from node.tls import TransportIdentity

NAMES = PRESETS["heart"].organisations
SIZE = 39
WAIT_SECONDS_MAX = 30.0


def heart_task(**changes: object) -> TaskSpec:
    """Return the preset's task with short deadlines, with changes."""
    spec = PRESETS["heart"].task(NAMES, None, None)
    return msgspec.structs.replace(spec, **({"collect_ms": 5_000, "aggregate_ms": 10_000} | changes))


def small_schema(size: int) -> ModelSchema:
    """Return a schema of one tensor."""
    return ModelSchema((TensorSpec("weight", (size,), 0, 0),))


@dataclass
class RunningConsortium:
    """Four nodes and everybody's keys."""

    local: LocalConsortium
    nodes: dict[str, Node] = field(default_factory=dict)
    make: Callable[..., Node] = Node

    def key(self, name: str) -> SigningKey:
        """Return a participant's key."""
        return read_key(self.local.participants[name])

    def validator_key(self, name: str) -> SigningKey:
        """Return a validator's key."""
        return read_key(load_config(self._files(name).config, {}).config.keys.validator)

    async def start(self, *names: str) -> None:
        """Start nodes, all of them unless named."""
        for name in names or NAMES:
            config = load_config(self._files(name).config, {}).config
            identity = TransportIdentity(read_key(config.keys.transport).seed)
            node = self.make(config, self.local.document, read_key(config.keys.validator), identity)
            self.nodes[name] = node
            await node.start()

    async def stop(self, *names: str) -> None:
        """Stop nodes, all that run unless named."""
        for name in names or tuple(self.nodes):
            await self.nodes.pop(name).stop()

    async def say(self, name: str, kind: str, payload: Record, *, through: str | None = None) -> Receipt:
        """Submit what a participant says and return its receipt once it stands in a block."""
        node = self.nodes[through or name]
        key = self.key(name)
        nonce = node.next_free_nonce(key.public_key)
        identity = await node.submit(encode(sign_transaction(key, node.chain_id, kind, nonce, payload)))
        return await self.receipt(node, identity)

    async def receipt(self, node: Node, identity: Digest) -> Receipt:
        """Return a transaction's receipt once a node has it in a block."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while (stored := node.store.transaction(identity)) is None:
                await node.wait_for_block(Height(node.chain.height + 1))
        return stored.receipt

    async def evaluate(self, name: str, version: int = 0) -> Receipt:
        """Let a participant report on a model: the smallest transaction there is."""
        return await self.say(name, "evaluation", EvaluationReport("heart", version, 10, ()))

    async def submission(self, name: str, words: NDArray[np.int16]) -> UpdateSubmission:
        """Spread a participant's words through its own node and return its update to the open round."""
        node = self.nodes[name]
        salt = digest("test-salt", name.encode(), words.tobytes())
        descriptor = await node.payload_store.add(salt + update_to_bytes(words), owner=name)
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            certificate = await node.exchange.publish(descriptor)
        current = self.round(name)
        return UpdateSubmission("heart", current.number, current.base_version, 100, 0, (), certificate)

    async def update(self, name: str, words: NDArray[np.int16]) -> Receipt:
        """Submit a participant's words to the open round."""
        return await self.say(name, "update", await self.submission(name, words))

    async def fill_round(self, rows: NDArray[np.int16], names: Sequence[str] = NAMES) -> int:
        """Submit one row a participant; return the round's number."""
        number = max(self.round(name).number for name in names)
        for name in names:
            await self.until(name, lambda name=name: self.round(name).number == number)  # type: ignore[misc]
        receipts = await asyncio.gather(*(self.update(name, row) for name, row in zip(names, rows, strict=False)))
        assert [receipt.code for receipt in receipts] == ["ok"] * len(receipts), receipts
        return number

    def round(self, name: str, number: int | None = None) -> RoundState:
        """Return a round as a node sees it, the latest unless numbered."""
        state = self.nodes[name].state()
        task = present(task_of(state, "heart"), "the task")
        return present(round_of(state, "heart", task.round if number is None else number), "the round")

    async def until(self, name: str, condition: Callable[[], bool]) -> None:
        """Wait, block by block of one node, until something holds."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while not condition():
                await self.nodes[name].wait_for_block(Height(self.nodes[name].chain.height + 1))

    async def over(self, number: int, *names: str) -> None:
        """Wait until a round is certified or failed on these nodes, all unless named."""
        for name in names or tuple(self.nodes):
            await self.until(name, lambda name=name: self.round(name).number > number)  # type: ignore[misc]

    async def level(self) -> Height:
        """Wait until all nodes are as high as the highest; return that height."""
        highest = Height(max(node.chain.height for node in self.nodes.values()))
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            await asyncio.gather(*(node.wait_for_block(highest) for node in self.nodes.values()))
        return highest

    def same_chain(self) -> bool:
        """Tell whether all nodes hold the same bytes of every block they share."""
        lowest = min(node.chain.height for node in self.nodes.values())
        for height in range(1, lowest + 1):
            blocks = {encode(present_block(node, height)) for node in self.nodes.values()}
            if len(blocks) != 1:
                return False
        return True

    def _files(self, name: str) -> LocalNode:
        return next(node for node in self.local.nodes if node.name == name)


def present_block(node: Node, height: int) -> Record:
    """Return a block of a node's store."""
    certified = node.store.certified_block(Height(height))
    assert certified is not None
    return certified.block


@asynccontextmanager
async def running(directory: Path, spec: TaskSpec | None = None) -> AsyncIterator[RunningConsortium]:
    """Run a consortium of four for one test."""
    plan = LocalPlan(NAMES, NAMES, (spec or heart_task(),))
    consortium = RunningConsortium(make_local(directory / "consortium", plan, time_ms=clock_ms()))
    await consortium.start()
    try:
        yield consortium
    finally:
        await consortium.stop()


def rows(seed: int, size: int = SIZE, count: int = 4) -> NDArray[np.int16]:
    """Return words for a round, shape (count, size)."""
    generator = np.random.default_rng(seed)
    return generator.integers(-4_000, 4_000, (count, size), dtype=np.int16)
