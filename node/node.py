"""One institution's node: all parts put together. One law: what starts last stops first."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from time import perf_counter, time_ns
from typing import Final

import structlog

from fl.application import FederatedLearning
from genesis.document import GenesisDocument, initial_state
from ledger.block import CertifiedBlock
from ledger.digest import Digest
from ledger.execution import Execution
from ledger.fields import Height
from ledger.identity import SigningKey
from ledger.state_map import StateMap
from ledger.transaction import transaction_id
from ledger.validators import Validator, ValidatorSet
from node.api.access import Rules
from node.api.server import ApiServer
from node.background import apart_in
from node.blocks import BlockExchange
from node.chain import Chain
from node.config import Config
from node.core import NO_RECORDER, Core
from node.listening import listening
from node.lost_models import lost_models
from node.mempool import Mempool, MempoolLimits
from node.metrics import NodeMetrics
from node.observation import CannotObserveError, Observation
from node.own_keys import are_seated_next
from node.payloads import PayloadExchange, PayloadStore
from node.recording import FileRecorder, Recorder
from node.site_policies import SitePolicies, load_site_policies
from node.standing import status_of
from node.store import Store
from node.sync.snapshot import Snapshot
from node.tls import TransportIdentity
from node.tokens import TokenBook
from node.transport import Transport, Worth
from node.twin import TwinWatch
from node.view import NodeStatus
from node.wire import Channel

SYNC_THREADS: Final = 2
"""Threads that check what peers send while this node catches up, and has nothing better to do."""

COMMITS_REMEMBERED: Final = 256
"""Own transactions whose latency is averaged."""

RECENT_BYTES_MAX: Final = 256 << 20
"""Memory for payload chunks that have just come, for as long as they keep coming."""

log = structlog.get_logger(__name__)


def clock_ms() -> int:
    """Milliseconds since 1970-01-01 UTC by this machine's clock."""
    return time_ns() // 1_000_000


class Node:
    """A node: `start`, `wait` (until it fails or is cancelled), `stop`."""

    def __init__(
        self,
        config: Config,
        document: GenesisDocument,
        key: SigningKey,
        identity: TransportIdentity,
        *,
        observe_first: bool = False,
    ) -> None:
        """Open the store and take up the chain where it is.

        Args:
            config: the node's settings.
            document: the genesis document.
            key: the validator's signing key.
            identity: its TLS key and certificate.
            observe_first: the data directory was lost or restored: sign nothing before a block of after this start.

        Raises:
            StoreError: the data directory cannot be used; the message says what to do.
            CannotObserveError: the others are too few for a quorum.
        """
        self.config: Final = config
        self.document: Final = document
        self.chain_id: Final[Digest] = document.chain_id
        own_policies = load_site_policies(config.policies.directory)
        self.store: Final = Store.open(config.node.data_dir, self.chain_id)
        self.application: Final = FederatedLearning()
        self.chain: Final = Chain(
            self.store,
            self.application,
            self.chain_id,
            initial_state(document),
            document.time_ms,
            blocks_kept=config.storage.blocks_kept,
        )
        self._site_policies = SitePolicies(own_policies, config.node.name, self.application, self.chain, clock_ms)
        self.mempool: Final = Mempool(self.application, self.chain_id, _limits(config))
        self.transport: Final = Transport(
            identity,
            self.chain_id,
            self.chain.validators,
            self._on_frame,
            listen=(config.peer.host, config.peer.port),
            boot_epoch=self.store.boot_epoch,
            addresses=config.peers,
            on_peer_connected=self._on_peer_connected,
        )
        self.key: Final = key
        self.rotated: Final = asyncio.Event()
        """Set once the chain seats keys that wait on this node's disk: it must go on with them."""

        self._started = AsyncExitStack()
        self._started.callback(self.store.close)
        self._observation = Observation(self.store)
        if observe_first or self._observation.is_due:
            self._begin_observation()
        self._twins = self._twin_watch(identity)
        self.transport.add_routes(self._twins.routes())
        self._sync_threads = ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="sync")
        self._started.callback(self._sync_threads.shutdown, wait=False, cancel_futures=True)
        self._blocks = BlockExchange(self.transport, self.store, apart=apart_in(self._sync_threads))
        self._tasks: list[asyncio.Task[None]] = []
        self._appended = asyncio.Event()
        self.metrics: Final = NodeMetrics()
        self._queued_at: dict[Digest, float] = {}
        self.commit_ms: deque[float] = deque(maxlen=COMMITS_REMEMBERED)

    async def start(self) -> None:
        """Start everything, peers first and the HTTP API last."""
        started = self._started
        await self._twins.look()
        data_dir, quota = self.config.node.data_dir, self.config.payloads.quota_bytes_max
        self.payload_store = await PayloadStore.open(
            data_dir / "payloads", bytes_max=quota, recent_bytes_max=RECENT_BYTES_MAX
        )
        started.push_async_callback(self.payload_store.close)
        self._assemble()
        peer, api = self.config.peer, self.config.api
        with listening("peer.port", peer.host, peer.port):
            await self.transport.start()
        started.push_async_callback(self.transport.stop)
        await self.core.start()
        started.push_async_callback(self.core.stop)
        for job in lost_models(self.store, self.chain.state, self.payload_store):
            log.warning("model.lost", task=job.spec.id, round=job.round.number, remedy="it is computed again")
            self.results.restore(job)
        self.api = self._api_server()
        with listening("api.port", api.host, api.port):
            await self.api.start()
        started.push_async_callback(self.api.stop)
        self._tasks = [asyncio.create_task(part) for part in (*self.core.parts(), self._twins.run())]
        started.push_async_callback(self._cancel_tasks)
        if self._observation.until_ms is not None:
            log.warning("observation.begun", signs_nothing_until_block_of_ms=self._observation.until_ms)
        log.info("node.started", chain=self.chain_id.hex(), height=self.chain.height, peer_port=self.transport.port)

    def _api_server(self) -> ApiServer:
        api, context = self.config.api, None
        if api.tls_certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(api.tls_certificate, api.tls_key)
        tokens = TokenBook(self.config.node.data_dir, on_fault=lambda fault: log.error("tokens.fault", fault=fault))
        rules = Rules(api.read_access, tokens)
        return ApiServer(self, self.metrics, host=api.host, port=api.port, tls=context, rules=rules)

    def _assemble(self) -> None:
        self.core = Core(
            self.config.node.name,
            self.key,
            self.application,
            store=self.store,
            chain=self.chain,
            mempool=self.mempool,
            payload_store=self.payload_store,
            links=self.transport,
            blocks=self._blocks,
            observation=self._observation,
            metrics=self.metrics,
            clock_ms=clock_ms,
            on_block=self._on_block,
            on_snapshot=self._on_snapshot,
            snapshot_use=self.config.sync.snapshot,
            on_members=self._on_members,
            on_cost=self.transport.charge,
            on_garbage=self.transport.blame,
            recorder=self._recorder(),
            aggregation=self.config.aggregation,
        )
        self.driver, self.results, self.exchange = self.core.driver, self.core.results, self.core.exchange

    def _recorder(self) -> Recorder:
        bytes_max = self.config.recording.bytes_max
        if not bytes_max:
            return NO_RECORDER
        recorder = FileRecorder(self.config.node.data_dir / "recording", bytes_max)
        self._started.callback(recorder.close)
        return recorder

    async def wait(self) -> None:
        """Wait until a part fails.

        Raises:
            DivergedError: this node executes blocks differently from a quorum.
            StoreError: the disk no longer takes what must be kept.
            TwinError: another process runs with this node's keys.
        """
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Stop what was started, last first, and leave the disk as it is meant to be found."""
        await self._started.aclose()
        log.info("node.stopped", height=self.chain.height)

    async def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def submit(self, raw: bytes) -> Digest:
        """Queue a transaction here and tell the peers; return its id.

        Raises:
            MempoolError: it cannot be queued.
            RefusalError: the application does not let it wait.
        """
        self._site_policies.require_allowed(raw)
        identity, new = self.core.submit(raw)
        if new:
            self._queued_at[identity] = perf_counter()
        return identity

    @property
    def payloads(self) -> PayloadStore:
        """Updates and models on this node's disk."""
        return self.payload_store

    @property
    def publisher(self) -> PayloadExchange:
        """Spreads payloads."""
        return self.exchange

    @property
    def observing_until_ms(self) -> int | None:
        """Until when the node signs nothing, for having been started with `observe_first`; None: it signs."""
        return self._observation.until_ms

    def state(self) -> StateMap:
        """Return the state after the last block."""
        return self.chain.state

    def validators(self) -> ValidatorSet:
        """Return the set that decides the next height."""
        return self.chain.validators

    def next_free_nonce(self, sender: bytes) -> int:
        """Return the first nonce of `sender` that is neither used nor waiting."""
        return self.mempool.next_free_nonce(self.chain.state, sender)

    def waiting(self, limit: int) -> list[bytes]:
        """Return transactions that wait for a block, at most `limit`."""
        return self.mempool.raws(limit)

    def status(self) -> NodeStatus:
        """Tell how the node is doing."""
        return status_of(self)

    async def wait_for_block(self, height: Height) -> None:
        """Return once the block at `height` has been appended; cancel to give up."""
        while self.chain.height < height:
            await self._appended.wait()

    def _begin_observation(self) -> None:
        try:
            self._observation.begin(clock_ms(), self.chain.parameters, self.chain.validators)
        except CannotObserveError:
            self.store.close()
            raise

    def _twin_watch(self, identity: TransportIdentity) -> TwinWatch:
        index = self.chain.validators.index_of(self.key.public_key)
        own = None if index is None else self.chain.validators.members[index]
        return TwinWatch(identity, own, "" if own is None else self.transport.address_of(own))

    def _on_frame(self, peer: int, channel: Channel, data: bytes) -> Worth:
        carrier = self.transport.carrier
        own = carrier == self.transport.key_of(peer)
        return self.core.on_frame(peer, channel, data, via=carrier, is_own=own)

    def _on_peer_connected(self, peer: int) -> None:
        self.core.on_peer_connected(peer)

    def _on_members(self, validators: ValidatorSet, guests: tuple[Validator, ...]) -> None:
        self.transport.update_validators(validators, guests)
        index = validators.index_of(self.key.public_key)
        own = None if index is None else validators.members[index]
        if are_seated_next(self.config, validators):
            self.rotated.set()
        self._twins.watch(own, "" if own is None else self.transport.address_of(own))

    def _on_block(self, certified: CertifiedBlock, execution: Execution) -> None:
        self.metrics.take_block(execution)
        for receipt in execution.receipts if not self.driver.is_catching_up else ():
            for event in receipt.events:
                log.info("event", height=certified.block.header.height, kind=event.kind, subject=event.subject)
                if event.kind == "round.certified" and self.results.seconds_last:
                    self.metrics.aggregation.observe(self.results.seconds_last)
        for raw in certified.block.transactions:
            queued = self._queued_at.pop(transaction_id(raw), None)
            if queued is not None:
                self.commit_ms.append(1000 * (perf_counter() - queued))
        if len(self._queued_at) > len(self.mempool):
            self._queued_at = {key: at for key, at in self._queued_at.items() if key in self.mempool}
        self._appended.set()
        self._appended = asyncio.Event()

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        self.metrics.snapshots.inc()
        log.warning("snapshot.in_force", height=snapshot.height, blocks_from=self.store.blocks_from)
        self._appended.set()
        self._appended = asyncio.Event()


def _limits(config: Config) -> MempoolLimits:
    mempool = config.mempool
    return MempoolLimits(mempool.transactions_max, mempool.bytes_max, mempool.transactions_per_sender_max)
