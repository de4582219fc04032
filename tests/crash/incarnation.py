"""One life of a node, in a process of its own. One law: the node is the real one; it only writes down what it says.

The process is forked from one that has imported everything already, so that hundreds of lives take a minute.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import node.node
from node.config import load_config
from node.logs import configure
from node.service import run_node
from node.transport import Transport
from node.wire import Channel
from tests.crash.boundaries import Death, arm


@dataclass(frozen=True, slots=True)
class Life:
    """What a process needs to know."""

    config: Path
    log: Path
    sent: Path
    """Everything that the node hands to its connections, life after life."""

    death: Death


def live(life: Life) -> None:
    """Be the node until death, or until SIGTERM."""
    log = os.open(life.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    config = load_config(life.config).config
    arm(life.death, config.node.data_dir)
    configure("info", "text", node=config.node.name)
    with patch.object(node.node, "Transport", _recording(life.sent)):
        try:
            run_node(config)
        except Exception as error:  # noqa: BLE001 - what the command line does, which is not part of this process
            sys.stderr.write(f"foedus: {type(error).__name__}: {error}\n")
            sys.stderr.flush()
            os._exit(1)


def _recording(path: Path) -> type[Transport]:
    """Return a transport that writes down a frame before it takes it."""
    record = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(channel: Channel, data: bytes) -> None:
        os.write(record, bytes([channel]) + len(data).to_bytes(4, "big") + data)

    class Recording(Transport):
        def broadcast(self, channel: Channel, data: bytes) -> None:
            note(channel, data)
            super().broadcast(channel, data)

        def send(self, peer: int, channel: Channel, data: bytes) -> None:
            note(channel, data)
            super().send(peer, channel, data)

    return Recording


def frames(content: bytes) -> Iterator[tuple[Channel, bytes]]:
    """Yield what a file of sent frames holds; the last one may have been torn by the writer's death."""
    at = 0
    while at + 5 <= len(content):
        size = int.from_bytes(content[at + 1 : at + 5], "big")
        if at + 5 + size > len(content):
            return
        yield Channel(content[at]), content[at + 5 : at + 5 + size]
        at += 5 + size
