"""A sealed round with every party a process of its own, vectors over TCP on this machine's loopback.

    python -m benchmarks.sealed_loopback [--n 4] [--m 4] [--d 10000000] [--json]

Setup and stock come first and are not counted. `wall_s` is from the word to hide updates until all validators have the
same outcome; `slowest_validator_cpu_s` and `slowest_participant_cpu_s` are processor seconds of one process in that
time, sockets included. Small messages go through the parent process, which stands for the ledger: without consensus,
signatures and disks.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from threading import Thread
from time import perf_counter, process_time
from typing import Any, Final

import numpy as np

from fl.aggregators import RuleSpec
from fl.grid import WORD_MAX
from fl.kernels.field import Elements
from fl.schema import Segment
from fl.sealed.committee import Committee
from fl.sealed.participant import Participant
from fl.sealed.round import SealedRound
from fl.sealed.stock import Slot
from fl.sealed.task import SealedTask, norm_bound
from fl.sealed.validator import Validator

HOST: Final = "127.0.0.1"
SEED: Final = 7


@dataclass(frozen=True)
class Size:
    """Of one measurement."""

    n: int
    m: int
    d: int

    @property
    def committee(self) -> Committee:
        """The validators."""
        return Committee(self.n)

    @property
    def task(self) -> SealedTask:
        """The rule and its bounds."""
        rule = RuleSpec("mda/1", (self.m - 1) // 3)
        return SealedTask(rule, (Segment(0, self.d, -3),), self.m, norm_bound(rule, self.m), max(3, rule.f + 2))


def serve(vector: Elements) -> int:
    """Hand a vector to everybody who connects; return the port."""
    listening = socket.create_server((HOST, 0))

    def answer() -> None:
        while True:
            connection, _ = listening.accept()
            Thread(target=send, args=(connection,), daemon=True).start()

    def send(connection: socket.socket) -> None:
        with connection:
            connection.sendall(vector.data.cast("B"))

    Thread(target=answer, daemon=True).start()
    port: int = listening.getsockname()[1]
    return port


def fetch(port: int, size: int) -> Elements:
    """Return the vector that is served at a port."""
    vector = np.empty(size, np.uint64)
    view, have = vector.data.cast("B"), 0
    with socket.create_connection((HOST, port)) as connection:
        while have < len(view):
            received = connection.recv_into(view[have:])
            assert received, f"{len(view)} bytes were expected, got {have}"
            have += received
    return vector


def fetch_all(ports: Mapping[int, int], size: int) -> dict[int, Elements]:
    """Return several vectors, fetched at once."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(ports, pool.map(lambda port: fetch(port, size), ports.values()), strict=True))


def participant(wire: Connection, size: Size, seat: int) -> None:
    """Deal, and hide one update when told to."""
    dice = random.Random(f"participant {seat}")
    entropy = [dice.randbytes(32) for _ in range(len(size.committee.sets) + size.n)]
    own = Participant(size.committee, b"epoch", seat, wire.recv(), entropy)
    wire.send(own.dealing)
    words = np.random.default_rng(seat).normal(0, 600, size.d).clip(-WORD_MAX, WORD_MAX).astype(np.int16)
    wire.recv()
    begin = process_time()
    hidden = own.hide(0, size.task.elements(words))
    wire.send((own.update(hidden, 100), serve(hidden)))
    wire.recv()
    wire.send(process_time() - begin)


def validator(wire: Connection, size: Size, seat: int) -> None:
    """Post what the round asks for."""
    own = Validator(size.committee, b"epoch", seat, random.Random(f"validator {seat}").randbytes(32))
    wire.send(own.box_key)
    for dealing in wire.recv():
        assert own.receive(dealing.participant, dealing.deal) is None
    own.finish_setup(range(size.m))
    slot = Slot(size.committee, range(size.m), 0, size.d)
    wire.send(own.products(slot))
    for message in wire.recv():
        slot.handle(message)
    running = SealedRound(size.committee, size.task, slot)
    updates, ports = wire.recv()
    begin = process_time()
    for message in updates:
        running.handle(message)
    running.close_updates()
    hidden = fetch_all(ports, size.d)
    wire.send(own.gram_shares(running, hidden))
    for message in wire.recv():
        running.handle(message)
    vector = own.sum_share(running)
    wire.send((own.commitment(vector), serve(vector)))
    commitments, ports = wire.recv()
    for message in commitments:
        running.handle(message)
    assert running.close_sums(b"the hash of a block")
    wire.send(own.folds(running, vector))
    for message in wire.recv():
        running.handle(message)
    others = own.wanted(running)[1 : size.committee.f + 1]
    vectors = {seat: vector, **fetch_all({one: ports[one] for one in others}, size.d)}
    suspected, good = own.suspicions(running, vectors)
    assert suspected == []
    wire.send(own.summed(running, hidden, good).outcome)
    wire.recv()
    wire.send(process_time() - begin)


def start(work: Callable[[Connection, Size, int], None], size: Size, count: int) -> list[Any]:
    """Start processes; return our ends of their pipes."""
    wires = []
    for seat in range(count):
        ours, theirs = Pipe()
        Process(target=work, args=(theirs, size, seat), daemon=True).start()
        wires.append(ours)
    return wires


def ask(wires: list[Any], message: object) -> list[Any]:
    """Tell everybody something, and return what each one says."""
    for wire in wires:
        wire.send(message)
    return [wire.recv() for wire in wires]


def measure(size: Size) -> dict[str, float]:
    """Play one round."""
    participants, validators = start(participant, size, size.m), start(validator, size, size.n)
    keys = [wire.recv() for wire in validators]
    products = ask(validators, ask(participants, keys))
    for wire in validators:
        wire.send(products)
    begin = perf_counter()
    named = ask(participants, "hide")
    shares = ask(validators, ([update for update, _ in named], {seat: port for seat, (_, port) in enumerate(named)}))
    committed = ask(validators, shares)
    sums = [commitment for commitment, _ in committed], {seat: port for seat, (_, port) in enumerate(committed)}
    outcomes = ask(validators, ask(validators, sums))
    wall = perf_counter() - begin
    assert len({one.root for one in outcomes}) == 1
    return {
        "n": size.n,
        "m": size.m,
        "d": size.d,
        "wall_s": round(wall, 2),
        "slowest_validator_cpu_s": round(max(ask(validators, "stop")), 2),
        "slowest_participant_cpu_s": round(max(ask(participants, "stop")), 2),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=4)
    parser.add_argument("--m", type=int, default=4)
    parser.add_argument("--d", type=int, default=10_000_000)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    measured = measure(Size(options.n, options.m, options.d))
    lines = [f"{name:>26}  {value}" for name, value in measured.items()]
    print(json.dumps(measured) if options.json else "\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
