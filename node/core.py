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
from ledger.codec import CodecError
from ledger.digest import Digest
from ledger.execution import Execution
from ledger.fields import Height, View
from ledger.identity import SigningKey
from ledger.payload import PayloadDescriptor
from ledger.validators import Validator, ValidatorSet
from node.accusations import proof_of_messages, proof_of_results, proof_of_verdicts
from node.blocks import BlockExchange
from node.chain import Chain
from node.driver import Driver, SafetyStore
from node.mempool import Mempool, MempoolError
from node.metrics import NodeMetrics
from node.observation import Observation
from node.payloads import PayloadExchange, PayloadStore
from node.proposals import Proposals
from node.repetition import Repetition
from node.results import ResultBook
from node.steward import Steward
from node.sync.checking import CheckedBlock
from node.transport import GarbageFrameError, Links
from node.wire import Channel

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
        """Return a block with its commit certificate."""
        ...


class Network:
    """`node.driver.Network` over links."""

    def __init__(self, links: Links, blocks: BlockExchange, chain: Chain) -> None:
        """Put consensus frames on `links`, fetch blocks of `chain` through `blocks`."""
        self._links = links
        self._blocks = blocks
        self._chain = chain

    def broadcast(self, data: bytes) -> None:
        """Send a consensus message to all."""
        self._links.broadcast(Channel.CONSENSUS, data)

    def send(self, validator: int, data: bytes) -> None:
        """Send a consensus message to one."""
        self._links.send(validator, Channel.CONSENSUS, data)

    def fetch_blocks(
        self, first: Height, last: Height, validators: Sequence[int]
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[CheckedBlock]]]:
        """Give certified blocks from `first` on."""
        return self._blocks.fetch(first, last, validators, self._chain)

    def blame(self, validator: int, reason: str) -> None:
        """Ask this validator last for a while."""
        self._blocks.sources.blame(validator, reason)

    def missing(self, height: Height, gone: int) -> None:
        """Nobody gave the block at a height."""


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
        self._store.files.read_into(descriptor, offset, target)

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
        on_members: Callable[[ValidatorSet, tuple[Validator, ...]], None] = lambda *_: None,
        monotonic_s: Callable[[], float] = perf_counter,
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
            on_members: told who decides the next height, and which others may listen, whenever that changes.
            monotonic_s: measures how long things take.
        """
        self.key: Final = key
        self.store: Final = store
        self.chain: Final = chain
        self.mempool: Final = mempool
        self.observation: Final = observation
        self._links: Final = links
        self._blocks: Final = blocks
        self._on_block: Final = on_block
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
        )
        self.repetition: Final = Repetition(links, mempool, self.results, self._primary)
        self.proposals: Final = Proposals(chain, mempool, self.results, application, key, monotonic_s=monotonic_s)
        self.driver: Final = Driver(
            self._replica(),
            chain,
            self.proposals,
            Network(links, blocks, chain),
            store,
            clock_ms=clock_ms,
            on_appended=self._on_appended,
            on_evidence=lambda evidence: self.steward.accuse(proof_of_messages(evidence)),
            metrics=metrics,
        )

    async def start(self) -> None:
        """Go on with what was being fetched before a restart; the links carry by now."""
        await self.exchange.start()

    def parts(self) -> tuple[Coroutine[None, None, None], ...]:
        """Return what runs until it is cancelled or fails; errors as `Driver.run`."""
        return self.driver.run(), self.repetition.run(), self.steward.run()

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

    def on_frame(self, peer: int, channel: Channel, data: bytes) -> None:
        """Take a frame that came over the links.

        Raises:
            GarbageFrameError: no honest node sends it.
        """
        try:
            match channel:
                case Channel.CONSENSUS:
                    self.driver.take_message(data)
                case Channel.TRANSACTION:
                    self._take_transaction(data)
                case Channel.RESULT:
                    self.results.take_vote(data)
                case Channel.PAYLOAD:
                    self.exchange.on_frame(peer, data)
                case Channel.LEARNER:
                    self.steward.take_in_sync(data)
                case _:
                    assert_never(channel)
        except CodecError as error:
            raise GarbageFrameError(str(error)) from error

    def on_peer_connected(self, peer: int) -> None:
        """Say again to a peer what it may have missed."""
        self.exchange.on_peer_connected(peer)
        self.results.resend()
        self.repetition.tell(peer)

    def _take_transaction(self, raw: bytes) -> None:
        try:
            _, new = self.mempool.add(raw, self.chain.state)
        except (MempoolError, RefusalError) as error:
            if isinstance(error, MempoolError) and error.code == "transaction.malformed":
                raise GarbageFrameError(str(error)) from error
            log.debug("transaction.not_queued", error=str(error))
        else:
            if new:
                self.driver.look_for_work()

    def _replica(self) -> Replica:
        height = self.chain.next_height
        return Replica(
            self.chain.chain_id,
            self.key,
            self.chain.parameters,
            self.chain.validators,
            height=height,
            parent_id=self.chain.tip_id,
            safety=self.store.safety(height),
            boot_epoch=self.store.boot_epoch,
            tip=self.store.certified_block(self.chain.height),
            observe_until_ms=self.observation.until_ms,
            coming=self.chain.coming_validators,
        )

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
        self.steward.on_block()
        if execution.next_validators != self._members:
            self._members = execution.next_validators
            self.exchange.update_validators(execution.next_validators)
            self._blocks.sources.forget()
