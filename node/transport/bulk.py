"""Bulk on the node's port: payload chunks, blocks. One law: bulk takes what votes leave over.

Handlers return plain responses; this middleware authenticates the peer, bounds how many requests are served at once and
how many a peer may have waiting, and writes bodies in small pieces within a rate, so that the loop gets to every vote
in between.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ledger.identity import PublicKey
from node.tls import PeerKeyError, peer_key
from node.transport.budget import TokenBucket
from node.transport.client import FRAMES_PATH
from node.transport.peers import PeerKey, TransportLimits

PIECE_BYTES: Final = 256 << 10
BURST_S: Final = 0.05


class BulkGate:
    """The middleware through which every request passes."""

    def __init__(
        self,
        limits: TransportLimits,
        index_of: Callable[[PublicKey], int | None],
        busy: Callable[[asyncio.BaseTransport | None], AbstractContextManager[None]],
    ) -> None:
        """Take the limits, who is a member, and how a connection is kept while it is served."""
        self._limits: Final = limits
        self._busy: Final = busy
        self._index_of: Final = index_of
        self._slots: Final = asyncio.Semaphore(limits.bulk_requests_max)
        self._held: Final[Counter[int]] = Counter()
        self.callers: Final[set[PublicKey]] = set()
        """Members of the set that have opened a connection to this node since it started."""

        self._rate: Final = TokenBucket(limits.bulk_bytes_per_s_max, asyncio.get_running_loop().time(), burst_s=BURST_S)

    @property
    def middleware(self) -> Middleware:
        """What the application is given."""

        @web.middleware
        async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
            with self._busy(request.transport):
                return await self._admit(request, handler)

        return admit

    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        peer = self._authenticate(request)
        request[PeerKey] = peer
        if request.path == FRAMES_PATH:
            return await handler(request)
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise web.HTTPUnsupportedMediaType(text="bodies are taken as they are, without Content-Encoding")
        if self._held[peer] >= self._limits.bulk_requests_per_peer_max:
            limit = self._limits.bulk_requests_per_peer_max
            raise web.HTTPTooManyRequests(text=f"at most {limit} bulk requests of a peer at once")
        self._held[peer] += 1
        try:
            async with self._slots:
                response = await handler(request)
                return await self._write(request, response)
        finally:
            self._held[peer] -= 1

    def _authenticate(self, request: web.Request) -> int:
        transport = request.transport
        try:
            key = peer_key(transport.get_extra_info("ssl_object") if transport is not None else None)
        except PeerKeyError as error:
            raise web.HTTPForbidden(text=str(error)) from error
        index = self._index_of(key)
        if index is None:
            raise web.HTTPForbidden(text=f"{key.hex()} is no validator's transport key in the set in force")
        self.callers.add(key)
        return index

    async def _write(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        body = response.body if isinstance(response, web.Response) else None
        if not isinstance(body, bytes) or len(body) <= PIECE_BYTES:
            return response
        stream = web.StreamResponse(status=response.status, headers={"Content-Type": response.content_type})
        stream.content_length = len(body)
        await stream.prepare(request)
        try:
            await self._write_pieces(stream, body)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        return stream

    async def _write_pieces(self, stream: web.StreamResponse, body: bytes) -> None:
        clock, content = asyncio.get_running_loop(), memoryview(body)
        for start in range(0, len(body), PIECE_BYTES):
            piece = content[start : start + PIECE_BYTES]
            async with asyncio.timeout(self._limits.bulk_stall_ms_max / 1000):
                await stream.write(piece)
            await asyncio.sleep(self._rate.take(len(piece), clock.time()))
        await stream.write_eof()
