"""The doctor: each thing that can be wrong with a node is found, and comes with what to do."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from foedus.doctor import Report
from foedus.doctor.running import examine_running
from genesis.document import document_text
from genesis.keys import write_key
from genesis.local import LocalNode
from genesis.settings import NodeSettings
from node.config import load_config
from tests.foedus.commands import Outcome, Shell
from tests.foedus.desk import Desk, serving_desk
from tests.genesis.consortium import make
from tests.node.single_node import TRANSPORT_KEYS, VALIDATOR_KEYS


@pytest.fixture
def node(tmp_path: Path) -> LocalNode:
    return make(tmp_path / "c").nodes[0]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with serving_desk(tmp_path) as opened:
        yield opened


def problems(done: Outcome) -> dict[str, tuple[str, str]]:
    """Return what is wrong, by check: detail and remedy."""
    findings = done.answer["findings"]
    assert isinstance(findings, list)
    found = {one["check"]: (one["detail"], one["remedy"]) for one in findings if not one["ok"]}
    assert done.code == (1 if found else 0)
    assert done.answer["problems"] == sum(not one["ok"] for one in findings)
    return found


def test_a_node_that_is_ready_but_does_not_run_is_to_be_started(foedus: Shell, node: LocalNode) -> None:
    found = problems(foedus("doctor", "--config", node.config, "--json"))
    assert set(found) == {"api"}
    assert "foedus node run" in found["api"][1]
    out = foedus("doctor", "--config", node.config).out
    assert "PROBLEM  api" in out
    assert out.endswith("1 problem.\n")


def test_every_fault_of_the_settings_is_told(foedus: Shell, node: LocalNode) -> None:
    node.config.write_text(node.config.read_text().replace("[api]", "[apy]").replace('"data"', "7"))
    findings = foedus("doctor", "--config", node.config, "--json").answer["findings"]
    assert isinstance(findings, list)
    assert len([one for one in findings if one["check"] == "settings"]) == 3


def test_a_key_that_others_may_read_is_found(foedus: Shell, node: LocalNode) -> None:
    (node.directory / "keys" / "validator.key").chmod(0o644)
    assert "chmod 600" in problems(foedus("doctor", "--config", node.config, "--json"))["keys.validator"][0]


def test_keys_that_are_not_the_documents_are_found(foedus: Shell, node: LocalNode) -> None:
    keys = node.directory / "keys"
    (keys / "validator.key").rename(keys / "old.key")
    (keys / "transport.key").rename(keys / "validator.key")
    (keys / "old.key").rename(keys / "transport.key")
    found = problems(foedus("doctor", "--config", node.config, "--json"))
    assert {"keys.validator", "keys.transport"} <= set(found)
    assert "is known for" in found["keys.validator"][0]


def test_a_document_that_differs_by_a_byte_is_found(foedus: Shell, node: LocalNode) -> None:
    genesis = node.directory.parents[1] / "genesis.json"
    genesis.write_text(genesis.read_text().replace('"view_timeout_ms": 500', '"view_timeout_ms": 0'))
    assert "compare the chain id" in problems(foedus("doctor", "--config", node.config, "--json"))["genesis"][1]


def test_a_data_directory_that_cannot_be_used_is_found(foedus: Shell, node: LocalNode) -> None:
    node.data.mkdir()
    (node.data / "chain.sqlite3").write_bytes(b"not a database" * 100)
    found = problems(foedus("doctor", "--config", node.config, "--json"))
    assert "node.data_dir" in found


def test_ports_that_others_have_are_found(foedus: Shell, node: LocalNode) -> None:
    with socket.create_server(("127.0.0.1", node.peer_port)), socket.create_server(("127.0.0.1", node.api_port)) as api:
        api.close()
        found = problems(foedus("doctor", "--config", node.config, "--json"))
    assert "another program listens" in found["peer.port"][0]


def test_a_quota_that_the_disk_cannot_hold_is_found(foedus: Shell, node: LocalNode) -> None:
    with node.config.open("a") as file:
        file.write(f"\n[payloads]\nquota_bytes_max = {1 << 49}\n")
    assert "quota_bytes_max" in problems(foedus("doctor", "--config", node.config, "--json"))["disk"][1]


def running_node(desk: Desk, **peers: str) -> Path:
    """Write settings for the desk's node; return them."""
    home = desk.directory / "home"
    write_key(home / "validator.key", VALIDATOR_KEYS["alpha"], owner="alpha")
    write_key(home / "transport.key", TRANSPORT_KEYS["alpha"], owner="alpha")
    (home / "genesis.json").write_text(document_text(desk.document))
    port = int(desk.url.rpartition(":")[2])
    keys = ("validator.key", "transport.key")
    settings = NodeSettings("alpha", "genesis.json", *keys, peer=("127.0.0.1", 1), api=("127.0.0.1", port))
    lines = [f'{name} = "{address}"' for name, address in peers.items()]
    (home / "node.toml").write_text("\n".join([settings.text(), "[peers]", *lines]))
    return home / "node.toml"


def test_a_peer_that_is_away_comes_with_why(foedus: Shell, desk: Desk) -> None:
    """The served node says that beta is connected and gamma is not."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = running_node(desk, gamma=f"127.0.0.1:{port}")
        found = problems(foedus("doctor", "--config", config, "--json"))
    assert set(found) == {"peer gamma"}
    assert "though" in found["peer gamma"][0]
    found = problems(foedus("doctor", "--config", config, "--json"))
    assert "refuses connections" in found["peer gamma"][0]


def test_another_chain_behind_the_port_is_found(foedus: Shell, desk: Desk, tmp_path: Path) -> None:
    other = make(tmp_path / "c").nodes[0]
    found = problems(foedus("doctor", "--config", other.config, "--url", desk.url, "--json"))
    assert "follows chain" in found["chain"][0]


def test_a_clock_that_is_behind_is_found(desk: Desk, foedus: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    foedus("submit", desk.toy_model("m", 0.5), "--samples", 1, "--key", desk.key("alpha"), "--url", desk.url)
    config = load_config(running_node(desk), {}).config
    report = Report()
    examine_running(report, config, desk.document)
    assert "clock" not in {one.check for one in report.problems}
    monkeypatch.setattr("foedus.doctor.running.time_ns", lambda: 1_700_000_000_000_000_000)
    report = Report()
    examine_running(report, config, desk.document)
    assert "set the clock" in next(one.remedy for one in report.problems if one.check == "clock")
