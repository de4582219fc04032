"""One node of a run. One law: its process may end between any two effects, and comes back with its disk alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar

from fl.application import FederatedLearning
from ledger.block import CertifiedBlock
from ledger.digest import Digest
from ledger.execution import Execution
from ledger.fields import Height
from ledger.identity import SigningKey
from ledger.state_map import StateMap
from node.blocks import BlockExchange
from node.chain import Chain
from node.core import Core
from node.mempool import Mempool, MempoolLimits
from node.metrics import NodeMetrics
from node.observation import Observation
from node.payloads import PayloadStore
from node.recording import Recorder
from node.sync.snapshot import Snapshot
from node.transport import GarbageFrameError
from node.wire import Channel
from tests.simulation.whole.disk import Disk, DiskFiles, DiskStore
from tests.simulation.whole.links import Air, AirLinks
from tests.simulation.whole.loop import OWNER, PowerCutError, VirtualLoop
from tests.simulation.whole.trainer import train

if TYPE_CHECKING:
    from genesis.document import GenesisDocument
    from tests.simulation.whole.lies import Lie

P = ParamSpec("P")
T = TypeVar("T")
APPLICATION: Final = FederatedLearning()
QUOTA_BYTES: Final = 1 << 24
LIMITS: Final = MempoolLimits(transactions_max=200, bytes_max=1 << 20, transactions_per_sender_max=20)


class World(Air, Protocol):
    """What a site may ask of its world."""

    loop: VirtualLoop
    document: GenesisDocument
    genesis_state: StateMap
    crash_points: int
    payloads: dict[Digest, bytes]

    def trace(self, site: Site, what: str) -> None:
        """Write down what happened."""

    def persisted(self, site: Site, record: bytes) -> None:
        """Tell which safety record is on the disk now."""

    def appended(self, site: Site, certified: CertifiedBlock) -> None:
        """Tell what has become part of a chain."""

    def started(self, site: Site, height: Height) -> None:
        """Tell where a process begins."""

    def garbage(self, sender: Site, receiver: Site, error: Exception) -> None:
        """Tell that a frame was none."""

    def sent(self, site: Site, channel: Channel, data: bytes) -> None:
        """Tell what a node says."""

    def recorder_of(self, site: Site) -> Recorder:
        """Return who is told of a process's steps."""
        ...

    def met(self, site: Site) -> None:
        """Connect a process that has just started with the others."""


class Site:
    """A node's identity, clock and disk; `process` is what runs now."""

    def __init__(
        self,
        world: World,
        name: str,
        index: int | None,
        key: SigningKey,
        trainer: SigningKey | None,
        *,
        skew_ms: int,
        fsync_us: int,
    ) -> None:
        self.world: Final = world
        self.name: Final = name
        self.index: Final = index
        self.key = key
        self.next_key: SigningKey | None = None
        """The node's, once the chain says so."""

        self.trainer: Final = trainer
        self.disk: Final = Disk()
        self.effects_left: int | None = None
        self.down_us = 0
        self.free_s = 0.0
        """Until then the process waits for its disk."""

        self.place = 0
        """Where partitions cut; twins share one."""

        self.process: Process | None = None
        self.truth: Lie
        """Passes everything on."""

        self.deceit: Lie | None = None
        self._skew_ms = skew_ms
        self._fsync_s = fsync_us / 1_000_000

    @property
    def is_up(self) -> bool:
        """Tell whether a process runs."""
        return self.process is not None

    @property
    def is_liar(self) -> bool:
        """Tell whether it lies, or would if it still had a seat."""
        return self.deceit is not None

    @property
    def lie(self) -> Lie:
        """What is between the node and the network now: whoever has lost its seat has nothing to lie with."""
        process = self.process
        if self.deceit is None or process is None:
            return self.truth
        return self.truth if process.chain.validators.index_of(self.key.public_key) is None else self.deceit

    @property
    def core(self) -> Core:
        """What runs now."""
        assert self.process is not None, "only a site that is up has a process"
        return self.process.core

    @property
    def is_in_batch(self) -> bool:
        """Tell whether it appends fetched blocks, which become durable together: all of them are kept elsewhere."""
        return self.process is not None and self.process.store.in_batch

    def now_ms(self) -> int:
        """What this node's clock shows."""
        return self.world.document.time_ms + 1_000 + round(self.world.loop.time() * 1_000) + self._skew_ms

    def start(self) -> None:
        """Start the process from what the disk holds."""
        self.free_s = 0.0
        try:
            self.process = Process(self)
            self.process.run()
        except PowerCutError:
            return
        self.world.met(self)

    def receive(self, sender: Site, channel: Channel, data: bytes) -> None:
        """Take a frame from the network."""
        if self.process is not None:
            self.process.within(self._take, sender, channel, data)

    def wait_for_disk(self) -> None:
        """Let a write take its time."""
        self.free_s = max(self.free_s, self.world.loop.time()) + self._fsync_s

    def die(self) -> None:
        """Cut the power."""
        process, self.process = self.process, None
        self.effects_left = None
        self.world.crash_points += 1
        self.world.trace(self, "power cut")
        self.disk.cut_power(self.world.dice)
        if process is not None:
            process.end()
        self.world.loop.call_later(self.down_us / 1_000_000, self.start)

    def renew(self) -> None:
        """Start again with the new key, as an operator does when the chain has taken it."""
        if self.process is None or self.next_key is None:
            return
        self.process.end()
        self.process, self.key, self.next_key = None, self.next_key, None
        self.start()

    def _take(self, sender: Site, channel: Channel, data: bytes) -> None:
        self.lie.hear(channel, data)
        try:
            self.core.on_frame(-1 if sender.index is None else sender.index, channel, data)
        except GarbageFrameError as error:
            self.world.garbage(sender, self, error)


def no_snapshot(snapshot: Snapshot) -> None:
    """Nobody prunes here, so nobody needs one."""
    raise AssertionError(f"a snapshot of height {snapshot.height} was taken, though every block can be had")


class Process:
    """One life of a site; whatever it began ends with it."""

    def __init__(self, site: Site) -> None:
        self.site: Final = site
        self.is_alive = True
        self.block: asyncio.Event = asyncio.Event()
        """Set with every block, and replaced."""

        self._tasks: Final[dict[asyncio.Task[Any], None]] = {}
        world, document = site.world, site.world.document
        disk = site.disk
        site.process = self
        self._recorder: Final = world.recorder_of(site)  # first, since the power may be cut at any effect below
        self.store: Final = DiskStore(disk, self.effect, self._on_durable)
        self.links: Final = AirLinks(world, site, self)
        files = DiskFiles(disk, self.effect)
        self.payload_store: Final = PayloadStore(
            files, files.open(), bytes_max=QUOTA_BYTES, owner_bytes_max=QUOTA_BYTES // 4
        )
        chain = Chain(self.store, APPLICATION, document.chain_id, world.genesis_state, document.time_ms)
        self.chain: Final = chain
        for record in self.store.safety(chain.next_height):
            world.persisted(site, record)
        world.started(site, chain.height)
        self.core: Final = self._call(
            Core,
            site.name,
            site.key,
            APPLICATION,
            store=self.store,
            chain=chain,
            mempool=Mempool(APPLICATION, document.chain_id, LIMITS),
            payload_store=self.payload_store,
            links=self.links,
            blocks=BlockExchange(self.links, self.store),
            observation=Observation(self.store),
            metrics=NodeMetrics(),
            clock_ms=site.now_ms,
            on_block=self._on_block,
            on_snapshot=no_snapshot,
            snapshot_use="never",
            monotonic_s=world.loop.time,
            recorder=self._recorder,
        )

    def run(self) -> None:
        """Set everything in motion."""
        self.spawn(self.core.start())
        for part in self.core.parts():
            self.spawn(part)
        if self.site.trainer is not None:
            self.spawn(train(self, self.site.trainer))

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin a task that ends with this process."""
        return self._call(self.site.world.loop.create_task, work)

    def within(self, call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T | None:
        """Call something on behalf of this process; None when that ended with its process."""
        try:
            return self._call(call, *args, **options)
        except PowerCutError:
            return None

    def _call(self, call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        context = copy_context()
        context.run(OWNER.set, self)
        return context.run(call, *args, **options)

    def name_of(self, peer: int) -> str:
        """Return who an index stands for, in the set in force here."""
        return self.chain.validators.members[peer].name

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Take a task that was made on this process's behalf."""
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def effect(self, what: str) -> None:
        """Stand between two effects, where the power may be cut.

        Raises:
            PowerCutError: it is.
        """
        if not self.is_alive:
            raise PowerCutError
        self.site.world.trace(self.site, what)
        if what.startswith("sync"):
            self.site.wait_for_disk()
        left = self.site.effects_left
        if left is None:
            return
        self.site.effects_left = left - 1
        if left <= 0:
            self.site.die()
            raise PowerCutError

    def say(self, channel: Channel, data: bytes) -> None:
        """Let the world check what is about to be sent."""
        self.site.world.sent(self.site, channel, data)

    def end(self) -> None:
        """Stop everything at once."""
        self.is_alive = False
        self._recorder.close()
        for task in list(self._tasks):
            task.cancel()

    def _on_durable(self, records: list[bytes]) -> None:
        for record in records:
            self.site.world.persisted(self.site, record)

    def _on_block(self, certified: CertifiedBlock, _: Execution) -> None:
        self.site.world.appended(self.site, certified)
        self.block.set()
        self.block = asyncio.Event()
