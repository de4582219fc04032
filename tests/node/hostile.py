"""A program that holds a validator's transport key and does as it likes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from ledger.codec import encode
from node.transport import TransportLimits
from node.transport.handshake import Hello
from tests.node.consortium import CHAIN, LIMITS, Site, identity, make_site, until, validators


@asynccontextmanager
async def hostile_session(index: int) -> AsyncIterator[aiohttp.ClientSession]:
    """Connections to validator 0 that show validator `index`'s key."""
    context = identity(index).client_context([identity(0).public_key])
    opened: list[aiohttp.ClientWebSocketResponse] = []

    class Socket(aiohttp.ClientWebSocketResponse):
        def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - as the base
            super().__init__(*args, **options)
            opened.append(self)

    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector, ws_response_class=Socket) as session:
        try:
            yield session
        finally:
            for socket in opened:  # tests leave them as they are; the garbage collector would complain of some
                socket._response.close()


async def connect(session: aiohttp.ClientSession, site: Site) -> aiohttp.ClientWebSocketResponse:
    """Open a frame socket and shake hands properly."""
    socket = await session.ws_connect(f"https://{site.address}/peer/frames", max_msg_size=0)
    await socket.send_bytes(encode(Hello(1, CHAIN, 1, ())))
    await socket.receive_bytes()
    return socket


@asynccontextmanager
async def hostile_pair(
    *, limits: TransportLimits = LIMITS
) -> AsyncIterator[tuple[Site, aiohttp.ClientWebSocketResponse]]:
    """Node 0, honest, and a raw socket to it that node 1's key opened."""
    site = make_site(0, validators(2), limits=limits)
    await site.transport.start()
    try:
        async with hostile_session(1) as session:
            socket = await connect(session, site)
            await until(lambda: site.links() == 1)
            yield site, socket
    finally:
        await site.transport.stop()


async def ends(socket: aiohttp.ClientWebSocketResponse) -> bool:
    """Read until the other side closes."""
    async with asyncio.timeout(5):
        async for _ in socket:
            pass
    return True


def stop_reading(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Take nothing from the socket any more, as a stopped process does."""
    connection = socket._response.connection
    assert connection is not None
    assert connection.transport is not None
    connection.transport.pause_reading()
