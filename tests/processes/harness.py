"""Consortia of real processes, and what is asked of them afterwards. One law: only what is on a disk counts."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec
import numpy as np

import foedus
from fl.records import TaskSpec
from foedus.audit import audit, open_history
from foedus.demo.processes import Processes
from genesis.local import LocalConsortium, LocalNode, LocalPlan, make_local
from genesis.presets import PRESETS
from ledger.codec import encode
from ledger.digest import Digest
from ledger.fields import Height
from ledger.parameters import ConsensusParameters
from node.store import Store, StoreError

SECONDS_MAX = 60.0
PATIENCE_SECONDS = 3.0
HEART = PRESETS["heart"]


class Trainers:
    """A thread a participant: submits to every round through its own node and notes what was acknowledged.

    All of them fill rounds; one alone makes rounds that fail at their deadlines, two small blocks each.
    """

    def __init__(self, consortium: LocalConsortium, *names: str, enter: Callable[[str], None] = lambda _: None) -> None:
        """Prepare; `enter` is called first in each thread, with its node's name: puts it into that node's network."""
        self.acknowledged: set[str] = set()
        self._enter = enter
        self._stopping = threading.Event()
        urls = {node.name: node.url for node in consortium.nodes}
        self._threads = [
            threading.Thread(
                target=self._go_on, args=(name, urls[name], consortium.participants[name], seed), daemon=True
            )
            for seed, name in enumerate(names or HEART.trainers)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for everybody: until the next round, or until the nodes have been away for longer than they wait."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(4 * PATIENCE_SECONDS)

    def _go_on(self, name: str, url: str, key: Path, seed: int) -> None:
        self._enter(name)
        generator = np.random.default_rng(seed)
        while not self._stopping.is_set():
            with suppress(foedus.NodeUnreachableError):
                self._train(url, key, generator)

    def _train(self, url: str, key: Path, generator: np.random.Generator) -> None:
        with foedus.connect(url, key=key, task="heart", timeout=PATIENCE_SECONDS) as session:
            for current in session.rounds():
                if self._stopping.is_set():
                    return
                step = {name: generator.normal(0, 0.05, array.shape) for name, array in current.model.items()}
                new = {name: (array + step[name]).astype(np.float32) for name, array in current.model.items()}
                with suppress(foedus.RoundOverError):
                    submission = current.submit(new, samples=100)
                    if submission.transaction is not None:
                        self.acknowledged.add(submission.transaction)


def heart_task(*, collect_ms: int) -> TaskSpec:
    """Return a task of the four hospitals that goes on for as long as a test needs it."""
    return msgspec.structs.replace(HEART.task(HEART.trainers, 10_000, None), collect_ms=collect_ms)


def make_hospitals(
    directory: Path, *, collect_ms: int = 3_000, parameters: ConsensusParameters | None = None
) -> LocalConsortium:
    """Make four hospitals with a node each."""
    plan = LocalPlan(HEART.organisations, HEART.trainers, (heart_task(collect_ms=collect_ms),))
    if parameters is not None:
        plan = LocalPlan(plan.organisations, plan.trainers, plan.tasks, parameters=parameters)
    return make_local(directory, plan, time_ms=time.time_ns() // 1_000_000)


def start(processes: Processes, consortium: LocalConsortium, *but: LocalNode) -> None:
    """Start all nodes but these."""
    for node in consortium.nodes:
        if node not in but:
            processes.start_node(node.name, node.config)


def stop_node(processes: Processes, node: LocalNode) -> int:
    """Ask one node to end; return its exit code."""
    process = processes.running.pop(f"node-{node.name}")
    process.terminate()
    return process.wait(SECONDS_MAX)


def run_node(config: Path, *options: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a node that is expected to end by itself; return its exit code and what it said."""
    command = [sys.executable, "-m", "foedus", "node", "run", "--config", str(config), *options]
    said = os.environ | dict(environment or {})
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS_MAX, env=said)
    return ended.returncode, ended.stderr


def log_of(processes: Processes, node: LocalNode) -> str:
    """Return everything that a node has said."""
    return (processes.logs / f"node-{node.name}.log").read_text(errors="replace")


def until(condition: Callable[[], bool], what: str) -> None:
    """Poll another process's state."""
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {SECONDS_MAX:.0f} s"
        threading.Event().wait(0.02)


def height_of(node_data: Path) -> int:
    """Return how far a node's chain goes on its disk."""
    try:
        with Store.open_readonly(node_data) as store:
            tip = store.tip()
    except StoreError:
        return 0
    return 0 if tip is None else tip.height


def grow(nodes: list[LocalNode], blocks: int, *, above: int | None = None) -> None:
    """Wait until each of these nodes has so many blocks more than the highest has now, or than `above`."""
    goal = blocks + (max(height_of(node.data) for node in nodes) if above is None else above)
    until(lambda: all(height_of(node.data) >= goal for node in nodes), f"height {goal} on {[n.name for n in nodes]}")


def blocks_of(node_data: Path) -> list[bytes]:
    """Return every block on a node's disk."""
    with Store.open_readonly(node_data) as store:
        tip = store.tip()
        assert tip is not None
        blocks = (store.certified_block(Height(height)) for height in range(1, tip.height + 1))
        return [encode(certified.block) for certified in blocks if certified is not None]


def require_equal_chains(consortium: LocalConsortium, acknowledged: set[str], *but: LocalNode) -> None:
    """Check that the nodes, but these, hold one chain, that it audits, and that it has what was acknowledged."""
    nodes = [node for node in consortium.nodes if node not in but]
    chains = [blocks_of(node.data) for node in nodes]
    shortest = min(map(len, chains))
    assert shortest > 0
    assert all(chain[:shortest] == chains[0][:shortest] for chain in chains)
    longest = max(nodes, key=lambda node: len(blocks_of(node.data)))
    with Store.open_readonly(longest.data) as store:
        lost = {identity for identity in acknowledged if store.transaction(Digest(bytes.fromhex(identity))) is None}
    assert lost == set()
    for node in nodes:
        with open_history(node.data, consortium.genesis) as history:
            assert audit(history, source=node.name).found == []


def flip_bytes(path: Path, *, table: str) -> None:
    """Damage each page of a table in a database that nobody has open, as a failing disk would."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        content = file.read(size)
        file.seek((page - 1) * size)
        file.write(bytes(byte ^ 0xFF for byte in content))
