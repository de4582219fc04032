"""One process that holds all validators' keys: a ledger that really executes, stores and certifies, without a network.

It implements `node.view.NodeView`: each submitted transaction becomes a block at once, and a closed round is
aggregated and certified in the block after.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time_ns
from typing import Final

from fl.aggregates import sign_result
from fl.aggregators import RuleSpec
from fl.application import FederatedLearning
from fl.records import AggregateClaim, LearningGenesis, Participant, TaskSpec
from fl.results import closed_jobs, compute
from fl.schema import ModelSchema, TensorSpec
from genesis.document import GenesisDocument, initial_state
from ledger.block import CertifiedBlock
from ledger.certificate import COMMIT, make_certificate, sign_vote
from ledger.codec import encode
from ledger.digest import Digest
from ledger.execution import next_nonce
from ledger.fields import Height, View
from ledger.identity import SigningKey
from ledger.parameters import ConsensusParameters
from ledger.payload import Acknowledgement, AvailabilityCertificate, PayloadDescriptor, sign_acknowledgement
from ledger.state_map import StateMap
from ledger.transaction import sign_transaction
from ledger.validators import Validator, ValidatorSet
from node.api.access import ReadAccess, Rules
from node.api.server import ApiServer
from node.chain import Chain
from node.mempool import Mempool, MempoolLimits
from node.metrics import NodeMetrics
from node.payloads import PayloadStore
from node.store import Store
from node.tokens import TokenBook
from node.view import NodeStatus, PeerLink

ORGANISATIONS: Final = ("alpha", "beta", "gamma", "delta")
VALIDATOR_KEYS: Final = {name: SigningKey(bytes([1, place]) * 16) for place, name in enumerate(ORGANISATIONS)}
TRANSPORT_KEYS: Final = {name: SigningKey(bytes([2, place]) * 16) for place, name in enumerate(ORGANISATIONS)}
TRAINER_KEYS: Final = {name: SigningKey(bytes([3, place]) * 16) for place, name in enumerate(ORGANISATIONS)}
STRANGER: Final = SigningKey(b"\x09" * 32)
WIDTH: Final = 3


def toy_schema(width: int) -> ModelSchema:
    """Return the schema of 2 x `width` weights and a bias."""
    return ModelSchema((TensorSpec("weight", (2, width), 0, 0), TensorSpec("bias", (), 0, 0)))


SCHEMA: Final = toy_schema(WIDTH)


def toy_task(**changes: int) -> TaskSpec:
    """Return a task for two of the trainers; `changes` replace single fields."""
    numbers = {"updates_min": 1, "updates_max": 2, "collect_ms": 600_000, "aggregate_ms": 600_000, "rounds": 3}
    numbers["width"] = WIDTH
    numbers |= changes
    return TaskSpec(
        id="toy",
        description="A toy",
        schema=toy_schema(numbers["width"]),
        initial_model=None,
        rule=RuleSpec("weighted-mean/1", 0),
        clip_norm_micros=0,
        updates_min=numbers["updates_min"],
        updates_max=numbers["updates_max"],
        collect_ms=numbers["collect_ms"],
        aggregate_ms=numbers["aggregate_ms"],
        rounds=numbers["rounds"],
        participants=("alpha", "beta"),
    )


def document(task: TaskSpec) -> GenesisDocument:
    """Return the genesis document of four validators and as many trainers."""
    members = tuple(
        Validator(name, VALIDATOR_KEYS[name].public_key, TRANSPORT_KEYS[name].public_key, "") for name in ORGANISATIONS
    )
    participants = tuple(
        Participant(name, name, TRAINER_KEYS[name].public_key, ("trainer",)) for name in sorted(ORGANISATIONS)
    )
    learning = LearningGenesis(participants, (task,))
    return GenesisDocument("toy", 1_700_000_000_000, ValidatorSet.of(members), ConsensusParameters(), learning)


@dataclass
class SingleNode:
    """The node."""

    genesis: GenesisDocument
    store: Store
    chain: Chain
    mempool: Mempool
    payloads: PayloadStore
    stuck: str = ""
    holding: bool = False
    """While set, submitted transactions wait."""

    ahead_ms: int = 0
    """How far the node's clock is ahead."""

    acknowledging: bool = True
    """While not set, no quorum keeps a payload."""

    appended: asyncio.Event = field(default_factory=asyncio.Event)
    published: list[Digest] = field(default_factory=list)
    sealing: list[asyncio.Future[None]] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    metrics: NodeMetrics = field(default_factory=NodeMetrics)

    @property
    def chain_id(self) -> Digest:
        return self.genesis.chain_id

    @property
    def publisher(self) -> SingleNode:
        return self

    def state(self) -> StateMap:
        return self.chain.state

    def validators(self) -> ValidatorSet:
        return self.chain.validators

    def next_free_nonce(self, sender: bytes) -> int:
        return self.mempool.next_free_nonce(self.chain.state, sender)

    def status(self) -> NodeStatus:
        return NodeStatus(
            name="alpha",
            chain_id=self.chain_id.hex(),
            version="0",
            height=self.chain.height,
            tip_id=self.chain.tip_id.hex(),
            tip_time_ms=self.chain.tip_time_ms,
            view=0,
            validator=True,
            boot_epoch=self.store.boot_epoch,
            peers=(PeerLink(name="beta", connected=True), PeerLink(name="gamma", connected=False)),
            mempool_transactions=len(self.mempool),
            mempool_bytes=self.mempool.size_bytes,
            stuck=self.stuck,
        )

    def waiting(self, limit: int) -> list[bytes]:
        return self.mempool.raws(limit)

    async def submit(self, raw: bytes) -> Digest:
        identity, _ = self.mempool.add(raw, self.chain.state)
        if not self.holding:
            self.sealing.append(asyncio.ensure_future(self.seal()))
        return identity

    async def wait_for_block(self, height: Height) -> None:
        while self.chain.height < height:
            await self.appended.wait()

    async def publish(self, descriptor: PayloadDescriptor) -> AvailabilityCertificate:
        if not self.acknowledging:
            await asyncio.get_running_loop().create_future()
        acknowledgement = Acknowledgement(descriptor, self.payloads.verdict(descriptor.id))
        seals = [
            sign_acknowledgement(VALIDATOR_KEYS[name], self.chain_id, self.validators(), acknowledgement)
            for name in ORGANISATIONS[:3]
        ]
        self.published.append(descriptor.id)
        return AvailabilityCertificate(acknowledgement, tuple(sorted(seals, key=lambda seal: seal.validator)))

    async def obtain(self, descriptor: PayloadDescriptor) -> None:
        assert self.payloads.has(descriptor.id), "a single node has everything that there is"

    def forget(self) -> None:
        """Lose what waits, as a restart does, and go on."""
        self.mempool = Mempool(FederatedLearning(), self.chain_id, MempoolLimits())
        self.holding = False

    def force_close(self) -> None:
        """Let the time of the open round be over: the next block is as late as its deadline."""
        self.ahead_ms += 1_000_000

    async def seal(self) -> None:
        """Append a block with what waits, and one more for each round that it closes."""
        async with self.lock:
            while raws := [*self.mempool.select(self.chain.state, 100, 500_000), *await self._claims()]:
                self._append(raws)
            due = FederatedLearning().due_ms(self.chain.state)
            if due is not None and due <= self._now_ms():
                self._append([])
                self._append(await self._claims())

    def _now_ms(self) -> int:
        return time_ns() // 1_000_000 + self.ahead_ms

    def _append(self, raws: list[bytes]) -> None:
        execution = self.chain.build(
            raws, self._now_ms(), 0, is_verified=lambda _: False, on_invalid=self.mempool.discard
        )
        block, height = execution.block, self.chain.next_height
        seals = [
            sign_vote(VALIDATOR_KEYS[name], self.chain_id, COMMIT, height, View(0), self.validators(), block.id)
            for name in ORGANISATIONS[:3]
        ]
        certified = CertifiedBlock(block, make_certificate(height, View(0), block.id, seals))
        self.chain.append(certified, is_verified=lambda _: False)
        self.mempool.prune(self.chain.state)
        self.metrics.take_block(execution)
        self.appended.set()
        self.appended = asyncio.Event()

    async def _claims(self) -> list[bytes]:
        key, members, claims = VALIDATOR_KEYS["alpha"], self.validators(), []
        for job in closed_jobs(self.chain.state):
            base = None if job.base.payload is None else await self._read(job.base.payload)
            updates = [await self._read(update.payload) for update in job.updates]
            earlier = [None if one.payload is None else await self._read(one.payload) for one in job.earlier]
            computed = compute(job, base, updates, earlier)
            await self.payloads.add(computed.model_payload, owner="")
            seals = [
                sign_result(VALIDATOR_KEYS[name], self.chain_id, members, computed.result) for name in ORGANISATIONS[:3]
            ]
            claim = AggregateClaim(computed.result, tuple(sorted(seals, key=lambda seal: seal.validator)))
            nonce = next_nonce(self.chain.state, key.public_key)
            claims.append(encode(sign_transaction(key, self.chain_id, "aggregate", nonce, claim)))
        return claims

    async def _read(self, descriptor: PayloadDescriptor) -> bytes:
        return await self.payloads.read(descriptor.id, 0, descriptor.size)


@dataclass
class Served:
    """A node with its HTTP API."""

    node: SingleNode
    server: ApiServer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"


@asynccontextmanager
async def opened(directory: Path, task: TaskSpec | None = None) -> AsyncIterator[SingleNode]:
    """Open a node in a directory, new or used before."""
    genesis = document(toy_task() if task is None else task)
    application = FederatedLearning()
    payloads = await PayloadStore.open(directory / "payloads", bytes_max=1 << 28)
    with Store.open(directory, genesis.chain_id) as store:
        chain = Chain(store, application, genesis.chain_id, initial_state(genesis), genesis.time_ms)
        mempool = Mempool(application, genesis.chain_id, MempoolLimits())
        node = SingleNode(genesis, store, chain, mempool, payloads)
        try:
            yield node
        finally:
            await asyncio.gather(*node.sealing)
            await payloads.close()


@asynccontextmanager
async def served(
    directory: Path, task: TaskSpec | None = None, *, port: int = 0, read: ReadAccess = "open"
) -> AsyncIterator[Served]:
    """Open a node in a directory and serve its API on loopback."""
    async with opened(directory, task) as node:
        server = ApiServer(node, node.metrics, port=port, rules=Rules(read, TokenBook(directory)))
        await server.start()
        serving = Served(node, server)
        try:
            yield serving
        finally:
            await serving.server.stop()
