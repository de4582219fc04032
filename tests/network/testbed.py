"""Four nodes in namespaces of their own, and the network between them. One law: only the network is touched.

Hosts are numbered from 1 in the order of the nodes. Whatever a test does to the network it undoes with `heal`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import pytest

from foedus.demo.processes import Processes
from genesis.document import document_text
from genesis.local import LocalConsortium, LocalNode
from ledger.validators import ValidatorSet
from tests.network.namespaces import Namespace, NamespaceError
from tests.network.switch import Link, Orders
from tests.processes.harness import SECONDS_MAX, make_hospitals
from tests.project.tree import ROOT

CUT = Link(is_cut=True)


class Testbed:
    """A consortium spread over hosts; use it as a context manager."""

    __test__ = False

    def __init__(
        self,
        directory: Path,
        *,
        seed: int = 1,
        collect_ms: int = 500,
        without_address: Iterable[int] = (),
    ) -> None:
        """Make the consortium; the network is made by `with`.

        Args:
            directory: for everything.
            seed: of losses and jitter.
            collect_ms: how long a round waits for updates after the first one.
            without_address: hosts whose validators say that they accept no connections.
        """
        made = make_hospitals(directory / "consortium", collect_ms=collect_ms)
        self.consortium: LocalConsortium = _spread(made, set(without_address))
        self.processes = Processes(directory / "logs")
        self.acknowledged: set[str] = set()
        """Transactions that some node has acknowledged."""

        self._seed = seed
        self._hosts: dict[str, Namespace] = {}
        self._desks: dict[str, ThreadPoolExecutor] = {}
        self._orders = Orders({})
        self._open = ExitStack()

    @property
    def nodes(self) -> tuple[LocalNode, ...]:
        """The nodes, on the hosts 1 to 4."""
        return self.consortium.nodes

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            for number, node in enumerate(self.nodes, start=1):
                try:
                    host = Namespace(number)
                except NamespaceError as error:
                    pytest.skip(f"{error} (root and /dev/net/tun are needed)")
                opening.callback(host.close)
                self._hosts[node.name] = host
                self._desks[node.name] = opening.enter_context(ThreadPoolExecutor(1, initializer=host.enter))
            self._switch = opening.enter_context(self._start_switch())
            opening.enter_context(self.processes)
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def start(self, *nodes: LocalNode, variables: dict[str, str] | None = None) -> None:
        """Start nodes on their hosts; all when none is named."""
        settings = [f"{name}={value}" for name, value in (variables or {}).items()]
        for node in nodes or self.nodes:
            run = [sys.executable, "-m", "foedus", "node", "run", "--config", str(node.config)]
            self.processes.start(f"node-{node.name}", self._hosts[node.name].command(["env", *settings, *run]))

    def kill(self, *nodes: LocalNode) -> None:
        """End nodes without warning."""
        for node in nodes:
            self.processes.kill(f"node-{node.name}")

    def suspend(self, node: LocalNode) -> None:
        """Stop a process where it is (SIGSTOP)."""
        self.processes.running[f"node-{node.name}"].send_signal(signal.SIGSTOP)

    def resume(self, node: LocalNode) -> None:
        """Let it go on (SIGCONT)."""
        self.processes.running[f"node-{node.name}"].send_signal(signal.SIGCONT)

    def enter(self, name: str) -> None:
        """Put the calling thread on a node's host."""
        self._hosts[name].enter()

    def stuck(self, node: LocalNode) -> str:
        """Return what a node says about why there is work and no block for five seconds; empty while all goes well."""
        return str(self.status(node)["stuck"])

    def status(self, node: LocalNode) -> dict[str, object]:
        """Ask a node on its own host."""

        def ask() -> dict[str, object]:
            with urllib.request.urlopen(f"{node.url}/v1/status", timeout=SECONDS_MAX) as answer:  # noqa: S310 - ours
                found: dict[str, object] = json.loads(answer.read())
                return found

        return self._desks[node.name].submit(ask).result()

    # The network

    def heal(self) -> None:
        """Have a perfect network again."""
        self._order(Orders({}))

    def part(self, *groups: Iterable[LocalNode]) -> None:
        """Cut all links between groups."""
        sides = [[self._number(node) for node in group] for group in groups]
        pairs = [(a, b) for side in sides for other in sides if side is not other for a in side for b in other]
        self._order(Orders({f"{a}>{b}": CUT for a, b in pairs}))

    def cut(self, *ways: tuple[LocalNode, LocalNode]) -> None:
        """Cut these links in this direction only."""
        self._order(Orders({f"{self._number(a)}>{self._number(b)}": CUT for a, b in ways}))

    def everywhere(self, link: Link) -> None:
        """Make all links so."""
        numbers = [host.number for host in self._hosts.values()]
        self._order(Orders({f"{a}>{b}": link for a in numbers for b in numbers}))

    def close_doors(self, *nodes: LocalNode) -> None:
        """Let nobody open a connection to these; what they open themselves works."""
        self._order(Orders({}, tuple(self._number(node) for node in nodes)))

    def _number(self, node: LocalNode) -> int:
        return self._hosts[node.name].number

    def _order(self, orders: Orders) -> None:
        assert self._switch.stdin is not None
        assert self._switch.stdout is not None
        self._switch.stdin.write(msgspec.json.encode(orders) + b"\n")
        self._switch.stdin.flush()
        assert self._switch.stdout.readline() == b"in force\n", "the switch has failed"

    def _start_switch(self) -> subprocess.Popen[bytes]:
        devices = [host.device for host in self._hosts.values()]
        named = [f"{host.number}:{host.device}" for host in self._hosts.values()]
        return subprocess.Popen(
            [sys.executable, "-m", "tests.network.switch", str(self._seed), *named],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=devices,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )


def _spread(made: LocalConsortium, without_address: set[int]) -> LocalConsortium:
    """Give each node the address of its host."""
    replace = msgspec.structs.replace
    numbers = {node.name: number for number, node in enumerate(made.nodes, start=1)}
    ports = {node.name: node.peer_port for node in made.nodes}

    def address(name: str) -> str:
        return "" if numbers[name] in without_address else f"198.18.1.{numbers[name]}:{ports[name]}"

    members = tuple(replace(member, address=address(member.name)) for member in made.document.validators.members)
    document = replace(made.document, validators=ValidatorSet(members))
    made.genesis.write_text(document_text(document), encoding="utf-8")
    for node in made.nodes:
        settings = node.config.read_text(encoding="utf-8")
        loopback, everywhere = f'[peer]\nhost = "{node.host}"', '[peer]\nhost = "0.0.0.0"'
        assert loopback in settings
        node.config.write_text(settings.replace(loopback, everywhere), encoding="utf-8")
    return LocalConsortium(made.directory, document, made.nodes, made.participants)
