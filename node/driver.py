"""The driver: carries a replica's effects out in the world and the world's events in. One law: one task owns the state.

Everything that changes replica, chain or mempool happens in the loop, event by event; callbacks from network, timers
and workers only queue events. `consensus` lists what a driver owes its replica.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic, thread_time
from typing import Final, assert_never

import structlog

from consensus import (
    AppendBlock,
    BlockAppended,
    BlockBuilt,
    BlockValidated,
    Broadcast,
    BuildBlock,
    CancelTimer,
    CertifiedBlockReceived,
    Drop,
    DropReason,
    Effect,
    Event,
    Evidence,
    FetchBlocks,
    FetchEnded,
    MessageReceived,
    Notice,
    Persist,
    Replica,
    Send,
    SetTimer,
    SnapshotInstalled,
    Standing,
    Started,
    TimerExpired,
    TimerKind,
    ValidateBlock,
    WorkArrived,
    WorkGone,
)
from ledger.block import CertifiedBlock
from ledger.execution import Execution, InvalidBlockError
from ledger.fields import Height
from node.chain import Chain
from node.fetched import FetchedBlocks
from node.inbox import Inbox, Letter
from node.metrics import NodeMetrics
from node.network import Network, SafetyStore
from node.proposals import Proposals
from node.recording import Recorder
from node.reports import Reports, worth_of
from node.sync.snapshot import Snapshot
from node.sync.sources import NobodyHasItError
from node.transport import Worth

log = structlog.get_logger(__name__)


class Driver:
    """Runs one replica."""

    def __init__(  # noqa: PLR0913 - its ports
        self,
        chain: Chain,
        proposals: Proposals,
        network: Network,
        safety: SafetyStore,
        *,
        clock_ms: Callable[[], int],
        on_appended: Callable[[CertifiedBlock, Execution], None],
        on_installed: Callable[[Snapshot], None],
        on_evidence: Callable[[Evidence], None] = lambda _: None,
        metrics: NodeMetrics,
        on_cost: Callable[[bytes, float, Worth], None] = lambda *_: None,
        on_garbage: Callable[[bytes, str], None] = lambda *_: None,
        recorder: Recorder,
        make_replica: Callable[[], Replica],
    ) -> None:
        """Put the parts together; `run` sets them in motion.

        Args:
            chain: builds, checks and appends blocks.
            proposals: knows what could stand in the next block.
            network: carries messages.
            safety: keeps what must survive a crash.
            clock_ms: the time of day.
            on_appended: told of every block that has become part of the chain.
            on_installed: told of every snapshot that has taken the place of blocks.
            on_evidence: told when a validator has signed two things of which an honest one signs one.
            metrics: counts what the replica reports.
            on_cost: told of the seconds of processor time that a neighbour's message took, and what it was worth.
            on_garbage: told of a neighbour that said as its own what no honest node says.
            recorder: told of every step.
            make_replica: makes one at the chain's next height, and begins the recorder's segment.
        """
        self._replica = make_replica()
        self._make_replica = make_replica
        self._recorder = recorder
        self._chain = chain
        self._proposals = proposals
        self._network = network
        self._safety = safety
        self._clock_ms = clock_ms
        self._on_appended = on_appended
        self._on_installed = on_installed
        self._metrics = metrics
        self.reports: Final = Reports(metrics, on_evidence, lambda: chain.validators, clock_ms)
        self._on_cost = on_cost
        self._on_garbage = on_garbage
        self._inbox = Inbox()
        self._internal: deque[Event] = deque([Started()])
        self._wake = asyncio.Event()
        self._timers: dict[TimerKind, asyncio.TimerHandle] = {}
        self._due: asyncio.TimerHandle | None = None
        self._workers: set[asyncio.Task[None]] = set()
        self._work_since_s: float | None = None
        self._fetched = FetchedBlocks()
        self._snapshots: deque[tuple[Snapshot, asyncio.Future[bool]]] = deque()

    @property
    def view(self) -> int:
        """View that the replica is in."""
        return self._replica.view

    @property
    def standing(self) -> Standing:
        """What the height that is being decided waits for."""
        return self._replica.standing()

    @property
    def is_catching_up(self) -> bool:
        """Tell whether the block that is being appended is one of many that were fetched."""
        return self._fetched.is_open and self._fetched.are_many

    @property
    def waiting_ms(self) -> int:
        """How long there has been work without a new block, whatever the clock does; 0 when there is none."""
        return 0 if self._work_since_s is None else int(1000 * (monotonic() - self._work_since_s))

    @property
    def waiting_bytes(self) -> int:
        """Size of the messages that wait for the replica."""
        return self._inbox.size_bytes

    def take_message(self, data: bytes, via: bytes = b"", *, is_own: bool = False) -> None:
        """Queue a consensus message; bounded, never blocks.

        Args:
            data: the message.
            via: the neighbour it came by, in whose queue it waits.
            is_own: whether that neighbour says that it wrote it.
        """
        if self._inbox.put(Letter(via, is_own, data)):
            self._wake.set()
        else:
            self._metrics.messages_dropped.labels("inbox-full").inc()

    def look_for_work(self) -> None:
        """Tell the replica whether a block could be built now; call whenever that may have changed."""
        if self._proposals.has_work(self._clock_ms()):
            self._work_since_s = monotonic() if self._work_since_s is None else self._work_since_s
            self._post(WorkArrived())
        elif self._work_since_s is not None:
            self._work_since_s = None
            self._post(WorkGone())

    async def install(self, snapshot: Snapshot) -> bool:
        """Put a verified state in the place of the blocks up to it; tell whether it did not come too late."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._snapshots.append((snapshot, done))
        self._wake.set()
        return await done

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            DivergedError: this node's execution differs from a quorum's.
            StoreError: the disk no longer takes what must be kept.
        """
        self.look_for_work()
        self._arm_due()
        try:
            while True:
                event = await self._next()
                if isinstance(event, Snapshot):
                    self._take_snapshot(event)
                elif event is None:
                    self._take_fetched()
                else:
                    self._step(event)
                await asyncio.sleep(0)  # lets sockets be read between two events
        finally:
            await self._stop()

    def _begin_anew(self) -> Event:
        """Go on with a new replica, as after a restart, so that a log can begin: nothing is signed at its height."""
        for kind in TimerKind:
            self._cancel(kind)
        self._replica = self._make_replica()
        return Started()

    async def _next(self) -> Event | Letter | Snapshot | None:
        """Return the next event; None when it is the turn of fetched blocks, which alternate with messages."""
        while True:
            if self._internal:
                return self._internal.popleft()
            if self._snapshots:
                return self._snapshots[0][0]
            if self._fetched.is_due(messages_wait=bool(self._inbox)):
                return None
            letter = self._inbox.take()
            if letter is not None:
                return letter
            self._wake.clear()
            await self._wake.wait()

    def _step(self, event: Event | Letter) -> None:
        if isinstance(event, BlockAppended) and self._may_begin_anew():
            event = self._begin_anew()
        effects = self._read(event) if isinstance(event, Letter) else self._stepped(event)
        for effect in effects:
            self._carry_out(effect)

    def _stepped(self, event: Event) -> list[Effect]:
        effects = self._replica.step(event)
        self._recorder.take(event, effects)
        return effects

    def _read(self, letter: Letter) -> list[Effect]:
        """Hand a message to the replica, on its neighbour's account."""
        began_s = thread_time()
        effects = self._stepped(MessageReceived(letter.data))
        self._on_cost(letter.via, thread_time() - began_s, worth_of(effects))
        for effect in effects:
            if isinstance(effect, Drop) and effect.reason is DropReason.MALFORMED and letter.is_own:
                self._on_garbage(letter.via, f"no consensus message: {effect.detail}")
        return effects

    def _may_begin_anew(self) -> bool:
        """Not while blocks wait to become durable, nor by a replica whose silence would be forgotten."""
        return self._recorder.is_full and not self._fetched.is_open and not self._replica.is_suspended

    async def _stop(self) -> None:
        for handle in self._timers.values():
            handle.cancel()
        if self._due is not None:
            self._due.cancel()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def _post(self, event: Event) -> None:
        self._internal.append(event)
        self._wake.set()

    def _spawn(self, work: Awaitable[None]) -> None:
        worker = asyncio.ensure_future(work)
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Persist(height, records):
                self._safety.persist_safety(height, records)
            case Broadcast(data):
                self._network.broadcast(data)
            case Send(validator, data):
                self._network.send(validator, data)
            case BuildBlock(height, view):
                execution = self._proposals.build(self._clock_ms()) if height == self._chain.next_height else None
                self._post(BlockBuilt(height, view, None if execution is None else execution.block))
            case ValidateBlock():
                self._validate(effect)
            case AppendBlock(certified):
                self._append(certified)
            case SetTimer(timer, delay_ms):
                self._cancel(timer.kind)
                loop = asyncio.get_running_loop()
                self._timers[timer.kind] = loop.call_later(delay_ms / 1000, self._post, TimerExpired(timer))
            case CancelTimer(kind):
                self._cancel(kind)
            case FetchBlocks():
                self._spawn(self._fetch(effect))
            case Drop() | Evidence() | Notice():
                self.reports.take(effect)
            case _:
                assert_never(effect)

    def _cancel(self, kind: TimerKind) -> None:
        handle = self._timers.pop(kind, None)
        if handle is not None:
            handle.cancel()

    def _validate(self, effect: ValidateBlock) -> None:
        block = effect.block
        try:
            if effect.fresh:
                self._proposals.require_fresh(block, self._clock_ms())
            self._proposals.check(block)
        except InvalidBlockError as error:
            self._answer(effect, ok=False, reason=str(error))
            return
        if self._proposals.claims_nothing(block):
            self._approve(effect)
        else:
            self._spawn(self._check_claims(effect))

    async def _check_claims(self, effect: ValidateBlock) -> None:
        reason = await self._proposals.wrong_claim(effect.block)
        if reason:
            self._answer(effect, ok=False, reason=reason)
        else:
            self._approve(effect)

    def _approve(self, effect: ValidateBlock) -> None:
        header = effect.block.header
        passes_over = self._proposals.passes_over(effect.block) if effect.fresh else ""
        height, block_id = Height(header.height), effect.block.id
        self._post(BlockValidated(height, effect.view, block_id, ok=True, passes_over=passes_over))

    def _answer(self, effect: ValidateBlock, *, ok: bool, reason: str) -> None:
        header = effect.block.header
        self._post(BlockValidated(Height(header.height), effect.view, effect.block.id, ok, reason))

    def _append(self, certified: CertifiedBlock) -> None:
        execution = self._proposals.append(certified, is_signed=self._fetched.is_signed)
        self._work_since_s = None
        self._on_appended(certified, execution)
        chain = self._chain
        appended = BlockAppended(
            chain.height, chain.tip_id, chain.validators, chain.parameters, coming=chain.coming_validators
        )
        self._internal.appendleft(appended)
        self._wake.set()
        if not self._fetched.is_open:
            self._look_around()

    def _look_around(self) -> None:
        self.look_for_work()
        self._arm_due()

    def _arm_due(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        due = self._proposals.due_ms()
        if due is not None:
            delay = max(0, due - self._clock_ms()) / 1000
            self._due = asyncio.get_running_loop().call_later(delay, self.look_for_work)

    async def _fetch(self, effect: FetchBlocks) -> None:
        parts = self._network.fetch_blocks(effect.from_height, effect.to_height, effect.validators)
        try:
            async with parts as fetched:
                async for part in fetched:
                    done = self._fetched.bring(part)
                    self._wake.set()
                    if not await done:
                        break
        except NobodyHasItError as error:
            log.info("blocks.not_fetched", first=self._chain.next_height, error=str(error))
            self._network.missing(self._chain.next_height, error.gone)
        self._post(FetchEnded())

    def _take_snapshot(self, snapshot: Snapshot) -> None:
        _, done = self._snapshots.popleft()
        chain = self._chain
        is_news = snapshot.height > chain.height
        if is_news:
            self._proposals.install(snapshot)
            self._on_installed(snapshot)
            in_force = (chain.validators, chain.parameters, chain.coming_validators)
            self._step(SnapshotInstalled(chain.height, chain.tip_id, chain.tip_time_ms, *in_force))
            self._look_around()
        if not done.done():
            done.set_result(is_news)

    def _take_fetched(self) -> None:
        """Append some of the fetched blocks, in one write to the disk."""
        with self._chain.batch():
            for block in self._fetched.some():
                self._step(CertifiedBlockReceived(block.certified, block.checked_for))
                while self._internal and isinstance(self._internal[0], BlockAppended):
                    self._step(self._internal.popleft())
                height = block.certified.block.header.height
                if self._chain.height < height:
                    self._fetched.refuse()
                    self._network.blame(block.peer, f"block {height} is not what the chain goes on with")
        log.info("blocks.fetched", height=self._chain.height, goal=self._replica.standing().goal)
        self._look_around()
