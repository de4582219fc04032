"""Real processes, killed without warning: nothing that was acknowledged is lost, and no two nodes differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec
import numpy as np
import pytest

import foedus
from foedus.audit import audit, open_history
from foedus.demo.processes import Processes
from genesis.local import LocalConsortium, LocalPlan, make_local
from genesis.presets import PRESETS
from ledger.codec import encode
from ledger.digest import Digest
from ledger.fields import Height
from node.store import Store, StoreError

pytestmark = pytest.mark.processes
SECONDS_MAX = 90.0
PATIENCE_SECONDS = 3.0
HEART = PRESETS["heart"]


class Trainers:
    """A thread a participant: submits to every round through its own node and notes what was acknowledged."""

    def __init__(self, consortium: LocalConsortium) -> None:
        self.acknowledged: set[str] = set()
        self._stopping = threading.Event()
        urls = {node.name: node.url for node in consortium.nodes}
        self._threads = [
            threading.Thread(target=self._go_on, args=(urls[name], consortium.participants[name], seed), daemon=True)
            for seed, name in enumerate(HEART.trainers)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for everybody; leave it after the nodes have stopped, which is what ends them."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(4 * PATIENCE_SECONDS)

    def _go_on(self, url: str, key: Path, seed: int) -> None:
        generator = np.random.default_rng(seed)
        while not self._stopping.is_set():
            with suppress(foedus.NodeUnreachableError):
                self._train(url, key, generator)

    def _train(self, url: str, key: Path, generator: np.random.Generator) -> None:
        with foedus.connect(url, key=key, task="heart", timeout=PATIENCE_SECONDS) as session:
            for current in session.rounds():
                step = {name: generator.normal(0, 0.05, array.shape) for name, array in current.model.items()}
                new = {name: (array + step[name]).astype(np.float32) for name, array in current.model.items()}
                with suppress(foedus.RoundOverError):
                    submission = current.submit(new, samples=100)
                    if submission.transaction is not None:
                        self.acknowledged.add(submission.transaction)


@pytest.fixture
def consortium(tmp_path: Path) -> LocalConsortium:
    """Four hospitals that may train for a long time."""
    spec = msgspec.structs.replace(HEART.task(HEART.trainers, 10_000, None), collect_ms=3_000)
    plan = LocalPlan(HEART.organisations, HEART.trainers, (spec,))
    return make_local(tmp_path / "consortium", plan, time_ms=time.time_ns() // 1_000_000)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Children that end with the test."""
    with Processes(tmp_path / "logs") as children:
        yield children


def start(processes: Processes, consortium: LocalConsortium) -> None:
    for node in consortium.nodes:
        processes.start_node(node.name, node.config)


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


def blocks_of(node_data: Path) -> list[bytes]:
    with Store.open_readonly(node_data) as store:
        tip = store.tip()
        assert tip is not None
        blocks = (store.certified_block(Height(height)) for height in range(1, tip.height + 1))
        return [encode(certified.block) for certified in blocks if certified is not None]


def require_equal_chains(consortium: LocalConsortium, acknowledged: set[str]) -> None:
    chains = [blocks_of(node.data) for node in consortium.nodes]
    shortest = min(map(len, chains))
    assert shortest > 0
    assert all(chain[:shortest] == chains[0][:shortest] for chain in chains)
    longest = max(consortium.nodes, key=lambda node: len(blocks_of(node.data)))
    with Store.open_readonly(longest.data) as store:
        lost = {identity for identity in acknowledged if store.transaction(Digest(bytes.fromhex(identity))) is None}
    assert lost == set()
    for node in consortium.nodes:
        with open_history(node.data, consortium.genesis) as history:
            assert audit(history, source=node.name).found == []


def test_all_nodes_killed_at_once_again_and_again_lose_nothing(
    consortium: LocalConsortium, processes: Processes
) -> None:
    start(processes, consortium)
    first = consortium.nodes[0].data
    with Trainers(consortium) as trainers:
        for _ in range(4):
            before = height_of(first)
            until(lambda before=before: height_of(first) >= before + 5, "five more blocks")  # type: ignore[misc]
            for node in consortium.nodes:
                processes.kill(f"node-{node.name}")
            start(processes, consortium)
        before = height_of(first)
        until(lambda: height_of(first) >= before + 5, "five more blocks")
        processes.stop()
    assert len(trainers.acknowledged) > 10
    require_equal_chains(consortium, trainers.acknowledged)


def test_nodes_killed_in_turn_while_the_others_go_on(consortium: LocalConsortium, processes: Processes) -> None:
    start(processes, consortium)
    with Trainers(consortium) as trainers:
        for victim in consortium.nodes:
            witness = next(node for node in consortium.nodes if node is not victim)
            before = height_of(witness.data)
            until(lambda w=witness, b=before: height_of(w.data) >= b + 3, "three more blocks")  # type: ignore[misc]
            processes.kill(f"node-{victim.name}")
            before = height_of(witness.data)
            until(lambda w=witness, b=before: height_of(w.data) >= b + 3, "three blocks without it")  # type: ignore[misc]
            processes.start_node(victim.name, victim.config)
            goal = height_of(witness.data)
            until(lambda v=victim, g=goal: height_of(v.data) >= g, "catching up")  # type: ignore[misc]
        processes.stop()
    require_equal_chains(consortium, trainers.acknowledged)


def test_the_demo_trains_under_attack_and_proves_it(tmp_path: Path) -> None:
    """The main job, as `make demo` runs it."""
    demo = [sys.executable, "-m", "foedus", "demo", "--json", "--data", str(tmp_path / "demo")]
    ended = subprocess.run(demo, capture_output=True, text=True, check=False, timeout=170)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["use_case"] == "heart"
    assert found["tier"] == "open"
    assert found["rounds"] == 25
    assert found["auc"]["global"] >= found["auc"]["pooled"] - 0.02
    assert found["auc"]["global"] > max(found["auc"]["per_hospital_alone"].values())
    assert found["auc"]["mean_under_attack"] < 0.5
    assert found["rejected"]["va-long-beach"] == max(found["rejected"].values()) >= 15
    assert found["validator_killed_at"] > 0
    assert found["validator_caught_up"] is True
    assert found["audit"]["differences"] == 0
    assert found["audit"]["aggregates"] == 25
    assert found["audit"]["blocks"] == found["height"]


@pytest.mark.parametrize(
    "environment",
    [
        {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Nehalem", "PYTHONHASHSEED": "1"},
        {"OPENBLAS_NUM_THREADS": "2", "OPENBLAS_CORETYPE": "Haswell", "PYTHONHASHSEED": "2"},
    ],
)
def test_a_replay_gives_the_same_bits_whatever_the_threads_and_kernels(
    consortium: LocalConsortium, processes: Processes, environment: dict[str, str]
) -> None:
    start(processes, consortium)
    with Trainers(consortium):
        until(lambda: height_of(consortium.nodes[0].data) >= 12, "twelve blocks")
        processes.stop()
    command = [sys.executable, "-m", "foedus", "audit", str(consortium.nodes[0].data), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    report = json.loads(ended.stdout)
    assert ended.returncode == 0, report
    assert report["aggregates"] >= 1
    assert report["differences"] == 0
