"""Real processes that catch up: from genesis, with a snapshot, after a long time; one peer lies, and the chain runs."""

from __future__ import annotations

import http.client
import signal
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from benchmarks.long_chain import Author, copy_chain, height_of
from benchmarks.sync import status
from foedus.demo.processes import Processes
from genesis.local import LocalConsortium, LocalNode, LocalPlan, make_local
from ledger.codec import encode
from ledger.fields import Height
from node.signed_request import signed_headers
from node.store import Store
from node.view import NodeStatus
from tests.processes.harness import log_of, until

pytestmark = pytest.mark.processes

NAMES = ("east", "north", "south", "west")


@dataclass
class Load:
    """A thread that proposes tasks through one node, one after the other."""

    author: Author
    node: LocalNode
    _stopping: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(10)

    def _go_on(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.node.api_port, timeout=10)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            while not self._stopping.is_set():
                self._propose(connection)

    def _propose(self, connection: http.client.HTTPConnection) -> None:
        path, raw = "/v1/transactions?wait=committed", self.author.proposal()
        chain_id, now_ms = self.author.consortium.document.chain_id, time.time_ns() // 1_000_000
        said = signed_headers(self.author.officer, chain_id, "POST", path, now_ms, raw)
        connection.request("POST", path, raw, said | {"Content-Type": "application/msgpack"})
        connection.getresponse().read()


@dataclass
class Scene:
    """Three nodes with a long chain, of which the third lies; the fourth is still to be started."""

    consortium: LocalConsortium
    processes: Processes
    author: Author

    @property
    def honest(self) -> tuple[LocalNode, ...]:
        return self.consortium.nodes[:2]

    @property
    def late(self) -> LocalNode:
        return self.consortium.nodes[3]

    def run(self, **settings: str) -> None:
        """Start the three, with more settings."""
        liar = self.consortium.nodes[2]
        for node in (*self.honest, liar):
            configure(node, **settings)
        for node in self.honest:
            self.processes.start_node(node.name, node.config)
        command = [sys.executable, "-m", "tests.processes.lying_node", "node", "run", "--config", str(liar.config)]
        self.processes.start(f"node-{liar.name}", command)
        until(lambda: all(now(node) is not None for node in self.honest), "an answer of the three")

    def start_late(self) -> None:
        self.processes.start_node(self.late.name, self.late.config)

    def start_late_with_the_liar_alone(self) -> None:
        """Start the fourth while the honest stand still, until it has caught the liar."""
        self._signal_honest(signal.SIGSTOP)
        try:
            self.start_late()
            until(lambda: "sync.false_answer" in log_of(self.processes, self.late), "a lie found out")
        finally:
            self._signal_honest(signal.SIGCONT)

    def _signal_honest(self, number: signal.Signals) -> None:
        for node in self.honest:
            self.processes.running[f"node-{node.name}"].send_signal(number)

    def catch_up(self) -> NodeStatus:
        """Wait until the late node has a block that was made after it began."""
        goal = max(height_of(node.data) for node in self.honest) + 3
        for step in range(1_000, goal, 1_000):
            until(lambda step=step: (now(self.late) or NOTHING).height >= step, f"height {step}")  # type: ignore[misc]
        until(lambda: (now(self.late) or NOTHING).height >= goal, f"height {goal} on {self.late.name}")
        found = now(self.late)
        assert found is not None
        return found

    def require_vote(self) -> None:
        """Check that the chain goes on when there is no quorum without the late node."""
        self.processes.kill(f"node-{self.consortium.nodes[1].name}")
        goal = height_of(self.honest[0].data) + 5
        until(lambda: height_of(self.honest[0].data) >= goal, "five blocks that need the late node's vote")


NOTHING = NodeStatus(
    name="",
    chain_id="",
    version="",
    height=0,
    tip_id="",
    tip_time_ms=0,
    view=0,
    validator=False,
    boot_epoch=0,
    peers=(),
    mempool_transactions=0,
    mempool_bytes=0,
)


def now(node: LocalNode) -> NodeStatus | None:
    return status(node)


def configure(node: LocalNode, **settings: str) -> None:
    """Add settings such as `storage__blocks_kept="64"`."""
    text = node.config.read_text(encoding="utf-8")
    for name, value in settings.items():
        section, _, setting = name.partition("__")
        text += f"\n[{section}]\n{setting} = {value}\n"
    node.config.write_text(text, encoding="utf-8")


def same_blocks(scene: Scene, first: int, last: int) -> bool:
    """Tell whether the late node and an honest one hold the same blocks."""
    kept = []
    for node in (scene.honest[0], scene.late):
        with Store.open_readonly(node.data) as store:
            found = (store.certified_block(Height(height)) for height in range(first, last + 1))
            kept.append([None if one is None else encode(one.block) for one in found])
    return None not in kept[0] and kept[0] == kept[1]


def same_headers(scene: Scene, last: int) -> bool:
    """Tell whether they hold the same headers from genesis on."""
    kept = []
    for node in (scene.honest[0], scene.late):
        with Store.open_readonly(node.data) as store:
            kept.append([store.header(Height(height)) for height in range(1, last + 1)])
    return None not in kept[0] and kept[0] == kept[1]


@pytest.fixture
def scene(tmp_path: Path, processes: Processes) -> Scene:
    """A chain of nothing yet."""
    past_ms = time.time_ns() // 1_000_000 - 10**8
    consortium = make_local(tmp_path / "c", LocalPlan(NAMES, ()), time_ms=past_ms)
    return Scene(consortium, processes, Author.of(consortium))


def write(scene: Scene, blocks: int) -> None:
    """Give the three a chain."""
    scene.author.write(scene.consortium.nodes[0], blocks, 1)
    for node in scene.consortium.nodes[1:3]:
        copy_chain(scene.consortium.nodes[0], node)


def test_a_new_node_comes_from_genesis_to_voting_while_a_peer_lies_and_the_chain_runs(scene: Scene) -> None:
    write(scene, 400)
    scene.run()
    with Load(scene.author, scene.honest[0]):
        scene.start_late_with_the_liar_alone()
        found = scene.catch_up()
        scene.require_vote()
    assert found.blocks_from == 1
    assert same_blocks(scene, 1, 400)


def test_a_new_node_begins_with_a_snapshot_where_the_past_is_pruned_while_a_peer_lies(scene: Scene) -> None:
    write(scene, 600)
    scene.run(storage__blocks_kept="64")
    with Load(scene.author, scene.honest[0]):
        until(lambda: (now(scene.honest[1]) or NOTHING).blocks_from > 200, "a pruned past")
        scene.start_late()
        found = scene.catch_up()
        scene.require_vote()
    assert 1 < found.blocks_from <= found.height + 1
    assert same_headers(scene, found.height)
    assert same_blocks(scene, max(found.height - 3, found.blocks_from), found.height)
    assert "snapshot.in_force" in log_of(scene.processes, scene.late)


def _comes_back(scene: Scene, away: int) -> None:
    first, late = scene.consortium.nodes[0], scene.late
    scene.author.write(first, 20, 1)
    copy_chain(first, late)
    scene.author.write(first, away, 1)
    for node in scene.consortium.nodes[1:3]:
        copy_chain(first, node)
    scene.run()
    with Load(scene.author, scene.honest[0]):
        scene.start_late()
        scene.catch_up()
        scene.require_vote()
    assert same_blocks(scene, 1, 20 + away)


def test_a_node_that_was_away_for_500_blocks_returns_to_voting_by_itself(scene: Scene) -> None:
    _comes_back(scene, 500)


@pytest.mark.soak
def test_a_node_that_was_away_for_10_000_blocks_returns_to_voting_by_itself(scene: Scene) -> None:
    _comes_back(scene, 10_000)
