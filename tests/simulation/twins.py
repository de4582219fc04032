"""Twins: two processes of one identity, under generated partitions and leaders. One law: nothing is random.

Source: Bano et al., "Twins: BFT Systems Made Robust", arXiv 2004.10617. A scenario says for each view who leads and how
the n identities and their twins are partitioned; messages of that view pass only inside a part. A twin runs the honest
program, and yet the two together equivocate, forget and vote twice as the network makes them.
Differs from it in: views are synchronised by the protocol itself (VIEW-CHANGEs pass everywhere), whoever decides goes
on to the next height, and after the last view all connections heal and everybody must agree and go on.

Sequences of steps are numbered; of the sequences that differ only in the names of identities without a twin, one is
run. Where there are more than wanted, numbers at equal distances are.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from math import gcd
from typing import Final

from consensus import decode_message
from consensus.messages import Commit, Prepare, PrePrepare, ViewChange, ViewChangeCertificate
from consensus.pace import view_timeout_ms
from ledger.fields import Height, View
from ledger.validators import ValidatorSet
from tests.simulation import toy
from tests.simulation.checkers import BrokenPromiseError
from tests.simulation.mutations import Mutation
from tests.simulation.node import Node
from tests.simulation.scenario import US, Scenario
from tests.simulation.signatures import remembered
from tests.simulation.world import RECOVERY_US, Outcome, Simulation

PARTS_MAX: Final = 3
DELAY_US: Final = 1_000


@dataclass(frozen=True, slots=True)
class Step:
    """One view."""

    leader: int
    """Identity that proposes; with a twin, both do."""

    parts: tuple[int, ...]
    """In which part each instance is: identities first, then the second twins."""


@dataclass(frozen=True, slots=True)
class TwinsScenario:
    """Who is twinned, and what happens view by view."""

    n: int
    twinned: tuple[int, ...]
    steps: tuple[Step, ...]


class TwinsSimulation(Simulation):
    """One scenario."""

    def __init__(self, scenario: TwinsScenario) -> None:
        self.twins = scenario
        heal_us = sum(view_timeout_ms(toy.PARAMETERS, View(view)) + 100 for view in range(len(scenario.steps))) * US
        super().__init__(_plain(scenario, heal_us))
        self._places = {node.name: self._instance(node) for node in self.nodes}

    def run(self) -> Outcome:
        """Run through all views, heal, and require that all agree and go on.

        Raises:
            BrokenPromiseError: they do not.
        """
        with _leaders(self.twins).applied(), remembered():
            for number, node in enumerate(self.nodes):
                self.at(number, node.start)
                self.at(50 + number, partial(node.submit, b"tx-" + node.name.encode()))
            self._run_until(self.scenario.faulty_us, lambda: False)
            self._heal()
            before = self.chain.height
            for node in self.nodes:
                self.at(100 * US, partial(node.submit, b"after"))
            self._run_until(self.now_us + RECOVERY_US, partial(self._has_gone_on, before))
        if not self._has_gone_on(before):
            raise BrokenPromiseError(f"no progress after the views of {self.twins}: {self._summary()}")
        return Outcome(self.chain.height, self._trace.hexdigest(), 0, self.messages, 0)

    def _has_gone_on(self, before: int) -> bool:
        top = self.chain.height
        return top > before and all(node.disk.tip.height == top for node in self.honest)

    def _post(self, sender: Node, receiver: Node, data: bytes) -> None:
        if sender in self.honest and sender.index is not None:
            self.signatures.sent(sender.index, data)
        self.messages += 1
        if self.now_us >= self.scenario.faulty_us or self._passes(sender, receiver, data):
            self.at(DELAY_US, partial(receiver.receive, data))

    def _passes(self, sender: Node, receiver: Node, data: bytes) -> bool:
        match decode_message(data):
            case PrePrepare(_, view, _, _) | Prepare(_, view, _, _) | Commit(_, view, _, _):
                if view >= len(self.twins.steps):
                    return True
                parts = self.twins.steps[view].parts
                return parts[self._places[sender.name]] == parts[self._places[receiver.name]]
            case ViewChange() | ViewChangeCertificate():
                return True
            case _:
                return False

    def _instance(self, node: Node) -> int:
        assert node.index is not None, "there are no followers"
        second = node.name.endswith("b")
        return self.twins.n + self.twins.twinned.index(node.index) if second else node.index


def scenarios(n: int, views: int, *, limit: int) -> Iterator[TwinsScenario]:
    """Yield scenarios of f twinned identities, all of them when they are at most `limit`, else `limit` of them."""
    f = (n - 1) // 3
    for twinned in combinations(range(n), f):
        if twinned != tuple(range(f)):
            continue  # who is twinned is a matter of names, since leaders are drawn freely
        steps = _steps(n, n + f)
        total = len(steps) ** views
        stride = _coprime(max(1, total // (limit * 2)), total)
        found, number = 0, 0
        for _ in range(total):
            chosen = _digits(number, steps, views)
            number = (number + stride) % total
            if _is_canonical(chosen, n, twinned):
                yield TwinsScenario(n, twinned, chosen)
                found += 1
                if found >= limit:
                    return


def _steps(n: int, instances: int) -> list[Step]:
    """Return every leader with every partition into at most `PARTS_MAX` parts, two for many instances."""
    most = PARTS_MAX if instances <= 6 else 2
    return [Step(leader, parts) for parts in _partitions(instances, most) for leader in range(n)]


def _partitions(count: int, parts_max: int) -> Iterator[tuple[int, ...]]:
    """Yield the partitions of `count` things as restricted growth strings."""

    def grow(begun: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(begun) == count:
            yield begun
            return
        for part in range(min(max(begun, default=-1) + 2, parts_max)):
            yield from grow((*begun, part))

    yield from grow(())


def _digits(number: int, steps: list[Step], views: int) -> tuple[Step, ...]:
    chosen = []
    for _ in range(views):
        number, digit = divmod(number, len(steps))
        chosen.append(steps[digit])
    return tuple(chosen)


def _is_canonical(chosen: tuple[Step, ...], n: int, twinned: tuple[int, ...]) -> bool:
    """Tell whether the identities without a twin stand in the order of what happens to them."""
    lives = [
        tuple((step.parts[identity], step.leader != identity) for step in chosen)
        for identity in range(n)
        if identity not in twinned
    ]
    return lives == sorted(lives)


def _coprime(stride: int, total: int) -> int:
    while gcd(stride, total) != 1:
        stride += 1
    return stride


def _plain(scenario: TwinsScenario, heal_us: int) -> Scenario:
    zeros = (0,) * (scenario.n + 1)
    liars = tuple((index, "twins") for index in scenario.twinned)
    return Scenario(
        seed=0,
        n=scenario.n,
        faulty_us=heal_us,
        drop=0.0,
        duplicate=0.0,
        delay_us=DELAY_US,
        slow=0.0,
        partitions=(),
        crashes=(),
        liars=liars,
        skew_ms=zeros,
        transactions=0,
        slow_validation=0.0,
        followers=0,
        siege=0.0,
        fsync_us=zeros,
    )


def _leaders(scenario: TwinsScenario) -> Mutation:
    """Return what makes the scenario's leaders lead; any function of height and view that all know would do."""
    own = ValidatorSet.primary

    def primary(validators: ValidatorSet, height: Height, view: View) -> int:
        return scenario.steps[view].leader if view < len(scenario.steps) else own(validators, height, view)

    return Mutation("leaders", ((ValidatorSet, "primary", primary),), seed=0, n=scenario.n)


def main() -> int:
    """Run scenarios: `python -m tests.simulation.twins --n 4 --views 7 --limit 1000`."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.twins")
    parser.add_argument("--n", type=int, default=4)
    parser.add_argument("--views", type=int, default=7)
    parser.add_argument("--limit", type=int, default=1_000)
    args = parser.parse_args()
    began, runs, broken = time.monotonic(), 0, 0
    for scenario in scenarios(args.n, args.views, limit=args.limit):
        runs += 1
        try:
            TwinsSimulation(scenario).run()
        except BrokenPromiseError as error:
            broken += 1
            print(f"{scenario}: {error}", flush=True)  # noqa: T201
    seconds = time.monotonic() - began
    print(f"n {args.n}, {args.views} views: {runs} scenarios, {broken} broken, {seconds:.0f} s")  # noqa: T201
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
