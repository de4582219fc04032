"""Connections that this node opens to one peer. One law: TLS lets in that peer alone, whatever its address."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

from ledger.validators import Validator
from node.tls import PeerKeyError, TransportIdentity, peer_key
from node.transport.bulk_client import BulkClient
from node.transport.frames import MESSAGE_BYTES_MAX
from node.transport.lane import LANE, LANE_PATHS
from node.transport.link import CLOSE_MS_MAX
from node.transport.peers import TransportLimits

FRAMES_PATH: Final = "/peer/frames"


class PeerClient:
    """A TLS context that pins one validator's key, and pools of connections: for frames, bulk and the lane."""

    def __init__(self, identity: TransportIdentity, validator: Validator, limits: TransportLimits) -> None:
        self.validator = validator
        self._limits: Final = limits
        context = identity.client_context([validator.transport_key])
        self._frames: Final = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0, use_dns_cache=False),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        self._bulk: Final = BulkClient(context, validator.name, validator.transport_key, limits)
        lane = identity.client_context([validator.transport_key])
        lane.set_alpn_protocols([LANE])
        self._lane: Final = BulkClient(lane, validator.name, validator.transport_key, limits)

    async def open_frames(self, address: str) -> aiohttp.ClientWebSocketResponse:
        """Connect for frames; whoever answers holds the validator's key.

        Raises:
            aiohttp.ClientError: no connection, the handshake failed, or the peer refused it.
            PeerKeyError: the certificate belongs to another key, issued with the pinned one.
            TimeoutError: nobody answered.
        """
        async with asyncio.timeout(self._limits.connect_ms_max / 1000):
            socket = await self._frames.ws_connect(
                f"https://{address}{FRAMES_PATH}",
                compress=0,
                autoping=False,
                max_msg_size=MESSAGE_BYTES_MAX + 1,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_MS_MAX / 1000),
            )
        try:
            shown = peer_key(socket.get_extra_info("ssl_object"))
            if shown != self.validator.transport_key:
                needed = self.validator.transport_key.hex()
                raise PeerKeyError(f"{self.validator.name} must hold {needed}, it holds {shown.hex()}")  # noqa: TRY301 - both ways to close the socket
        except PeerKeyError:  # also when the connection is gone already, and shows no key
            await socket.close()
            raise
        return socket

    async def request(self, method: str, address: str, path: str, *, bytes_max: int, body: bytes = b"") -> bytes:
        """Return the body of an answer with status 200.

        Raises:
            PeerUnreachableError: no connection, or it broke off.
            PeerRefusedError: another status, or a body of more than `bytes_max`.
        """
        bulk = self._lane if method == "GET" and path.startswith(LANE_PATHS) else self._bulk
        return await bulk.request(method, address, path, bytes_max=bytes_max, body=body)

    async def close(self) -> None:
        """Close all connections."""
        await self._frames.close()
        await asyncio.gather(self._bulk.close(), self._lane.close())
