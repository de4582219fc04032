"""Replicas under a seeded schedule, each of their durable words and everything they send written down.

One law: what is on a disk is noted when it is there, what is sent when it leaves, and in that order they are replayed
against the specification. Messages are lost, repeated and reordered, timers expire at any time, disks lose the end of a
write, and liars sign whatever they like.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final

from consensus import (
    AppendBlock,
    BlockAppended,
    BlockBuilt,
    BlockValidated,
    Broadcast,
    BuildBlock,
    CancelTimer,
    Effect,
    Event,
    FetchBlocks,
    FetchEnded,
    MessageReceived,
    Persist,
    Replica,
    Send,
    SetTimer,
    Started,
    TimerExpired,
    TimerKind,
    ValidateBlock,
    WorkArrived,
    decode_message,
    encode_message,
)
from consensus.committee import Committee
from consensus.events import CertifiedBlockReceived
from consensus.messages import Commit, Message, Prepare, PrePrepare, ViewChange
from ledger.block import Block, CertifiedBlock
from ledger.certificate import COMMIT, PREPARE
from ledger.fields import Height, View
from ledger.validators import ValidatorSet
from tests.simulation import toy
from tests.specification.words import CHANGE, Memory, Move, Names, Said

KEYS: Final = toy.signing_keys(5)
FIRST: Final = (0, 1, 2, 3)
SECOND: Final = (1, 2, 3, 4)
HEIGHTS: Final = 3
VIEW_MAX: Final = 6
CHANGING: Final = b"change"
"""A transaction that replaces the first set by the second, two heights later."""


def validators_of(who: tuple[int, ...]) -> ValidatorSet:
    """Return the set of these."""
    everybody = toy.validator_set(list(KEYS)).members
    return ValidatorSet.of(tuple(everybody[place] for place in who))


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a recording."""

    what: Move | Said
    after: Memory | None = None
    """What is on the disk after a move."""


@dataclass(slots=True)
class Core:
    """One honest validator."""

    who: int
    replica: Replica | None = None
    records: list[bytes] = field(default_factory=list)
    chain: list[CertifiedBlock] = field(default_factory=list)
    timers: dict[TimerKind, SetTimer] = field(default_factory=dict)
    pending: list[Event] = field(default_factory=list)
    starts: int = 0

    @property
    def height(self) -> Height:
        return Height(len(self.chain) + 1)

    @property
    def tip(self) -> toy.Tip:
        return toy.after(self.chain[-1].block) if self.chain else toy.GENESIS


class Recording:
    """One run of all."""

    def __init__(self, seed: int, liars: frozenset[int]) -> None:
        self.entries: list[Entry] = []
        self.names: Final = Names()
        self._dice: Final = Random(f"specification {seed} {sorted(liars)}")
        self._liars: Final = liars
        self._sets: Final = (validators_of(FIRST), validators_of(SECOND))
        self._cores: Final = {who: Core(who) for who in range(len(KEYS)) if who not in liars}
        self._network: Final[list[tuple[int, bytes]]] = []
        self._said: Final[set[Said]] = set()
        self._blocks: Final[dict[int, list[Block]]] = {}

    def run(self, steps: int) -> Recording:
        """Take so many steps, or until all have decided."""
        for core in self._cores.values():
            self._start(core)
        for _ in range(steps):
            if all(core.height > HEIGHTS for core in self._cores.values()):
                break
            self._step()
        return self

    def _step(self) -> None:
        dice = self._dice
        luck, core = dice.random(), dice.choice([core for core in self._cores.values() if core.height <= HEIGHTS])
        if luck < 0.012:
            self._start(core)
        elif luck < 0.06 and core.timers:
            kind = dice.choice(sorted(core.timers, key=lambda kind: kind.value))
            if kind is not TimerKind.VIEW or self._replica(core).view < VIEW_MAX - 1:
                self._take(core, TimerExpired(core.timers.pop(kind).timer))
        elif luck < 0.10 and self._liars:
            self._lie()
        elif luck < 0.5 and core.pending:
            self._take(core, core.pending.pop(dice.randrange(len(core.pending))))
        elif self._network:
            place = dice.randrange(len(self._network))
            receiver, data = self._network[place] if dice.random() < 0.05 else self._network.pop(place)
            if dice.random() > 0.03 and receiver in self._cores:
                self._take(self._cores[receiver], MessageReceived(data))

    # One replica

    def _members(self, core: Core) -> ValidatorSet:
        changed = any(CHANGING in certified.block.transactions for certified in core.chain[:-1])
        return self._sets[changed]

    @staticmethod
    def _replica(core: Core) -> Replica:
        assert core.replica is not None, "it has been started"
        return core.replica

    def _start(self, core: Core) -> None:
        core.starts += 1
        core.timers, core.pending = {}, []
        core.replica = Replica(
            toy.CHAIN_ID,
            KEYS[core.who],
            toy.PARAMETERS,
            self._members(core),
            height=core.height,
            parent_id=core.tip.block_id,
            safety=core.records,
            boot_epoch=core.starts,
            tip=core.chain[-1] if core.chain else None,
        )
        self._take(core, Started())
        self._take(core, WorkArrived())

    def _take(self, core: Core, event: Event) -> None:
        if core.height > HEIGHTS:
            return None
        dying = self._dice.random() < 0.01
        effects = self._replica(core).step(event)
        lasts = self._dice.randrange(len(effects)) if dying and effects else len(effects)
        for number, effect in enumerate(effects):
            if number == lasts:
                if isinstance(effect, Persist):
                    self._write(core, effect.records[: self._dice.randint(0, len(effect.records))])
                return self._start(core)
            self._carry_out(core, effect)
        return None

    def _carry_out(self, core: Core, effect: Effect) -> None:
        match effect:
            case Persist(_, records):
                self._write(core, records)
            case Broadcast(data):
                self._send(core, [who for who in self._cores if who != core.who], data)
            case Send(validator, data):
                self._send(core, [self._who(core, validator)], data)
            case BuildBlock(height, view):
                core.pending.append(BlockBuilt(height, view, self._build(core)))
            case ValidateBlock(view, block, _):
                core.pending.append(BlockValidated(core.height, view, block.id, ok=True))
            case SetTimer(timer, _):
                core.timers[timer.kind] = effect
            case CancelTimer(kind):
                core.timers.pop(kind, None)
            case FetchBlocks(first, last, _):
                longest = max(self._cores.values(), key=lambda other: len(other.chain)).chain
                core.pending += [CertifiedBlockReceived(block) for block in longest[first - 1 : last]]
                core.pending.append(FetchEnded())
            case AppendBlock(certified):
                self._append(core, certified)
            case _:
                pass

    def _write(self, core: Core, records: tuple[bytes, ...]) -> None:
        index = self._members(core).index_of(KEYS[core.who].public_key)
        assert index is not None, "a follower signs nothing"
        for record in records:
            before = self.names.memory(core.height, index, core.records)
            core.records.append(record)
            after = self.names.memory(core.height, index, core.records)
            self.entries.append(Entry(self.names.move(core.who, record, before), after))

    def _append(self, core: Core, certified: CertifiedBlock) -> None:
        core.chain.append(certified)
        core.records.clear()
        core.pending.clear()
        block = certified.block
        self.entries.append(Entry(Move("decide", core.who, 0, self.names.of(block.id)), Memory(core.height)))
        if core.height <= HEIGHTS:
            self._take(core, BlockAppended(Height(block.header.height), block.id, self._members(core), toy.PARAMETERS))
            self._take(core, WorkArrived())

    def _build(self, core: Core) -> Block:
        changing = core.height == 1 and self._dice.random() < 0.7
        text = CHANGING if changing else f"{core.who}-{len(self.entries)}".encode()
        members = self._members(core)
        index = members.index_of(KEYS[core.who].public_key)
        assert index is not None, "a follower builds nothing"
        block = toy.build(core.tip, (text,), core.tip.time_ms + 10, members, index)
        self._blocks.setdefault(core.height, []).append(block)
        if changing:
            self.names.give(block.id, f"{CHANGE}{core.who}")
        return block

    # The network

    def _who(self, core: Core, index: int) -> int:
        return (SECOND if self._members(core) == self._sets[1] else FIRST)[index]

    def _send(self, core: Core, receivers: list[int], data: bytes) -> None:
        said = self.names.said(core.who, decode_message(data))
        if said is not None and said not in self._said:
            self._said.add(said)
            self.entries.append(Entry(said))
        self._network.extend((receiver, data) for receiver in receivers)

    def _lie(self) -> None:
        """Have one liar say one thing to one other: a proposal, a vote or a wish, whatever is true."""
        dice = self._dice
        liar, target = dice.choice(sorted(self._liars)), dice.choice(list(self._cores.values()))
        blocks = self._blocks.get(target.height, [])
        members = self._members(target)
        if target.height > HEIGHTS or members.index_of(KEYS[liar].public_key) is None:
            return None
        seat = Committee(toy.CHAIN_ID, members, KEYS[liar])
        height, view = target.height, View(dice.randint(0, 2))
        if members.primary(height, View(0)) == seat.me and dice.random() < 0.5:
            block = toy.build(target.tip, (b"lie-%d" % dice.randint(0, 1),), target.tip.time_ms + 10, members, seat.me)
            if block not in blocks:
                self._blocks.setdefault(height, []).append(block)
            seal = seat.seal_vote(PREPARE, height, View(0), block.id)
            return self._whisper(target, PrePrepare(height, View(0), block, seal, None))
        if blocks and dice.random() < 0.8:
            block = dice.choice(blocks)
            if dice.random() < 0.5:
                seal = seat.seal_vote(PREPARE, height, view, block.id)
                return self._whisper(target, Prepare(height, view, block.id, seal))
            return self._whisper(target, Commit(height, view, block.id, seat.seal_vote(COMMIT, height, view, block.id)))
        wanted = View(view + 1)
        return self._whisper(target, ViewChange(height, wanted, seat.seal_view_change(height, wanted, None), None))

    def _whisper(self, target: Core, message: Message) -> None:
        self._network.append((target.who, encode_message(message)))
