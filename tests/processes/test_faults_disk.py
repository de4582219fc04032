"""Disks that fill up, refuse or rot: the node says so and ends; what was committed is there after the repair."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

from foedus.demo.processes import Processes
from genesis.local import LocalConsortium, LocalNode
from ledger.parameters import ConsensusParameters
from node.store.database import DATABASE_NAME
from tests.processes.harness import (
    Trainers,
    blocks_of,
    flip_bytes,
    grow,
    height_of,
    log_of,
    make_hospitals,
    require_equal_chains,
    start,
    stop_node,
    until,
)
from tests.processes.small_disk import MEBIBYTE, fill, small_disk

pytestmark = pytest.mark.processes
DRIFT_MS = 1_000


@pytest.fixture
def consortium(tmp_path: Path) -> LocalConsortium:
    """Four hospitals whose clocks agree within a second."""
    parameters = ConsensusParameters(clock_drift_ms_max=DRIFT_MS)
    return make_hospitals(tmp_path / "consortium", collect_ms=500, parameters=parameters)


def ended_by_itself(processes: Processes, node: LocalNode) -> str:
    """Wait until a node ends with exit code 1 and one message; return what it said."""
    process = processes.running[f"node-{node.name}"]
    until(lambda: process.poll() is not None, f"the end of {node.name}")
    del processes.running[f"node-{node.name}"]
    said = log_of(processes, node)
    assert process.returncode == 1, said
    assert "Traceback" not in said
    return said


def why_stuck(node: LocalNode) -> str:
    """Return what a node says about why there is work and no block for five seconds; empty while all goes well."""
    with urllib.request.urlopen(f"{node.url}/v1/status") as answer:  # noqa: S310 - our own node
        return str(json.loads(answer.read())["stuck"])


def test_a_node_whose_disk_is_full_ends_and_goes_on_when_there_is_space(
    consortium: LocalConsortium, processes: Processes
) -> None:
    full, others = consortium.nodes[0], list(consortium.nodes[1:])
    with small_disk(full.data, 6 * MEBIBYTE), Trainers(consortium, others[0].name) as trainers:
        start(processes, consortium)
        grow(list(consortium.nodes), 4)
        hog = fill(full.data)

        said = ended_by_itself(processes, full)
        kept = blocks_of(full.data)
        grow(others, 3)
        hog.unlink()
        processes.start_node(full.name, full.config)
        grow(list(consortium.nodes), 2)
        processes.stop()

        assert said.splitlines()[-1].startswith("foedus: ")
        assert "free space" in said
        assert blocks_of(full.data)[: len(kept)] == kept
        require_equal_chains(consortium, trainers.acknowledged)


def test_a_node_does_not_start_on_a_full_disk(consortium: LocalConsortium, processes: Processes) -> None:
    full = consortium.nodes[0]
    with small_disk(full.data, MEBIBYTE):
        hog = fill(full.data)
        processes.start_node(full.name, full.config)
        said = ended_by_itself(processes, full)
        hog.unlink()
        processes.start_node(full.name, full.config)
        until(lambda: "node.started" in log_of(processes, full), "the start")
        assert stop_node(processes, full) == 0

    assert "free space" in said.splitlines()[-1]


def test_a_disk_that_turns_read_only_ends_the_node_and_loses_nothing(
    consortium: LocalConsortium, processes: Processes
) -> None:
    stuck, others = consortium.nodes[0], list(consortium.nodes[1:])
    with small_disk(stuck.data, 64 * MEBIBYTE), Trainers(consortium, others[0].name) as trainers:
        start(processes, consortium)
        grow(list(consortium.nodes), 3)
        processes.kill(f"node-{stuck.name}")
        subprocess.run(["mount", "-o", "remount,ro", str(stuck.data)], check=True)
        processes.start_node(stuck.name, stuck.config)
        said = ended_by_itself(processes, stuck)
        subprocess.run(["mount", "-o", "remount,rw", str(stuck.data)], check=True)
        processes.start_node(stuck.name, stuck.config)
        grow(list(consortium.nodes), 2)
        processes.stop()
        require_equal_chains(consortium, trainers.acknowledged)

    assert "Read-only file system" in said.splitlines()[-1]
    assert "check permissions and the disk" in said.splitlines()[-1]


def test_a_damaged_database_is_fetched_anew_by_the_command_that_the_refusal_names(
    consortium: LocalConsortium, processes: Processes
) -> None:
    """And the repaired node votes again: without it and another one there is no quorum."""
    rotten, spare = consortium.nodes[:2]
    others = [node for node in consortium.nodes if node is not rotten]
    with Trainers(consortium, consortium.nodes[2].name) as trainers:
        start(processes, consortium)
        grow(list(consortium.nodes), 4)
        assert stop_node(processes, rotten) == 0
        flip_bytes(rotten.data / DATABASE_NAME, table="blocks")
        processes.start_node(rotten.name, rotten.config)
        refused = ended_by_itself(processes, rotten).splitlines()[-1]
        for path in rotten.data.glob(f"{DATABASE_NAME}*"):
            shutil.move(path, path.with_name("damaged-" + path.name))

        processes.start_node(rotten.name, rotten.config, "--observe-first")
        until(lambda: "observation.ended" in log_of(processes, rotten), "a block of after the start")
        grow([rotten, *others], 2)
        assert stop_node(processes, spare) == 0
        grow([node for node in consortium.nodes if node is not spare], 3)
        processes.stop()

    assert str(rotten.data / DATABASE_NAME) in refused
    assert "foedus node run --observe-first" in refused
    require_equal_chains(consortium, trainers.acknowledged)


def test_a_later_start_goes_on_looking_on(consortium: LocalConsortium, processes: Processes) -> None:
    """Nothing is decided meanwhile, so nothing ends it; another node that is away leaves no quorum that signs."""
    forgetful, *others = consortium.nodes
    processes.start_node(forgetful.name, forgetful.config, "--observe-first")
    until(lambda: "node.started" in log_of(processes, forgetful), "the start")
    assert stop_node(processes, forgetful) == 0
    start(processes, consortium, others[0])
    until(lambda: log_of(processes, forgetful).count("observation.begun") == 2, "a start that goes on looking on")

    with Trainers(consortium, others[1].name) as trainers:
        until(lambda: "node.started" in log_of(processes, others[1]), "the start")
        until(lambda: why_stuck(others[1]) != "", "two of four that get nowhere")
        assert height_of(others[1].data) == 0
        processes.start_node(others[0].name, others[0].config)
        until(lambda: "observation.ended" in log_of(processes, forgetful), "the end of the observation")
        grow(list(consortium.nodes), 2)
        processes.stop()
    require_equal_chains(consortium, trainers.acknowledged)
