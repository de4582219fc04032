"""Institutions that come and go, by the commands that their people type."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from genesis.keys import new_key, write_key
from genesis.local import LocalConsortium, LocalNode
from genesis.ports import free_ports
from genesis.settings import NodeSettings
from tests.processes.harness import SECONDS_MAX


@dataclass(frozen=True)
class Newcomer:
    """An institution that is not in the genesis document."""

    node: LocalNode
    officer: Path
    card: Path


def newcomer(consortium: LocalConsortium, name: str) -> Newcomer:
    """Make keys, settings and a card, as the institution does on its own machine."""
    api_port, peer_port = free_ports(2)
    node = LocalNode(name, consortium.directory / "nodes" / name, api_port, peer_port)
    keys = node.directory / "keys"
    keys.mkdir(parents=True)
    for use in ("validator", "transport", "officer"):
        write_key(keys / f"{use}.key", new_key(), owner=name)
    settings = NodeSettings(
        name,
        "../../genesis.json",
        "keys/validator.key",
        "keys/transport.key",
        ("127.0.0.1", peer_port),
        ("127.0.0.1", api_port),
    )
    node.config.write_text(settings.text(), encoding="utf-8")
    card = node.directory / "basel.card.json"
    command(
        *("genesis", "card", name, "--join", str(consortium.genesis), "--address", f"127.0.0.1:{peer_port}"),
        *("--validator", str(keys / "validator.key"), "--transport", str(keys / "transport.key")),
        *("--officer", f"{name}-officer={keys / 'officer.key'}", "--out", str(card)),
    )
    return Newcomer(node, keys / "officer.key", card)


def command(*arguments: str) -> dict[str, object]:
    """Run a `foedus` command; return what it says as JSON."""
    ended = subprocess.run(
        [sys.executable, "-m", "foedus", *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
    )
    assert ended.returncode == 0, (arguments, ended.stderr)
    said = json.loads(ended.stdout)
    assert isinstance(said, dict)
    return said


def officer(consortium: LocalConsortium, node: LocalNode) -> tuple[str, ...]:
    """Return the options with which a member's officer speaks through its own node."""
    return ("--key", str(consortium.participants[f"{node.name}-officer"]), "--url", node.url)


def vote(consortium: LocalConsortium, voters: list[tuple[str, ...]], *action: str) -> int:
    """Let the first propose and the others approve; return the number."""
    said = command("validator", *action, *voters[0])
    number = said["number"]
    assert isinstance(number, int)
    for voter in voters[1:]:
        command("proposal", "approve", str(number), *voter)
    return number


def asked(node: LocalNode, path: str) -> dict[str, object]:
    """Return a node's answer."""
    with urllib.request.urlopen(f"{node.url}/v1/{path}", timeout=SECONDS_MAX) as answer:  # noqa: S310 - our own node
        said = json.loads(answer.read())
    assert isinstance(said, dict)
    return said


def seated(node: LocalNode) -> list[str]:
    """Return who decides the next height, as a node says."""
    items = asked(node, "validators")["items"]
    assert isinstance(items, list)
    return [str(one["name"]) for one in items]
