"""Connections that this node opens to one peer. One law: TLS lets in that peer alone, whatever its address."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

from ledger.validators import Validator
from node.tls import PeerKeyError, TransportIdentity, peer_key
from node.transport.errors import PeerRefusedError, PeerUnreachableError
from node.transport.frames import MESSAGE_BYTES_MAX
from node.transport.link import CLOSE_MS_MAX
from node.transport.peers import TransportLimits

FRAMES_PATH: Final = "/peer/frames"
BODY_READ_BYTES: Final = 128 << 10
REASON_BYTES_MAX: Final = 300


class PeerClient:
    """A TLS context that pins one validator's key, and two pools of connections: for frames and for bulk."""

    def __init__(self, identity: TransportIdentity, validator: Validator, limits: TransportLimits) -> None:
        self.validator = validator
        self._limits: Final = limits
        context = identity.client_context([validator.transport_key])
        self._frames: Final = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0, use_dns_cache=False),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        self._bulk: Final = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=context, limit=limits.bulk_requests_per_peer_max, use_dns_cache=False, keepalive_timeout=30
            ),
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=limits.connect_ms_max / 1000,
                sock_read=limits.bulk_stall_ms_max / 1000,
            ),
            auto_decompress=False,
            read_bufsize=BODY_READ_BYTES,
        )

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
        name = self.validator.name
        try:
            async with self._bulk.request(method, f"https://{address}{path}", data=body or None) as response:
                if response.status != 200:
                    reason = (await response.content.read(REASON_BYTES_MAX)).decode("utf-8", "replace")
                    raise PeerRefusedError(peer=name, path=path, status=response.status, reason=reason)
                return await _read_body(response, name, path, bytes_max)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise PeerUnreachableError(peer=name, path=path, reason=str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._frames.close()
        await self._bulk.close()


async def _read_body(response: aiohttp.ClientResponse, name: str, path: str, bytes_max: int) -> bytes:
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > bytes_max:
            response.close()
            reason = f"at most {bytes_max} bytes were asked for, more came"
            raise PeerRefusedError(peer=name, path=path, status=response.status, reason=reason)
    return b"".join(pieces)
