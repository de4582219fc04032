"""What a node decides and remembers. One law: it touches the world through its ports alone.

Consensus, chain, mempool, proposals, results, payload exchange and repetition, put together over three ports: a store,
a clock, and links to the other validators. `node.node` gives it SQLite, the machine's clock and TLS; the simulator in
the tests gives it virtual ones, so that what is tested there is what runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from time import perf_counter
from typing import Final, Protocol, assert_never

import structlog

from consensus import Replica
from ledger.application import Application, RefusalError
from ledger.block import CertifiedBlock
from ledger.codec import CodecError, encode
from ledger.digest import Digest
from ledger.execution import Execution
from ledger.fields import Height, View
from ledger.identity import SigningKey
from ledger.payload import PayloadDescriptor
from ledger.reigns import set_of
from ledger.validators import Validator, ValidatorSet
from node.accusations import proof_of_messages, proof_of_results, proof_of_verdicts
from node.aggregation import DEFAULTS, Aggregation
from node.blocks import BlockExchange
from node.chain import Chain
from node.config import AggregationSection
from node.driver import Driver
from node.mempool import Mempool, MempoolError
from node.metrics import NodeMetrics
from node.network import SafetyStore
from node.observation import Observation
from node.payloads import PayloadExchange, PayloadStore
from node.proposals import Proposals
from node.recording import Beginning, NoRecorder, Recorder
from node.repetition import Repetition
from node.results import ResultBook
from node.standing import program_version
from node.steward import Steward
from node.sync.checking import CheckedBlock
from node.sync.headers import HeaderExchange
from node.sync.progress import SyncProgress
from node.sync.snapshot import Snapshot, Snapshots, SnapshotUse
from node.sync.state import StateExchange
from node.transport import GarbageFrameError, Links, Worth
from node.wire import Channel

_FALSE: Final = frozenset(
    {"transaction.bad_signature", "transaction.unknown_sender", "transaction.unknown_kind", "transaction.malformed"}
)
"""Reasons for which no honest node passes a transaction on."""
NO_RECORDER: Final = NoRecorder()

log = structlog.get_logger(__name__)


class CoreStore(SafetyStore, Protocol):
    """What a node must not forget, besides what `Chain` and `BlockExchange` keep there."""

    @property
    def boot_epoch(self) -> int:
        """How many times it has been opened, this time included."""
        ...

    def safety(self, height: Height) -> list[bytes]:
        """Return the safety records of a height in the order in which they were persisted."""
        ...

    def certified_block(self, height: Height) -> CertifiedBlock | None:
        """Return a block with its commit certificate; None when it is not here."""
        ...

    @property
    def blocks_from(self) -> Height:
        """The lowest height from which on every block is here."""
        ...

    def encoded_headers(self, from_height: Height, *, limit: int, bytes_max: int) -> list[bytes]:
        """Return encoded `CertifiedHeader`s from a height on, ascending, the first one always."""
        ...


class Network:
    """`node.driver.Network` over links."""

    def __init__(self, links: Links, blocks: BlockExchange, chain: Chain, snapshots: Snapshots) -> None:
        """Put consensus frames on `links`, fetch blocks of `chain` through `blocks`, or a snapshot instead."""
        self._links = links
        self._blocks = blocks
        self._chain = chain
        self._snapshots = snapshots

    def broadcast(self, data: bytes) -> None:
        """Send a consensus message to all."""
        self._links.broadcast(Channel.CONSENSUS, data)

    def send(self, validator: int, data: bytes) -> None:
        """Send a consensus message to one."""
        self._links.send(validator, Channel.CONSENSUS, data)

    def fetch_blocks(
        self, first: Height, last: Height, validators: Sequence[int]
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[CheckedBlock]]]:
        """Give certified blocks from `first` on; nobody is asked while a snapshot comes first."""
        asked = () if self._snapshots.comes_first else validators
        return self._blocks.fetch(first, last, asked, self._chain)

    def blame(self, validator: int, reason: str) -> None:
        """Ask this validator last for a while."""
        self._blocks.sources.blame(validator, reason)

    def missing(self, height: Height, gone: int) -> None:
        """Nobody gave the block at a height."""
        self._snapshots.missing(height, gone)


class Payloads:
    """`node.results.Payloads` over store and exchange."""

    def __init__(self, store: PayloadStore, exchange: PayloadExchange, owner: str) -> None:
        """Keep what this node makes under the name `owner`."""
        self._store = store
        self._exchange = exchange
        self._owner = owner

    async def obtain(self, descriptor: PayloadDescriptor) -> None:
        """Return once a payload is here, fetched from peers when it was not."""
        await self._exchange.obtain(descriptor)

    def read_into(self, descriptor: PayloadDescriptor, offset: int, target: memoryview) -> None:
        """Fill `target` with a payload's bytes from `offset` on; for worker threads."""
        self._store.read_into_blocking(descriptor, offset, target)

    async def keep(self, descriptor: PayloadDescriptor, payload: memoryview, chunk_hashes: bytes) -> None:
        """Store a payload durably."""
        await self._store.add_hashed(descriptor, payload, chunk_hashes, owner=self._owner)


class Core:
    """A node's parts in one event loop: `start`, then `parts` as tasks, then `stop`."""

    def __init__(  # noqa: PLR0913 - the ports, and what was made before them
        self,
        name: str,
        key: SigningKey,
        application: Application,
        *,
        store: CoreStore,
        chain: Chain,
        mempool: Mempool,
        payload_store: PayloadStore,
        links: Links,
        blocks: BlockExchange,
        observation: Observation,
        metrics: NodeMetrics,
        clock_ms: Callable[[], int],
        on_block: Callable[[CertifiedBlock, Execution], None],
        on_snapshot: Callable[[Snapshot], None],
        snapshot_use: SnapshotUse = "needed",
        on_members: Callable[[ValidatorSet, tuple[Validator, ...]], None] = lambda *_: None,
        monotonic_s: Callable[[], float] = perf_counter,
        on_cost: Callable[[bytes, float, Worth], None] = lambda *_: None,
        on_garbage: Callable[[bytes, str], None] = lambda *_: None,
        recorder: Recorder = NO_RECORDER,
        aggregation: AggregationSection = DEFAULTS,
    ) -> None:
        """Put the parts together; routes are registered at `links`, so before these start.

        Args:
            name: of the node; what it makes itself counts against this owner's quota.
            key: the validator's.
            application: gives transactions their meaning.
            store: keeps what must survive a crash.
            chain: as the store has it.
            mempool: transactions that wait.
            payload_store: keeps updates and models.
            links: reach the other validators.
            blocks: serves and fetches blocks over them.
            observation: until when this node signs nothing.
            metrics: counts.
            clock_ms: the time of day.
            on_block: told of every block that has become part of the chain.
            on_snapshot: told of every state that has taken the place of blocks.
            snapshot_use: when one may.
            on_members: told who decides the next height, and which others may listen, whenever that changes.
            monotonic_s: measures how long things take.
            on_cost, on_garbage: see `Driver`.
            recorder: told of every step of consensus.
            aggregation: how rounds are computed.
        """
        self.key: Final = key
        self.store: Final = store
        self.chain: Final = chain
        self.mempool: Final = mempool
        self.observation: Final = observation
        self._links: Final = links
        self.blocks: Final = blocks
        self._on_block: Final = on_block
        self._on_snapshot: Final = on_snapshot
        self._members = chain.validators
        self.steward: Final = Steward(
            key,
            chain,
            mempool,
            block_id_at=self._block_id_at,
            submit=self.submit,
            broadcast=lambda data: links.broadcast(Channel.LEARNER, data),
            on_members=on_members,
            clock_ms=clock_ms,
        )
        self.exchange: Final = PayloadExchange(
            links,
            payload_store,
            key,
            chain.chain_id,
            chain.validators,
            on_two_verdicts=lambda *words: self.steward.accuse(proof_of_verdicts(chain.next_height, *words)),
        )
        self.results: Final = ResultBook(
            key,
            chain.chain_id,
            Payloads(payload_store, self.exchange, name),
            broadcast=lambda data: links.broadcast(Channel.RESULT, data),
            on_certifiable=self._look_for_work,
            on_two_results=lambda *votes: self.steward.accuse(proof_of_results(chain.next_height, *votes)),
            aggregation=Aggregation(aggregation, payload_store.files.read_into),
        )
        self.repetition: Final = Repetition(links, mempool, self.results, self._primary)
        self.proposals: Final = Proposals(chain, mempool, self.results, application, key, monotonic_s=monotonic_s)
        self._recorder: Final = recorder
        self.sync: Final = SyncProgress(monotonic_s)
        self.snapshots: Final = self._snapshot_fetcher(snapshot_use)
        self.driver: Final = Driver(
            chain,
            self.proposals,
            Network(links, blocks, chain, self.snapshots),
            store,
            clock_ms=clock_ms,
            on_appended=self._on_appended,
            on_installed=self._on_installed,
            on_evidence=lambda evidence: self.steward.accuse(proof_of_messages(evidence)),
            metrics=metrics,
            on_cost=on_cost,
            on_garbage=on_garbage,
            recorder=recorder,
            make_replica=self._replica,
        )

    async def start(self) -> None:
        """Go on with what was being fetched before a restart; the links carry by now."""
        await self.exchange.start()

    def parts(self) -> tuple[Coroutine[None, None, None], ...]:
        """Return what runs until it is cancelled or fails; errors as `Driver.run`."""
        return self.driver.run(), self.repetition.run(), self.snapshots.run(), self.steward.run()

    async def stop(self) -> None:
        """Give up what is being computed and fetched."""
        await self.results.stop()
        await self.exchange.stop()

    def submit(self, raw: bytes) -> tuple[Digest, bool]:
        """Queue a transaction and tell the peers; return its id and whether it is new.

        Raises:
            MempoolError: it cannot be queued.
            RefusalError: the application does not let it wait.
        """
        identity, new = self.mempool.add(raw, self.chain.state)
        if new:
            self._links.broadcast(Channel.TRANSACTION, raw)
            self.driver.look_for_work()
        return identity, new

    def on_frame(self, peer: int, channel: Channel, data: bytes, *, via: bytes = b"", is_own: bool = False) -> Worth:
        """Take a frame that came over the links; tell what it was worth, as far as that is known by now.

        Args:
            peer: index of who is said to have sent it first.
            channel: what it is about.
            data: its content.
            via: the neighbour it came by.
            is_own: whether that neighbour is who sent it.

        Raises:
            GarbageFrameError: no honest node sends it.
        """
        try:
            match channel:
                case Channel.CONSENSUS:
                    self.driver.take_message(data, via, is_own=is_own)
                case Channel.TRANSACTION:
                    return self._take_transaction(data)
                case Channel.RESULT:
                    return Worth.USEFUL if self.results.take_vote(data) else Worth.KNOWN
                case Channel.PAYLOAD:
                    self.exchange.on_frame(peer, data)
                case Channel.LEARNER:
                    self.steward.take_in_sync(data)
                case _:
                    assert_never(channel)
        except CodecError as error:
            raise GarbageFrameError(str(error)) from error
        return Worth.USEFUL

    def on_peer_connected(self, peer: int) -> None:
        """Say again to a peer what it may have missed."""
        self.exchange.on_peer_connected(peer)
        self.results.resend()
        self.repetition.tell(peer)

    def _take_transaction(self, raw: bytes) -> Worth:
        try:
            _, new = self.mempool.add(raw, self.chain.state)
        except (MempoolError, RefusalError) as error:
            if error.code == "transaction.malformed" and isinstance(error, MempoolError):
                raise GarbageFrameError(str(error)) from error
            log.debug("transaction.not_queued", error=str(error))
            return Worth.FALSE if error.code in _FALSE else Worth.KNOWN
        if new:
            self.driver.look_for_work()
        return Worth.USEFUL if new else Worth.KNOWN

    def _replica(self) -> Replica:
        chain, height = self.chain, self.chain.next_height
        beginning = Beginning(
            program_version(),
            chain.chain_id,
            self.key.public_key,
            chain.parameters,
            chain.validators,
            height,
            chain.tip_id,
            tuple(self.store.safety(height)),
            self.store.boot_epoch,
            self.store.certified_block(chain.height),
            self.observation.until_ms,
            chain.coming_validators,
        )
        return self._recorder.begin(beginning, self.key)

    def _snapshot_fetcher(self, use: SnapshotUse) -> Snapshots:
        chain, links, blocks = self.chain, self._links, self.blocks
        headers = HeaderExchange(blocks.sources, self.store, self._set_bytes, apart=blocks.apart)
        states = StateExchange(blocks.sources, chain.kept_states, lambda: self.store.blocks_from, apart=blocks.apart)
        links.add_routes([*headers.routes(), *states.routes()])
        return Snapshots(
            headers,
            states,
            chain,
            use=use,
            height=lambda: chain.height,
            one_honest=lambda: chain.validators.faulty_max + 1,
            peers=lambda: [peer.index for peer in links.peers() if links.is_dialable(peer.index)],
            install=self._install,
            progress=self.sync,
        )

    async def _install(self, snapshot: Snapshot) -> bool:
        return await self.driver.install(snapshot)

    def _set_bytes(self, validators_hash: Digest) -> bytes | None:
        found = set_of(self.chain.state, validators_hash)
        return None if found is None else encode(found)

    def _block_id_at(self, height: Height) -> Digest | None:
        certified = self.store.certified_block(height)
        return None if certified is None else certified.block.id

    def _primary(self) -> int:
        return self.chain.validators.primary(self.chain.next_height, View(self.driver.view))

    def _look_for_work(self) -> None:
        self.driver.look_for_work()

    def _on_appended(self, certified: CertifiedBlock, execution: Execution) -> None:
        if self.observation.note_block(certified.block.header.time_ms):
            log.info("observation.ended", height=certified.block.header.height)
        self._on_block(certified, execution)
        self._follow_members()

    def _on_installed(self, snapshot: Snapshot) -> None:
        if self.observation.note_block(snapshot.certified.header.time_ms):
            log.info("observation.ended", height=snapshot.height)
        self._on_snapshot(snapshot)
        self._follow_members()

    def _follow_members(self) -> None:
        self.steward.on_block()
        members = self.chain.validators
        if members != self._members:
            self._members = members
            self.exchange.update_validators(members)
            self.blocks.sources.forget()
