"""What a node asks of its connections. One law: whoever carries frames and bulk in this shape can stand in for them.

`Transport` is the one over TLS; the simulator in the tests has another on virtual time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from aiohttp import web

from node.transport.lane import Answer
from node.transport.peers import PeerStatus
from node.wire import Channel


class Links(Protocol):
    """Frames to and bulk from the other validators, who are named by their index in the set in force."""

    @property
    def accepts_connections(self) -> bool:
        """Tell whether others can open connections to this node, as far as the validator set knows."""
        ...

    def has_called(self, peer: int) -> bool:
        """Tell whether a validator has opened a connection to this node since it started."""
        ...

    def add_routes(self, routes: Iterable[web.RouteDef], lane: Answer | None = None) -> None:
        """Serve bulk, before anything runs; some of it may be served in threads as well, by `lane`."""
        ...

    def broadcast(self, channel: Channel, data: bytes) -> None:
        """Queue a frame for every other validator."""
        ...

    def send(self, peer: int, channel: Channel, data: bytes) -> None:
        """Queue a frame for one validator."""
        ...

    def peers(self) -> list[PeerStatus]:
        """Return all other validators, in order of index."""
        ...

    def is_connected(self, peer: int) -> bool:
        """Tell whether there is a direct link to a validator."""
        ...

    def is_dialable(self, peer: int) -> bool:
        """Tell whether `fetch` may reach a validator."""
        ...

    async def fetch(self, peer: int, path: str, *, bytes_max: int) -> bytes:
        """GET `path` (with its query) from a validator.

        Raises:
            PeerUnreachableError: no address, no connection, or it broke off.
            PeerRefusedError: it answered with an error status, or with more than `bytes_max`.
        """
        ...

    async def push(self, peer: int, path: str, body: bytes, *, bytes_max: int = 1024) -> bytes:
        """PUT `body` to a validator; otherwise as `fetch`."""
        ...
