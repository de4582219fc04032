"""One identity, once, and about now: a second process with the same keys ends, a wrong clock gets no vote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from foedus.demo.processes import Processes
from genesis.local import LocalConsortium, LocalNode
from genesis.ports import free_ports
from tests.processes.harness import (
    Trainers,
    grow,
    height_of,
    log_of,
    make_hospitals,
    require_equal_chains,
    run_node,
    start,
    until,
)

pytestmark = pytest.mark.processes
HOUR = 3_600


@pytest.fixture
def consortium(tmp_path: Path) -> LocalConsortium:
    """Four hospitals."""
    return make_hospitals(tmp_path / "consortium", collect_ms=500)


def twin_of(node: LocalNode) -> Path:
    """Write settings with the same keys, other ports and a data directory of their own."""
    peer_port, api_port = free_ports(2)
    text = node.config.read_text(encoding="utf-8")
    for old, new in (
        (f"port = {node.peer_port}", f"port = {peer_port}"),
        (f"port = {node.api_port}", f"port = {api_port}"),
        ('data_dir = "data"', 'data_dir = "twin"'),
    ):
        assert old in text
        text = text.replace(old, new)
    config = node.directory / "twin.toml"
    config.write_text(text, encoding="utf-8")
    return config


def test_a_second_process_with_the_same_keys_does_not_start(consortium: LocalConsortium, processes: Processes) -> None:
    start(processes, consortium)
    node = consortium.nodes[0]
    with Trainers(consortium, node.name) as trainers:
        grow(list(consortium.nodes), 2)
        code, said = run_node(twin_of(node))
        grow(list(consortium.nodes), 2)
        processes.stop()

    last = said.splitlines()[-1]
    assert code == 1, said
    assert f"another process with the keys of {node.name} answers at 127.0.0.1:{node.peer_port}" in last
    assert "Stop the other one first" in last
    assert height_of(node.directory / "twin") == 0
    require_equal_chains(consortium, trainers.acknowledged)


def test_of_two_processes_with_one_key_the_one_at_the_named_address_stays_and_neither_forks_the_chain(
    consortium: LocalConsortium, processes: Processes
) -> None:
    """The twin came first, so nobody answered when it looked; it ends once the real one does."""
    node, others = consortium.nodes[0], list(consortium.nodes[1:])
    twin = twin_of(node)
    processes.start("node-twin", [sys.executable, "-m", "foedus", "node", "run", "--config", str(twin)])
    start(processes, consortium, node)
    with Trainers(consortium, others[0].name) as trainers:
        until(lambda: height_of(node.directory / "twin") >= 3, "a chain on the twin")
        processes.start_node(node.name, node.config)
        second = processes.running.pop("node-twin")
        until(lambda: second.poll() is not None, "the end of the twin")
        grow(list(consortium.nodes), 3)
        processes.stop()

    said = (processes.logs / "node-twin.log").read_text()
    assert second.returncode == 1, said
    assert "one identity must never run twice" in said.splitlines()[-1]
    assert "Traceback" not in said
    require_equal_chains(consortium, trainers.acknowledged)


def faked_clock() -> Path:
    """Return the library that shows a process another time."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed (Debian: faketime)")
    return found[0]


def doctor_of(node: LocalNode, check: str) -> str:
    """Return what the doctor finds wrong with a running node under this heading."""
    command = [sys.executable, "-m", "foedus", "doctor", "--config", str(node.config), "--json"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    problems = {one["check"]: one["detail"] for one in json.loads(done.stdout)["findings"] if not one["ok"]}
    assert done.returncode == 1, problems
    return str(problems[check])


@pytest.mark.parametrize("off", [-HOUR, HOUR], ids=["behind", "ahead"])
def test_a_clock_off_by_an_hour_costs_its_node_its_votes_and_nobody_else_anything(
    consortium: LocalConsortium, processes: Processes, off: int
) -> None:
    """It rejects the others' proposals and they its own; it follows the chain, and votes again with a right clock."""
    library = faked_clock()
    odd, others = consortium.nodes[0], list(consortium.nodes[1:])
    environment = os.environ | {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{off:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    log = (processes.logs / f"node-{odd.name}.log").open("ab")
    command = [sys.executable, "-m", "foedus", "node", "run", "--config", str(odd.config)]
    processes.running[f"node-{odd.name}"] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    log.close()
    start(processes, consortium, odd)
    with Trainers(consortium, others[0].name) as trainers:
        grow(list(consortium.nodes), 5)
        own, other = doctor_of(odd, "clock.own"), doctor_of(others[0], "clock.peer")
        said = log_of(processes, odd)
        processes.kill(f"node-{odd.name}")
        processes.start_node(odd.name, odd.config)
        grow(list(consortium.nodes), 4)
        processes.stop()

    assert "more than 10000 ms from this node's clock" in said
    assert f"3600.0 s {'ahead of' if off > 0 else 'behind'} most others'" in own
    assert other.startswith(f"the clock of {odd.name} is 3600.0 s")
    require_equal_chains(consortium, trainers.acknowledged)
