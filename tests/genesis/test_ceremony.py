"""The ceremony with separate processes and separate directories: nothing but cards, document and signatures travels."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from foedus.cli.api import Node
from foedus.cli.output import CommandError
from foedus.demo.processes import Processes
from genesis.document import load_document
from genesis.ports import free_ports
from node.view import NodeStatus
from tests.genesis.waiting import until

NAMES = ("cleveland", "hungary", "switzerland", "va-long-beach")
SECRETS = ("validator.key", "transport.key", "trainer.key", "officer.key")
SECONDS_MAX = 60.0
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
pytestmark = pytest.mark.processes


@dataclass(frozen=True)
class Institution:
    """A machine of its own: it reads and writes in its directory alone."""

    name: str
    home: Path
    peer_port: int
    api_port: int
    is_sealed: bool
    """Whether its node's keys need a passphrase."""

    @property
    def url(self) -> str:
        """Its node's API."""
        return f"http://127.0.0.1:{self.api_port}"

    def run(self, *arguments: object, code: int = 0) -> dict[str, object]:
        """Run `foedus` here and return the JSON that it prints."""
        command = [sys.executable, "-m", "foedus", *(str(one) for one in arguments), "--json"]
        done = subprocess.run(
            command, cwd=self.home, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == code, done.stderr
        value = json.loads(done.stdout)
        assert isinstance(value, dict)
        return value

    def make_card(self) -> Path:
        """Make keys and card; return the card."""
        for secret in SECRETS:
            self.run("keys", "new", f"keys/{secret}", "--owner", f"{self.name} {secret}", "--in-clear")
        keys = ("--validator", "keys/validator.key", "--transport", "keys/transport.key")
        people = ("--trainer", f"{self.name}=keys/trainer.key", "--officer", f"{self.name}-officer=keys/officer.key")
        self.run("genesis", "card", self.name, "--address", f"127.0.0.1:{self.peer_port}", *keys, *people)
        return self.home / f"{self.name}.card.json"


def send(files: list[Path], institutions: list[Institution]) -> None:
    """Bring files to everybody, as e-mail would."""
    for file in files:
        for one in institutions:
            if file.parent != one.home:
                shutil.copy(file, one.home)


@pytest.fixture
def institutions(tmp_path: Path) -> list[Institution]:
    ports = free_ports(8)
    made = [
        Institution(name, tmp_path / name, ports[place], ports[4 + place], is_sealed=place == 0)
        for place, name in enumerate(NAMES)
    ]
    for one in made:
        one.home.mkdir()
        (one.home / "passphrase").touch(mode=0o600)
        (one.home / "passphrase").write_text("correct horse battery staple\n")
    return made


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path / "logs") as children:
        yield children


def test_four_institutions_that_share_no_disk_begin_a_chain(
    institutions: list[Institution], processes: Processes
) -> None:
    send([one.make_card() for one in institutions], institutions)
    cards = [f"{name}.card.json" for name in NAMES]
    options = ("--chain-name", "hospitals", "--task", "heart", "--rounds", 3)
    built = [
        one.run("genesis", "build", *(cards if place % 2 else reversed(cards)), *options)
        for place, one in enumerate(institutions)
    ]
    assert len({str(answer["chain_id"]) for answer in built}) == 1
    assert len({(one.home / "genesis.json").read_bytes() for one in institutions}) == 1

    for one in institutions:
        one.run("genesis", "sign", "genesis.json", *cards, "--key", "keys/validator.key")
    send([one.home / f"{one.name}.signature.json" for one in institutions], institutions)
    signatures = [f"{name}.signature.json" for name in NAMES]
    first, *others = institutions
    early = first.run("genesis", "verify", "genesis.json", *cards, *signatures[:3], code=1)
    assert (early["complete"], early["missing"]) == (False, [NAMES[3]])
    for one in institutions:
        papers = (*signatures, *cards)
        whole = one.run("genesis", "verify", "genesis.json", *papers, "--collect", "signatures.json")
        assert whole["complete"] is True
        keys = ("--validator", "keys/validator.key", "--transport", "keys/transport.key")
        trusted = ("--genesis", "genesis.json", "--signatures", "signatures.json")
        one.run("node", "init", ".", *trusted, *keys, "--api-port", one.api_port)
        run = [sys.executable, "-m", "foedus", "node", "run", "--config", str(one.home / "node.toml")]
        passphrase = ["--passphrase-file", str(one.home / "passphrase")] if one.is_sealed else []
        for secret in SECRETS[:2] if one.is_sealed else ():
            one.run("keys", "encrypt", f"keys/{secret}", "--passphrase-file", "passphrase")
        processes.start(one.name, [*run, *passphrase])

    until(lambda: is_connected(first), "links to all others", SECONDS_MAX)
    answer = first.run("task", "template", "digits", "--id", "second")
    (first.home / "second.json").write_text(json.dumps(answer))
    officer = ("--key", "keys/officer.key", "--genesis", "genesis.json")
    first.run("task", "propose", "second.json", *officer, "--url", first.url)
    approved = [one.run("task", "approve", "second", *officer, "--url", one.url) for one in others[:2]]
    state = approved[-1]
    assert (state["status"], state["approvals"]) == ("active", list(NAMES[:3]))
    assert state["height"] == 3

    chain_id = load_document(first.home / "genesis.json").chain_id.hex()
    until(lambda: all(height(one) >= 3 for one in institutions), "three blocks everywhere", SECONDS_MAX)
    assert first.run("status", "--url", first.url)["chain_id"] == chain_id
    assert first.run("doctor", "--config", "node.toml")["problems"] == 0


def status(one: Institution) -> NodeStatus | None:
    try:
        return Node(one.url).get(NodeStatus, "status")
    except CommandError:
        return None


def is_connected(one: Institution) -> bool:
    now = status(one)
    return now is not None and all(peer.connected for peer in now.peers)


def height(one: Institution) -> int:
    now = status(one)
    return 0 if now is None else now.height
