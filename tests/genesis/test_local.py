"""A consortium on one machine: complete, loadable, and made as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from genesis.document import InvalidGenesisError, load_document
from genesis.keys import read_key
from genesis.local import LocalConsortiumError, LocalPlan, make_local
from genesis.ports import free_ports
from node.config import load_config
from tests.genesis.consortium import GENESIS_MS, heart_plan, make

replace = msgspec.structs.replace


def test_every_node_can_read_its_settings_keys_and_genesis(tmp_path: Path) -> None:
    local = make(tmp_path / "c")
    assert [node.name for node in local.nodes] == ["cleveland", "hungary", "switzerland", "va-long-beach"]
    for node in local.nodes:
        config = load_config(node.config, {}).config
        document = load_document(config.genesis.path)
        assert document == local.document
        key = read_key(config.keys.validator)
        index = document.validators.index_of(key.public_key)
        assert index is not None
        member = document.validators.members[index]
        assert member.name == config.node.name == node.name
        assert member.transport_key == read_key(config.keys.transport).public_key
        assert member.address == f"127.0.0.1:{config.peer.port}"
        assert (config.api.port, config.node.data_dir) == (node.api_port, node.data)


def test_every_participant_has_the_key_that_the_document_registers(tmp_path: Path) -> None:
    local = make(tmp_path / "c")
    registered = {one.name: one.public_key for one in local.document.learning.participants}
    assert registered.keys() == local.participants.keys()
    assert all(read_key(path).public_key == registered[name] for name, path in local.participants.items())


def test_all_ports_differ(tmp_path: Path) -> None:
    local = make(tmp_path / "c")
    ports = [port for node in local.nodes for port in (node.api_port, node.peer_port)]
    assert len(set(ports)) == 8


def test_ports_follow_the_base_port(tmp_path: Path) -> None:
    plan = LocalPlan(("a", "b"), (), base_port=9000)
    nodes = make(tmp_path / "c", plan).nodes
    assert [(node.api_port, node.peer_port) for node in nodes] == [(9000, 9002), (9001, 9003)]


def test_a_base_port_too_high_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalConsortiumError, match="65535"):
        make(tmp_path / "c", LocalPlan(("a", "b"), (), base_port=65_533))


def test_an_existing_consortium_is_not_touched(tmp_path: Path) -> None:
    local = make(tmp_path / "c")
    before = local.genesis.read_bytes()
    with pytest.raises(LocalConsortiumError, match="not empty"):
        make(tmp_path / "c")
    assert local.genesis.read_bytes() == before


def test_nothing_is_left_behind_when_it_fails(tmp_path: Path) -> None:
    task = heart_plan().tasks[0]
    with pytest.raises(InvalidGenesisError, match="not in the document"):
        make(tmp_path / "c", LocalPlan(("a", "b"), ("x",), (task,)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "A", "", "a/b", ".hidden", "x" * 65])
def test_a_name_that_is_no_name_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidGenesisError, match="is no name"):
        make_local(tmp_path / "c", LocalPlan((name,), ()), time_ms=GENESIS_MS)
    assert list(tmp_path.iterdir()) == []


def test_free_ports_are_below_the_range_of_outgoing_connections() -> None:
    assert all(port < 32_768 for port in free_ports(8))
