"""What an operator does wrong ends a node at once, with exit code 1 and one message that says what to do."""

from __future__ import annotations

import shutil
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from foedus.demo.processes import Processes
from genesis.local import LocalConsortium, LocalNode
from node.store.database import DATABASE_NAME
from tests.processes.harness import (
    Trainers,
    grow,
    height_of,
    log_of,
    make_hospitals,
    require_equal_chains,
    run_node,
    start,
    stop_node,
    until,
)

pytestmark = pytest.mark.processes


@pytest.fixture
def consortium(tmp_path: Path) -> LocalConsortium:
    """Four hospitals."""
    return make_hospitals(tmp_path / "consortium", collect_ms=500)


@contextmanager
def occupied(port: int) -> Iterator[None]:
    """Listen at a port of this machine."""
    with socket.create_server(("127.0.0.1", port)):
        yield


def refusal(code_and_said: tuple[int, str], *needed: str) -> None:
    """Check that a node ended with one message that has these words, and no traceback."""
    code, said = code_and_said
    assert code == 1, said
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    assert last.startswith("foedus: ")
    assert [word for word in needed if word not in last] == [], last


def edited(node: LocalNode, old: str, new: str) -> None:
    """Change a node's settings."""
    text = node.config.read_text(encoding="utf-8")
    assert old in text
    node.config.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize("which", ["peer", "api"])
def test_a_port_in_use_is_named_with_the_setting_that_moves_it(consortium: LocalConsortium, which: str) -> None:
    node = consortium.nodes[0]
    port = node.peer_port if which == "peer" else node.api_port

    with occupied(port):
        refusal(run_node(node.config), f"127.0.0.1:{port}", f"{which}.port", "in use")


def test_every_fault_of_the_settings_is_told_at_once(consortium: LocalConsortium) -> None:
    node = consortium.nodes[0]
    edited(node, "[peer]\n", "[peer]\nprot = 1\n")
    edited(node, "[api]\n", '[api]\ncolour = "red"\n')

    code, said = run_node(node.config)

    assert code == 1
    assert "peer.prot" in said
    assert "api.colour" in said
    assert "port" in said
    assert "Traceback" not in said


def test_an_unknown_variable_is_no_setting(consortium: LocalConsortium) -> None:
    code, said = run_node(consortium.nodes[0].config, environment={"FOEDUS_API__PROT": "1"})

    assert code == 1
    assert "FOEDUS_API__PROT" in said
    assert "FOEDUS_API__PORT" in said


def test_a_directory_in_use_is_refused_with_the_process_that_holds_it(
    consortium: LocalConsortium, processes: Processes
) -> None:
    node = consortium.nodes[0]
    processes.start_node(node.name, node.config)
    until(lambda: "node.started" in log_of(processes, node), "the start")

    refusal(run_node(node.config), str(processes.running[f"node-{node.name}"].pid), "one identity must never run twice")


@pytest.mark.parametrize("has_run", [False, True])
def test_a_genesis_document_that_differs_by_one_byte_begins_another_chain(
    consortium: LocalConsortium, processes: Processes, *, has_run: bool
) -> None:
    """It is noticed by its own data directory, or by both ends of every handshake; the others go on."""
    odd, others = consortium.nodes[0], list(consortium.nodes[1:])
    if has_run:
        processes.start_node(odd.name, odd.config)
        until(lambda: "node.started" in log_of(processes, odd), "the start")
        assert stop_node(processes, odd) == 0
    text = consortium.genesis.read_text(encoding="utf-8")
    (odd.directory / "genesis.json").write_text(text.replace('"local"', '"locax"'), encoding="utf-8")
    edited(odd, '"../../genesis.json"', '"genesis.json"')
    if has_run:
        refusal(run_node(odd.config), "holds chain", "use the genesis document of that chain")
        return

    start(processes, consortium)
    with Trainers(consortium, others[0].name) as trainers:
        grow(others, 3)
        until(lambda: "compare the genesis files" in log_of(processes, odd), "the refusal on the odd one")
        until(lambda: "compare the genesis files" in log_of(processes, others[0]), "the refusal on the others")
        processes.stop()
    assert height_of(odd.data) == 0
    require_equal_chains(consortium, trainers.acknowledged, odd)


@pytest.mark.parametrize("table", ["blocks", "state", "meta", "safety"])
def test_a_damaged_database_is_refused_with_the_way_to_repair_it(
    consortium: LocalConsortium, processes: Processes, table: str
) -> None:
    node = consortium.nodes[0]
    processes.start_node(node.name, node.config)
    until(lambda: "node.started" in log_of(processes, node), "the start")
    assert stop_node(processes, node) == 0

    database = node.data / DATABASE_NAME
    with sqlite3.connect(database) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    connection.close()
    content = bytearray(database.read_bytes())
    start_of_page = (page - 1) * 4096
    content[start_of_page : start_of_page + 4096] = bytes(byte ^ 0xFF for byte in content[start_of_page:][:4096])
    database.write_bytes(content)

    refusal(run_node(node.config), str(database), "is damaged", "--observe-first")


def test_a_key_of_somebody_else_is_refused(consortium: LocalConsortium) -> None:
    node, other = consortium.nodes[:2]
    shutil.copy(other.directory / "keys" / "validator.key", node.directory / "keys" / "validator.key")

    refusal(run_node(node.config), "validator.key", f"for {node.name}")


def test_looking_on_is_refused_where_nobody_could_decide_without_this_node(tmp_path: Path) -> None:
    from genesis.local import LocalPlan, make_local

    alone = make_local(tmp_path / "alone", LocalPlan(("alone",), ("alone",)), time_ms=1_700_000_000_000)

    refusal(run_node(alone.nodes[0].config, "--observe-first"), "needs a quorum of others")
