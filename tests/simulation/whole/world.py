"""One run of whole nodes. One law: the seed decides everything, as in the world of bare replicas."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Final

import structlog

from fl.state import present, task_of
from ledger.block import CertifiedBlock
from ledger.digest import Digest
from ledger.execution import next_nonce
from ledger.fields import Height
from ledger.identity import SigningKey
from ledger.payload import describe
from ledger.reigns import validators_of
from ledger.transaction import decode_transaction, transaction_id
from node.core import NO_RECORDER
from node.recording import FileRecorder, Recorder
from node.wire import Channel
from tests.simulation.checkers import BrokenPromiseError, SignatureLedger
from tests.simulation.scenario import US, Crash, Partition, Scenario
from tests.simulation.signatures import remembered
from tests.simulation.whole.changes import Changes
from tests.simulation.whole.checkers import StatementLedger, WholeChainChecker, require_bounded
from tests.simulation.whole.consortium import consortium_of
from tests.simulation.whole.lies import Lie, lie_of
from tests.simulation.whole.loop import VirtualLoop
from tests.simulation.whole.site import Site
from tests.simulation.whole.trainer import TASK, evaluate, payload_of
from tests.simulation.world import Outcome

RECOVERY_S: Final = 60.0
"""Progress is due within so much virtual time after the faults stop."""

LOOK_S: Final = 0.1
ROUNDS_KNOWN_MAX: Final = 60


class WholeSimulation:
    """One run."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.dice = Random(f"whole run {scenario.seed} {scenario.n}")
        self.log: list[str] | None = None
        self.record_to: Path | None = None
        self.record_bytes_max = 1 << 20
        self.messages = 0
        self.crash_points = 0
        self.loop = VirtualLoop()
        consortium = consortium_of(scenario.n)
        self.document, self.genesis_state = consortium.document, consortium.state
        self._trace = sha256()
        self._partitions = list(scenario.partitions)
        self._broken: BaseException | None = None
        self._final: list[tuple[str, bytes]] = []
        """Who said what last: encoded transactions."""

        self.payloads: dict[Digest, bytes] = {}
        liars = dict(scenario.liars)
        self.sites: list[Site] = []
        for index, (key, trainer) in enumerate(zip(consortium.keys, consortium.trainers, strict=True)):
            kind = liars.get(index)
            for twin in range(2 if kind == "twins" else 1):
                self._add(index, key, None if twin else trainer, kind, twin)
        for number in range(scenario.followers):
            self._add(None, SigningKey(bytes([number + 1]) * 32), None, None, number)
        self.honest: Final = [site for site in self.sites if not site.is_liar]
        self.signatures: Final = SignatureLedger()
        self.statements: Final = StatementLedger()
        self._know_payloads()
        self.chain: Final = WholeChainChecker(consortium, self.honest, self.payloads)
        self.changes: Final = Changes(self, consortium)

    def run(self) -> Outcome:
        """Run until all is final everywhere and a new model is certified, or a promise is broken."""
        state = random.getstate()
        random.seed(self.scenario.seed)  # jitter of the product
        try:
            with remembered(), quiet():
                return self.loop.run_until_complete(self._main())
        finally:
            random.setstate(state)
            self._end()

    # What sites ask of the world

    def can_pass(self, sender: Site, receiver: Site) -> bool:
        """Tell whether anything passes now."""
        if not self._partitions:
            return True
        now_us = round(self.loop.time() * 1_000_000)
        return not any(partition.cuts(now_us, sender.place, receiver.place) for partition in self._partitions)

    def round_trip_s(self) -> float | None:
        """Return how long a request takes; None when it breaks off."""
        if self._is_faulty and self.dice.random() < self.scenario.drop:
            return None
        return (1 + self.dice.randrange(self.scenario.delay_us)) / 1_000_000

    def post(self, sender: Site, receiver: Site, channel: Channel, data: bytes) -> None:
        """Carry a frame, or lose it."""
        self.messages += 1
        if channel is Channel.CONSENSUS:
            self.changes.hear(data)
        scenario, dice, faulty = self.scenario, self.dice, self._is_faulty
        if not self.can_pass(sender, receiver) or (faulty and dice.random() < scenario.drop):
            return
        now_s = self.loop.time()
        for _ in range(2 if faulty and dice.random() < scenario.duplicate else 1):
            delay_us = 1 + dice.randrange(scenario.delay_us)
            if faulty and dice.random() < scenario.slow:
                delay_us *= dice.randint(1, 100)
            wait_s = max(0.0, sender.free_s - now_s) + delay_us / 1_000_000
            self.loop.call_later(wait_s, self._deliver, sender, receiver, channel, data)

    def trace(self, site: Site, what: str) -> None:
        """Write down what happened."""
        line = f"{self.loop.time():.6f} {site.name} {what}"
        self._trace.update(line.encode())
        if self.log is not None:
            self.log.append(line)

    def persisted(self, site: Site, record: bytes) -> None:
        """Note what an honest validator signed."""
        if not site.is_liar and site.index is not None:
            self._checked(self.signatures.persisted, site.index, record)

    def appended(self, site: Site, certified: CertifiedBlock) -> None:
        """Check what an honest node makes final."""
        height = certified.block.header.height
        self.trace(site, f"block {height} {certified.block.id.hex()[:16]} of {len(certified.block.transactions)}")
        if site.is_liar:
            self.loop.call_soon(site.lie.block)
            return
        if site.next_key is not None and site.core.chain.validators.index_of(site.next_key.public_key) is not None:
            self.loop.call_soon(site.renew)
        is_first = height > self.chain.height
        self._checked(self.chain.append, site, certified)
        if is_first and self._is_faulty and self.dice.random() < self.scenario.siege:
            now_us = round(self.loop.time() * 1_000_000)
            end_us = min(self.scenario.faulty_us, now_us + 4_000 * US)
            self._partitions.append(Partition(now_us, end_us, frozenset({site.place})))

    def started(self, site: Site, height: Height) -> None:
        """Note where a process begins."""
        self.trace(site, f"start at {height}")
        if not site.is_liar:
            self._checked(self.chain.started, site, height)

    def met(self, site: Site) -> None:
        """Connect a process that has just started with the others."""
        for other in self.sites:
            if other is not site:
                self.loop.call_later(0.01, self._meet, site, other)
                self.loop.call_later(0.01, self._meet, other, site)

    def recorder_of(self, site: Site) -> Recorder:
        """Return who is told of a process's steps: with `record_to`, files."""
        if self.record_to is None:
            return NO_RECORDER
        return FileRecorder(self.record_to / site.name, self.record_bytes_max)

    def sent(self, site: Site, channel: Channel, data: bytes) -> None:
        """Check what an honest node says."""
        if site.is_liar or site.index is None:
            return
        if channel is Channel.CONSENSUS:
            self._checked(self.signatures.sent, site.index, data)
        else:
            self._checked(self.statements.sent, site, channel, data)

    def garbage(self, sender: Site, receiver: Site, error: Exception) -> None:
        """Note that a frame was none: only liars send such."""
        self.trace(receiver, f"garbage from {sender.name}")
        if not sender.is_liar:
            self._broken = self._broken or BrokenPromiseError(
                f"{sender.name} sends garbage to {receiver.name}: {error}"
            )

    # Inside

    @property
    def _is_faulty(self) -> bool:
        return self.loop.time() * 1_000_000 < self.scenario.faulty_us

    async def _main(self) -> Outcome:
        scenario, loop = self.scenario, self.loop
        for site in self.sites:
            loop.call_later(self.dice.random() * 0.2, self._start, site)
        for _ in range(scenario.transactions):
            loop.call_later(self.dice.randrange(scenario.faulty_us) / 1_000_000, self._submit)
        for crash in scenario.crashes:
            loop.call_later(crash.time_us / 1_000_000, self._plan, crash)
        for partition in scenario.partitions:
            loop.call_later(partition.end_us / 1_000_000 + 0.01, self._meet_again)
        for change in scenario.changes:
            loop.call_later(change.time_us / 1_000_000, self.changes.begin, change)
        faulty_s = scenario.faulty_us / 1_000_000
        await self._until(faulty_s, lambda: False)
        self._heal()
        models = self.chain.models
        await self._until(faulty_s + RECOVERY_S, lambda: self._is_well(models))
        if not self._is_well(models):
            raise BrokenPromiseError(
                f"no progress in {RECOVERY_S:.0f} s after the faults stopped: {self.chain.models - models} models, "
                f"{self._summary()}"
            )
        self._checked(require_bounded, self.honest, scenario.n)
        self._raise_if_broken()
        healed_us = round((loop.time() - faulty_s) * 1_000_000)
        return Outcome(Height(self.chain.height), self._trace.hexdigest(), healed_us, self.messages, self.crash_points)

    async def _until(self, time_s: float, is_done: Callable[[], bool]) -> None:
        done = self.loop.create_future()

        def look() -> None:
            if done.done():
                return
            if self._broken or self.loop.failure or self.loop.time() >= time_s or is_done():
                done.set_result(None)
            else:
                self.loop.call_later(min(LOOK_S, max(1e-6, time_s - self.loop.time())), look)

        look()
        await done
        self._raise_if_broken()

    def _raise_if_broken(self) -> None:
        if self._broken is not None:
            raise self._broken
        if self.loop.failure is not None:
            raise BrokenPromiseError(f"a part failed: {self.loop.failure!r}") from self.loop.failure

    def _checked(self, check: Callable[..., None], *args: object) -> None:
        """Call a checker; what it finds ends the run, whoever's code is on the stack."""
        try:
            check(*args)
        except BrokenPromiseError as error:
            self._broken = self._broken or error

    def _add(self, index: int | None, key: SigningKey, trainer: SigningKey | None, kind: str | None, twin: int) -> None:
        name = f"follower{twin}" if index is None else self.document.validators.members[index].name
        scenario = self.scenario
        skew_ms = 0 if index is None else scenario.skew_ms[index]
        fsync_us = 0 if index is None else scenario.fsync_us[index]
        site = Site(self, name, index, key, trainer, skew_ms=skew_ms, fsync_us=fsync_us)
        site.truth = Lie(site)
        site.deceit = None if kind is None else lie_of(site, kind)
        site.place = twin if index is None else index
        self.sites.append(site)

    def _start(self, site: Site) -> None:
        site.start()

    def _know_payloads(self) -> None:
        for number in range(1, ROUNDS_KNOWN_MAX):
            for member in self.document.validators.members:
                self._learn(payload_of(member.name, number))

    def _learn(self, payload: bytes) -> None:
        self.payloads[describe(payload).id] = payload

    def _deliver(self, sender: Site, receiver: Site, channel: Channel, data: bytes) -> None:
        wait_s = receiver.free_s - self.loop.time()
        if wait_s > 0 and receiver.is_up:
            self.loop.call_later(wait_s, self._deliver, sender, receiver, channel, data)
        elif self.can_pass(sender, receiver):
            receiver.receive(sender, channel, data)

    def _meet(self, site: Site, other: Site) -> None:
        if site.process is None or not other.is_up or other.name == site.name:
            return
        members = site.process.chain.validators.members
        index = next((index for index, member in enumerate(members) if member.name == other.name), None)
        if index is not None:
            site.process.within(site.core.on_peer_connected, index)

    def _meet_again(self) -> None:
        for site in self.sites:
            for other in self.sites:
                if site is not other and self.can_pass(site, other) and self.can_pass(other, site):
                    self._meet(site, other)

    def _submit(self) -> None:
        site = self.dice.choice(self.sites)
        if site.process is not None and site.trainer is not None:
            site.process.within(evaluate, site.process, site.trainer, self.dice.randint(1, 1_000))

    def _plan(self, crash: Crash) -> None:
        site = self.sites[crash.node % len(self.sites)]
        if site.is_up and not site.is_liar:
            site.down_us = crash.down_us
            site.effects_left = crash.effects

    def _heal(self) -> None:
        for site in self.sites:
            site.effects_left = None
        self._partitions.clear()
        self._meet_again()
        self.loop.call_later(3.0, self._submit_last)

    def _submit_last(self) -> None:
        """Whoever is honest says one thing more, which must become final."""
        for site in self.honest:
            if site.process is not None and site.trainer is not None:
                raw = site.process.within(evaluate, site.process, site.trainer, 1_001)
                if raw is not None:
                    self._final.append((site.name, raw))

    def _is_well(self, models: int) -> bool:
        top = self.chain.height
        return (
            bool(self._final)
            and self._is_final()
            and (self.chain.models > models or self._is_finished())
            and self.changes.are_done
            and all(site.is_up and site.core.chain.height == top for site in self.honest)
        )

    def _is_final(self) -> bool:
        """Whether the chain has what was said last, but for those whose institution was voted out meanwhile.

        A node that crashed forgets what its participant said, which others may still hold: then that takes the nonce.
        """
        seated = {member.name for member in validators_of(self.chain.state).members}
        return all(self._is_answered(raw) for name, raw in self._final if name in seated)

    def _is_answered(self, raw: bytes) -> bool:
        said = decode_transaction(raw)
        return transaction_id(raw) in self.chain.committed or said.nonce < next_nonce(self.chain.state, said.sender)

    def _is_finished(self) -> bool:
        return present(task_of(self.chain.state, TASK), "the task").status == "finished"

    def _summary(self) -> str:
        return ", ".join(
            f"{site.name}: "
            + (f"height {site.core.chain.height} view {site.core.driver.view}" if site.is_up else "down")
            + (" (liar)" if site.is_liar else "")
            for site in self.sites
        )

    def _end(self) -> None:
        for site in self.sites:
            process, site.process = site.process, None
            if process is not None:
                process.end()
        left = asyncio.all_tasks(self.loop)
        if left:
            self.loop.run_until_complete(asyncio.wait(left))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


@contextmanager
def quiet() -> Iterator[None]:
    """Let nodes log nothing inside the `with`."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(50), logger_factory=structlog.ReturnLoggerFactory()
    )
    try:
        yield
    finally:
        structlog.configure(**before)
