"""The one port of a node: frames and bulk come in here. One law: TLS first, then the set in force, then the rest."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from aiohttp import web

from ledger.identity import PublicKey
from node.door import Connection, Door, DoorLimits
from node.tls import TransportIdentity, peer_key, pin
from node.transport.bulk import BulkGate
from node.transport.client import FRAMES_PATH
from node.transport.errors import HandshakeRefusedError
from node.transport.frames import MESSAGE_BYTES_MAX
from node.transport.handshake import shake_hands
from node.transport.lane import Answer, Lane
from node.transport.link import CLOSE_MS_MAX, Link
from node.transport.peers import TransportLimits

if TYPE_CHECKING:
    from node.transport.mesh import Transport

REQUEST_BYTES_MAX: Final = (1 << 20) + 4096
"""Body of one request, so that a payload chunk fits."""

SHUTDOWN_S: Final = 1.0
IDLE_S: Final = 60.0
"""A connection without a request, or with half of one's head, is closed after so long."""


class Port:
    """The server side of the transport."""

    def __init__(self, mesh: Transport, identity: TransportIdentity, listen: tuple[str, int] | None) -> None:
        self.number = 0
        self._mesh: Final = mesh
        self._identity: Final = identity
        self._listen: Final = listen
        self._routes: Final[list[web.RouteDef]] = [web.get(FRAMES_PATH, self._accept)]
        self._context: ssl.SSLContext | None = None
        self._runner: web.AppRunner | None = None
        self._door: Door | None = None
        self._gate: BulkGate | None = None
        self._lane: Lane | None = None
        self._lane_answer: Answer | None = None

    def add_routes(self, routes: Iterable[web.RouteDef], lane: Answer | None) -> None:
        """Serve these as well, from `open` on, and what `lane` answers in the lane."""
        assert self._runner is None, "routes are added before the transport starts"
        self._routes.extend(routes)
        self._lane_answer = lane or self._lane_answer

    async def open(self, pinned: list[bytes]) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be listened at.
        """
        if self._listen is None:
            return
        limits = self._mesh.limits
        self._context = self._identity.server_context(pinned)
        door = self._door = Door("peer", door_limits(limits), tls=self._context, whose=_whose)
        gate = self._gate = BulkGate(limits, self._mesh.index_of, door.busy)
        if self._lane_answer is not None:
            door.aside = self._lane = Lane(
                self._context, limits, self._mesh.index_of, gate.callers.add, door.busy, self._lane_answer
            )
        application = web.Application(middlewares=[gate.middleware], client_max_size=REQUEST_BYTES_MAX)
        application.add_routes(self._routes)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=SHUTDOWN_S,
            keepalive_timeout=IDLE_S,
            auto_decompress=False,
        )
        await self._runner.setup()
        server = self._runner.server
        assert server is not None, "a runner that is set up has a server"
        self.number = await door.open(server, *self._listen)

    def pin(self, keys: Iterable[bytes]) -> None:
        """Let these finish the handshake as well; `BulkGate` knows who left."""
        if self._context is not None:
            pin(self._context, keys)

    def has_been_called_by(self, key: PublicKey) -> bool:
        """Tell whether the holder of a key has opened a connection to this node since it started."""
        return self._gate is not None and key in self._gate.callers

    def stop_listening(self) -> None:
        """Accept no more connections."""
        if self._door is not None:
            self._door.shut()

    async def close(self) -> None:
        """End every request."""
        if self._door is not None:
            await self._door.close()
        if self._lane is not None:
            await self._lane.close()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._door is not None:
            self._door.abort()
            await asyncio.sleep(0)  # the loop closes aborted sockets in its next turn

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        key = peer_key(transport.get_extra_info("ssl_object") if transport is not None else None)
        mesh = self._mesh
        away_s = mesh.penalties.left_s(key, asyncio.get_running_loop().time())
        if away_s > 0:
            raise web.HTTPTooManyRequests(text=f"garbage came from you: stay away for {away_s:.1f} s")
        socket = web.WebSocketResponse(
            compress=False, autoping=False, max_msg_size=MESSAGE_BYTES_MAX + 1, timeout=CLOSE_MS_MAX / 1000
        )
        await socket.prepare(request)
        try:
            theirs = await shake_hands(socket, mesh.hello(), timeout_s=mesh.limits.connect_ms_max / 1000)
        except HandshakeRefusedError as error:
            mesh.note_refusal(key, str(error))
            return socket
        await mesh.carry(Link(socket, key, theirs, dialed=False, limits=mesh.limits))
        return socket


def door_limits(limits: TransportLimits) -> DoorLimits:
    """Return what the transport's limits mean for its door."""
    return DoorLimits(
        accepts_per_s=limits.accepts_per_s_max,
        handshakes_max=limits.handshakes_max,
        handshake_s=limits.connect_ms_max / 1000,
        connections_max=limits.connections_max,
        connections_each_max=limits.connections_per_peer_max,
    )


def _whose(transport: Connection) -> bytes:
    return peer_key(transport.get_extra_info("ssl_object"))
