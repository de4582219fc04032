"""A stream of small transactions into a running consortium. One law: only what a node acknowledged counts.

A thread a node proposes small tasks through it, one after the other, each with the node's own officer.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Self

import msgspec

from fl.records import TaskProposal
from foedus.client.errors import ClientError
from foedus.client.statements import say
from foedus.client.wire import Wire
from genesis.keys import read_key
from genesis.local import LocalConsortium, LocalNode
from tests.processes.harness import PATIENCE_SECONDS, heart_task, until

SMALL_TASK = msgspec.structs.replace(heart_task(collect_ms=3_000), participants=())


def nowhere(_: str) -> None:
    """Stay in the network of this process."""


class Stream:
    """Proposals through each of these nodes until the end of the `with` block."""

    def __init__(
        self,
        consortium: LocalConsortium,
        nodes: Sequence[LocalNode] | None = None,
        *,
        pause_seconds: float = 0.02,
        enter: Callable[[str], None] = nowhere,
    ) -> None:
        """Prepare.

        Args:
            consortium: where to.
            nodes: through which nodes; all when None.
            pause_seconds: between an answer and the next proposal, which bounds the stream.
            enter: called first in each thread, with its node's name: puts it into that node's network.
        """
        self.acknowledged: set[str] = set()
        self.counts: Counter[str] = Counter()
        """How many were acknowledged, by node."""

        self._name = secrets.token_hex(4)  # a task's name is used once, and there may be several streams
        self._consortium = consortium
        self._nodes = list(consortium.nodes if nodes is None else nodes)
        self._pause_seconds = pause_seconds
        self._enter = enter
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._go_on, args=(node,), daemon=True) for node in self._nodes]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End after the present answers; without a node that answers it takes until the patience is over."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(4 * PATIENCE_SECONDS)

    def further(self, count: int, *but: LocalNode) -> None:
        """Wait until so many more have been acknowledged through each node, but these."""
        nodes = [node.name for node in self._nodes if node not in but]
        goal = {name: self.counts[name] + count for name in nodes}
        what = f"{count} more transactions through each of {nodes}"
        until(lambda: all(self.counts[name] >= goal[name] for name in nodes), what)

    def _go_on(self, node: LocalNode) -> None:
        self._enter(node.name)
        asyncio.run(self._propose(node))

    async def _propose(self, node: LocalNode) -> None:
        key = read_key(self._consortium.participants[f"{node.name}-officer"])
        chain_id, number = self._consortium.document.chain_id, 0
        async with Wire(node.url, key=key, patience=PATIENCE_SECONDS) as wire:
            wire.chain_id = chain_id
            while not self._stopping.is_set():
                number += 1
                task = msgspec.structs.replace(SMALL_TASK, id=f"{node.name}-{self._name}-{number}")
                with suppress(ClientError):  # what is not acknowledged is promised to nobody
                    answer = await say(wire, key, chain_id, "task.propose", TaskProposal(task, None))
                    self.acknowledged.add(answer.id)
                    self.counts[node.name] += 1
                await asyncio.sleep(self._pause_seconds)
