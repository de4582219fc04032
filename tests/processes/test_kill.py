"""Real processes, killed without warning: nothing that was acknowledged is lost, and no two nodes differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from foedus.demo.processes import Processes
from genesis.local import LocalConsortium
from tests.processes.harness import Trainers, height_of, make_hospitals, require_equal_chains, start, until

pytestmark = pytest.mark.processes


@pytest.fixture
def consortium(tmp_path: Path) -> LocalConsortium:
    """Four hospitals that may train for a long time."""
    return make_hospitals(tmp_path / "consortium")


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
