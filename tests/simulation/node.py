"""A node of the simulation: the driver of one replica, on a disk that forgets what was not synced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from consensus import (
    AppendBlock,
    BlockAppended,
    BlockBuilt,
    BlockValidated,
    Broadcast,
    BuildBlock,
    CancelTimer,
    Drop,
    Effect,
    Event,
    Evidence,
    FetchBlocks,
    MessageReceived,
    Notice,
    Persist,
    Replica,
    Send,
    SetTimer,
    Started,
    TimerExpired,
    TimerKind,
    ValidateBlock,
    WorkArrived,
    WorkGone,
)
from consensus.safety import RECORDS_MAX
from ledger.block import CertifiedBlock
from ledger.fields import Height
from ledger.identity import SigningKey
from ledger.validators import ValidatorSet
from tests.simulation import toy
from tests.simulation.checkers import BrokenPromiseError
from tests.simulation.scenario import US


class World(Protocol):
    """What a node may ask of its world."""

    dice: Random
    now_us: int
    slow_validation: float
    crash_points: int

    def at(self, delay_us: int, action: Callable[[], None]) -> None:
        """Carry out `action` later."""

    def broadcast(self, node: Node, data: bytes) -> None:
        """Give bytes to the network for everybody else."""

    def send(self, node: Node, validator: int, data: bytes) -> None:
        """Give bytes to the network for one."""

    def fetch(self, node: Node, effect: FetchBlocks) -> None:
        """Begin to fetch blocks."""

    def persisted(self, node: Node, record: bytes) -> None:
        """Tell what is on the disk now."""

    def appended(self, node: Node, certified: CertifiedBlock) -> None:
        """Tell what has become final."""

    def trace(self, node: Node, what: object) -> None:
        """Write down what happened."""


@dataclass(slots=True)
class Disk:
    """What a crash leaves: everything that was synced, and of what was not a beginning."""

    chain: list[CertifiedBlock] = field(default_factory=list)
    tip: toy.Tip = toy.GENESIS
    safety: list[bytes] = field(default_factory=list)
    boot_epoch: int = 0
    unsynced: list[bytes] = field(default_factory=list)

    def write(self, records: tuple[bytes, ...]) -> None:
        """Hand safety records to the disk's cache."""
        self.unsynced.extend(records)

    def sync(self) -> None:
        """Make what was written durable."""
        self.safety.extend(self.unsynced)
        self.unsynced.clear()

    def cut_power(self, dice: Random) -> None:
        """Lose what was not synced; a record that was torn by that counts for lost."""
        self.safety.extend(self.unsynced[: dice.randint(0, len(self.unsynced))])
        self.unsynced.clear()


class Node:
    """One process, which may die between any two effects and come back with its disk."""

    def __init__(
        self, world: World, name: str, key: SigningKey, validators: ValidatorSet, skew_ms: int, fsync_us: int = 0
    ) -> None:
        self.name = name
        self.key = key
        self.validators = validators
        self.index = validators.index_of(key.public_key)
        self.disk = Disk()
        self.is_up = False
        self.effects_left: int | None = None
        self.mempool: list[bytes] = []
        self.down_us = 0
        self._world = world
        self._skew_ms = skew_ms
        self._fsync_us = fsync_us
        self._free_us = 0
        self._life = 0
        self._timers: dict[TimerKind, int] = {}
        self._armed = 0
        self._replica: Replica | None = None

    @property
    def replica(self) -> Replica:
        """The process."""
        assert self._replica is not None, "only a node that is up has a process"
        return self._replica

    @property
    def now_ms(self) -> int:
        """What this node's clock shows."""
        return toy.GENESIS_TIME_MS + self._world.now_us // US + self._skew_ms

    def start(self) -> None:
        """Start the process from what the disk holds."""
        disk = self.disk
        disk.boot_epoch += 1
        self._life += 1
        self._note_safety()
        self._free_us = 0
        self.is_up = True
        self._timers = {}
        self._replica = Replica(
            toy.CHAIN_ID,
            self.key,
            toy.PARAMETERS,
            self.validators,
            height=Height(disk.tip.height + 1),
            parent_id=disk.tip.block_id,
            safety=disk.safety,
            boot_epoch=disk.boot_epoch,
            tip=disk.chain[-1] if disk.chain else None,
        )
        self.step(Started())
        self._tell_work()

    def crash(self) -> None:
        """Lose everything that is not on the disk."""
        self.disk.cut_power(self._world.dice)
        self.is_up = False
        self.effects_left = None
        self._replica = None
        self.mempool = []
        self._world.trace(self, "crash")
        self._world.at(self.down_us, self.start)

    def submit(self, transaction: bytes) -> None:
        """Queue a transaction."""
        if self.is_up and transaction not in self.mempool and not self._is_final(transaction):
            self.mempool.append(transaction)
            self._tell_work()

    def receive(self, data: bytes) -> None:
        """Take bytes from the network."""
        self.step(MessageReceived(data))

    def step(self, event: Event) -> None:
        """Step the replica and carry the effects out."""
        if not self.is_up:
            return
        if self._world.now_us < self._free_us:
            self.later(self._free_us - self._world.now_us, event)
            return
        self._world.trace(self, event)
        self._go_on(self.replica.step(event))

    def _go_on(self, effects: list[Effect]) -> None:
        for number, effect in enumerate(effects, 1):
            if self._dies(effect):
                return
            self._world.trace(self, effect)
            self._carry_out(effect)
            if self._fsync_us and isinstance(effect, Persist) and number < len(effects):
                self._wait_for_disk(effects[number:])
                return

    def _wait_for_disk(self, effects: list[Effect]) -> None:
        """Do nothing else until the disk is done, then go on."""
        self._free_us = self._world.now_us + self._fsync_us
        life = self._life

        def action() -> None:
            if self._life == life and self.is_up:
                self._go_on(effects)

        self._world.at(self._fsync_us, action)

    def later(self, delay_us: int, event: Event) -> None:
        """Step with `event` later, unless the process has died meanwhile."""
        life = self._life

        def action() -> None:
            if self._life == life:
                self.step(event)

        self._world.at(delay_us, action)

    def append(self, certified: CertifiedBlock) -> None:
        """Make a block final on this disk, and go on."""
        disk, block = self.disk, certified.block
        if block.header.parent_id != disk.tip.block_id:
            raise BrokenPromiseError(f"{self.name} is told to append block {block.header.height} out of order")
        self._world.appended(self, certified)
        disk.chain.append(certified)
        disk.tip = toy.after(block)
        disk.safety = []
        self.mempool = [raw for raw in self.mempool if raw not in block.transactions]
        self.step(BlockAppended(disk.tip.height, block.id, self.validators, toy.PARAMETERS))
        self._tell_work()

    def _dies(self, effect: Effect) -> bool:
        if self.effects_left is None:
            return False
        self.effects_left -= 1
        if self.effects_left >= 0:
            return False
        self._world.crash_points += 1
        if isinstance(effect, Persist):
            self.disk.write(effect.records)
        self.crash()
        return True

    def _carry_out(self, effect: Effect) -> None:
        dice = self._world.dice
        match effect:
            case Persist(height, records):
                assert height == self.replica.height
                self.disk.write(records)
                self.disk.sync()
                self._note_safety()
            case Broadcast(data):
                self._world.broadcast(self, data)
            case Send(validator, data):
                self._world.send(self, validator, data)
            case BuildBlock(height, view):
                raws = tuple(self.mempool[: toy.TRANSACTIONS_MAX])
                assert self.index is not None
                block = toy.build(self.disk.tip, raws, self.now_ms, self.validators, self.index) if raws else None
                self.later(dice.randrange(5 * US), BlockBuilt(height, view, block))
            case ValidateBlock(view, block, fresh):
                problem = toy.why_invalid(self.disk.tip, block, self.validators, self.now_ms if fresh else None)
                is_slow = dice.random() < self._world.slow_validation
                answer = BlockValidated(Height(block.header.height), view, block.id, not problem, problem)
                self.later(dice.randrange(1_500 * US if is_slow else 10 * US), answer)
            case AppendBlock(certified):
                self.append(certified)
            case SetTimer(timer, delay_ms):
                self._set_timer(TimerExpired(timer), timer.kind, delay_ms)
            case CancelTimer(kind):
                self._timers.pop(kind, None)
            case FetchBlocks():
                self._world.fetch(self, effect)
            case Drop() | Evidence() | Notice():
                pass

    def _set_timer(self, event: TimerExpired, kind: TimerKind, delay_ms: int) -> None:
        self._armed += 1
        armed, life = self._armed, self._life
        self._timers[kind] = armed

        def action() -> None:
            if self._life == life and self._timers.get(kind) == armed:
                del self._timers[kind]
                self.step(event)

        self._world.at(delay_ms * US, action)

    def _note_safety(self) -> None:
        """Tell the world what is on the disk, be it in time or by luck."""
        assert len(self.disk.safety) <= RECORDS_MAX
        for record in self.disk.safety:
            self._world.persisted(self, record)

    def _tell_work(self) -> None:
        if self.is_up:
            self.step(WorkArrived() if self.mempool else WorkGone())

    def _is_final(self, transaction: bytes) -> bool:
        return any(transaction in certified.block.transactions for certified in self.disk.chain)
