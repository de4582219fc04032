"""A consortium for containers: each node has a host of its own, and an API that its clients can trust."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from genesis.api_certificates import api_certificates
from genesis.local import EVERY_ADDRESS, LocalConsortium, LocalConsortiumError, LocalNode
from node.config import load_config
from tests.genesis.consortium import GENESIS_MS, heart_plan, make

NOW_MS = 1_790_000_000_000


@pytest.fixture
def consortium(tmp_path: Path) -> LocalConsortium:
    return make(tmp_path / "c", replace(heart_plan(), containers=True))


def shake_hands(node: LocalNode, authority: bytes, name: str) -> None:
    """Connect a client that trusts `authority` with the node's API, in memory."""
    config = load_config(node.config, {}).config.api
    assert config.tls_certificate is not None
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(config.tls_certificate, config.tls_key)
    client_context = ssl.create_default_context(cadata=authority.decode())
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT  # Python 3.13 does so by itself
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    client.do_handshake()
    server.do_handshake()


def test_nodes_are_reached_by_their_names_and_listen_everywhere(consortium: LocalConsortium) -> None:
    for node in consortium.nodes:
        config = load_config(node.config, {}).config
        assert {config.peer.host, config.api.host} == {EVERY_ADDRESS}
        assert node.url == f"https://{node.name}:{config.api.port}"
    addresses = {member.name: member.address for member in consortium.document.validators.members}
    assert addresses == {node.name: f"{node.name}:7001" for node in consortium.nodes}


@pytest.mark.parametrize("name", ["hungary", "localhost", "127.0.0.1", "::1"])
def test_a_client_trusts_a_node_by_each_of_its_names(consortium: LocalConsortium, name: str) -> None:
    authority = (consortium.directory / "api-ca.pem").read_bytes()
    shake_hands(consortium.nodes[1], authority, name)


def test_a_node_cannot_pass_for_another(consortium: LocalConsortium) -> None:
    authority = (consortium.directory / "api-ca.pem").read_bytes()
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(consortium.nodes[1], authority, "cleveland")


def test_another_consortiums_authority_is_not_trusted(consortium: LocalConsortium) -> None:
    other = api_certificates(["hungary"], time_ms=NOW_MS)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
        shake_hands(consortium.nodes[1], other.authority, "hungary")


def test_the_authoritys_key_is_not_kept(consortium: LocalConsortium) -> None:
    files = [path for path in consortium.directory.rglob("*") if path.is_file()]
    private = [path for path in files if b"PRIVATE KEY" in path.read_bytes()]
    assert sorted(private) == sorted(node.directory / "keys" / "api.key" for node in consortium.nodes)
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}


def test_a_base_port_means_nothing_to_containers(tmp_path: Path) -> None:
    with pytest.raises(LocalConsortiumError, match="leave out --base-port"):
        make(tmp_path / "c", replace(heart_plan(), containers=True, base_port=9000))


def test_a_consortium_on_one_machine_needs_no_certificates(tmp_path: Path) -> None:
    local = make(tmp_path / "c")
    assert [path for path in local.directory.rglob("*") if "api" in path.name] == []
    assert local.document.time_ms == GENESIS_MS
