"""The world: one heap of future actions, one network, one pair of dice. One law: no clock but its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from heapq import heappop, heappush
from random import Random

from consensus import CertifiedBlockReceived, FetchBlocks, FetchEnded, Notice, NoticeKind
from ledger.block import CertifiedBlock
from ledger.identity import SigningKey
from tests.simulation import toy
from tests.simulation.checkers import BrokenPromiseError, ChainChecker, SignatureLedger
from tests.simulation.liars import Liar, make_liars
from tests.simulation.node import Node
from tests.simulation.prosecutor import Prosecutor
from tests.simulation.scenario import US, Crash, Partition, Scenario
from tests.simulation.signatures import remembered

RECOVERY_US = 60_000 * US
"""Progress is due within so much virtual time after the faults stop."""

ACTIONS_MAX = 2_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    height: int
    trace: str
    """Digest of everything that happened, in order."""

    healed_us: int
    """When all was well again, after the faults had stopped."""

    messages: int
    crash_points: int
    """Power cuts between two effects."""


class Simulation:
    """One run."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.dice = Random(f"run {scenario.seed} {scenario.n}")
        self.now_us = 0
        self.slow_validation = scenario.slow_validation
        self.messages = 0
        self.crash_points = 0
        self.log: list[str] | None = None
        self.prosecutor: Prosecutor | None = None
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._trace = sha256()
        self._partitions = list(scenario.partitions)
        keys = toy.signing_keys(scenario.n)
        validators = toy.validator_set(keys)
        liars = dict(scenario.liars)
        self.honest = [
            Node(self, f"v{index}", key, validators, scenario.skew_ms[index], scenario.fsync_us[index])
            for index, key in enumerate(keys)
            if index not in liars
        ]
        follower_keys = [SigningKey(bytes([index]) * 32) for index in range(scenario.followers)]
        self.honest += [Node(self, f"follower{index}", key, validators, 0) for index, key in enumerate(follower_keys)]
        self.liars: list[Liar] = [
            liar for index, kind in liars.items() for liar in make_liars(self, kind, index, keys[index], validators)
        ]
        self.nodes: list[Node] = [*self.honest, *self.liars]
        self.signatures = SignatureLedger()
        self.chain = ChainChecker(validators)
        self.submitted: list[bytes] = []

    def run(self) -> Outcome:
        """Run until everything submitted is final everywhere, or a promise is broken."""
        with remembered():
            return self._run()

    def _run(self) -> Outcome:
        scenario = self.scenario
        for node in self.nodes:
            self.at(self.dice.randrange(200 * US), node.start)
        for number in range(scenario.transactions):
            self.at(self.dice.randrange(scenario.faulty_us), partial(self._submit, b"tx-%d" % number))
        for crash in scenario.crashes:
            self.at(crash.time_us, partial(self._plan, crash))
        self._run_until(scenario.faulty_us, lambda: False)
        self._heal()
        deadline_us = self.now_us + RECOVERY_US
        self._run_until(deadline_us, self._is_well)
        if not self._is_well():
            raise BrokenPromiseError(
                f"no progress in {RECOVERY_US // US} ms after the faults stopped: {self._summary()}"
            )
        self._require_bounded()
        healed_us = self.now_us - scenario.faulty_us
        return Outcome(self.chain.height, self._trace.hexdigest(), healed_us, self.messages, self.crash_points)

    # What nodes ask of the world

    def at(self, delay_us: int, action: Callable[[], None]) -> None:
        """Carry out `action` later; of two at the same time the one that was asked for first."""
        self._count += 1
        heappush(self._heap, (self.now_us + delay_us, self._count, action))

    def broadcast(self, node: Node, data: bytes) -> None:
        """Send to everybody with another identity."""
        for other in self.nodes:
            if other.index != node.index or other.index is None or self._is_echo(other):
                self._post(node, other, data)

    def _is_echo(self, node: Node) -> bool:
        """Tell whether relays bring a node's own words back to it."""
        return not isinstance(node, Liar) and self.dice.random() < self.scenario.duplicate / 2

    def send(self, node: Node, validator: int, data: bytes) -> None:
        """Send to one identity."""
        if validator == node.index:
            raise BrokenPromiseError(f"{node.name} sends to itself")
        for other in self.nodes:
            if other.index == validator:
                self._post(node, other, data)

    def fetch(self, node: Node, effect: FetchBlocks) -> None:
        """Answer with the blocks of the first source that has any."""
        if not effect.validators or node.index in effect.validators:
            raise BrokenPromiseError(f"{node.name} fetches from {effect.validators}")
        delay_us = self.dice.randrange(1, 50 * US)
        for validator in effect.validators:
            for other in self.nodes:
                if other.index != validator or not other.is_up or not self._can_pass(node, other):
                    continue
                blocks = other.disk.chain[effect.from_height - 1 : effect.to_height]
                if blocks:
                    self._feed(node, list(blocks[: self.dice.randint(1, 8)]), delay_us)
                    return
        node.later(delay_us, FetchEnded())

    def persisted(self, node: Node, record: bytes) -> None:
        """Note what an honest validator signed."""
        if not isinstance(node, Liar) and node.index is not None:
            self.signatures.persisted(node.index, record)

    def appended(self, node: Node, certified: CertifiedBlock) -> None:
        """Check what an honest node makes final."""
        if isinstance(node, Liar):
            return
        is_first = certified.block.header.height > self.chain.height
        self.chain.append(node.name, certified)
        if is_first and self.now_us < self.scenario.faulty_us and self.dice.random() < self.scenario.siege:
            end_us = min(self.scenario.faulty_us, self.now_us + 4_000 * US)
            self._partitions.append(Partition(self.now_us, end_us, frozenset({self._place(node)})))

    def trace(self, node: Node, what: object) -> None:
        """Write down what happened."""
        if isinstance(what, Notice) and what.kind is NoticeKind.SIGNED_ELSEWHERE and not isinstance(node, Liar):
            raise BrokenPromiseError(f"{node.name} takes its own words for somebody else's: {what.detail}")
        line = f"{self.now_us} {node.name} {what!r}"
        self._trace.update(line.encode())
        if self.log is not None:
            self.log.append(line)

    # Inside

    def _post(self, sender: Node, receiver: Node, data: bytes) -> None:
        if self.prosecutor is not None:
            self.prosecutor.hear(data)
        if not isinstance(sender, Liar) and sender.index is not None:
            self.signatures.sent(sender.index, data)
        self.messages += 1
        scenario, dice = self.scenario, self.dice
        is_faulty = self.now_us < scenario.faulty_us
        if not self._can_pass(sender, receiver) or (is_faulty and dice.random() < scenario.drop):
            return
        copies = 2 if is_faulty and dice.random() < scenario.duplicate else 1
        for _ in range(copies):
            delay_us = 1 + dice.randrange(scenario.delay_us)
            if is_faulty and dice.random() < scenario.slow:
                delay_us *= dice.randint(1, 100)
            self.at(delay_us, partial(self._deliver, sender, receiver, data))

    def _deliver(self, sender: Node, receiver: Node, data: bytes) -> None:
        if self._can_pass(sender, receiver):
            receiver.receive(data)

    def _can_pass(self, sender: Node, receiver: Node) -> bool:
        places = self._place(sender), self._place(receiver)
        return not any(partition.cuts(self.now_us, *places) for partition in self._partitions)

    def _place(self, node: Node) -> int:
        return self.nodes.index(node) % self.scenario.n

    def _feed(self, node: Node, blocks: list[CertifiedBlock], delay_us: int) -> None:
        for block in blocks:
            node.later(delay_us, CertifiedBlockReceived(block))
        node.later(delay_us, FetchEnded())

    def _submit(self, transaction: bytes) -> None:
        self.submitted.append(transaction)
        for node in self.nodes:
            if self.dice.random() < 0.9:
                self.at(self.dice.randrange(100 * US), partial(node.submit, transaction))

    def _plan(self, crash: Crash) -> None:
        node = self.nodes[crash.node % len(self.nodes)]
        if node.is_up and not isinstance(node, Liar):
            node.down_us = crash.down_us
            node.effects_left = crash.effects

    def _heal(self) -> None:
        for node in self.nodes:
            node.effects_left = None
            self.at(3_000 * US, partial(self._submit_again, node))

    def _submit_again(self, node: Node) -> None:
        for transaction in self.submitted:
            node.submit(transaction)

    def _is_well(self) -> bool:
        top = self.chain.height
        return set(self.submitted) <= self.chain.committed and all(
            node.is_up and node.disk.tip.height == top for node in self.honest
        )

    def _run_until(self, time_us: int, is_done: Callable[[], bool]) -> None:
        actions = 0
        while self._heap and self._heap[0][0] <= time_us:
            self.now_us, _, action = heappop(self._heap)
            action()
            actions += 1
            if actions > ACTIONS_MAX:
                raise BrokenPromiseError(f"{actions} actions: somebody talks without end: {self._summary()}")
            if actions % 16 == 0 and is_done():
                return
        self.now_us = time_us

    def _require_bounded(self) -> None:
        n = self.scenario.n
        for node in self.honest:
            if len(node.replica._early) > 8 * n or len(node.replica._catch_up._answered) > 2 * n:
                raise BrokenPromiseError(f"{node.name} keeps more than its slots")

    def _summary(self) -> str:
        return ", ".join(
            f"{node.name}: " + (f"height {node.replica.height} view {node.replica.view}" if node.is_up else "down")
            for node in self.nodes
        )
