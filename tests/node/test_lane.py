"""The lane of the peer port: who gets in, what is served there, and what a slow or rude peer costs."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from node.tls import TransportIdentity
from node.transport import LaneRefusedError, PeerRefusedError, PeerUnreachableError, TransportLimits
from node.transport.bulk_client import BulkClient
from node.transport.client_hello import offered_protocols
from node.transport.lane import LANE, LANE_PATHS, PIECE_BYTES
from tests.node.consortium import LIMITS, Site, identity, make_site, quick, running, until, validator, validators

BODY = bytes(range(256)) * 5_000
PATH = f"{LANE_PATHS}this"


@asynccontextmanager
async def lane(limits: TransportLimits = LIMITS, members: int = 3) -> AsyncIterator[Site]:
    """A node whose lane has one body, which it serves on its other connections with another ending."""

    def answer(peer: int, path: str) -> bytes:
        if path != PATH:
            raise LaneRefusedError(404, f"{path} is not here for {peer}")
        return BODY

    async def on_route(_: web.Request) -> web.Response:
        return web.Response(body=BODY + b"by its route")

    known = validators(members)
    site = make_site(0, known, limits=limits)
    site.transport.add_routes([web.get(PATH, on_route)], answer)
    async with running([site], known):
        yield site


@asynccontextmanager
async def caller(index: int, *protocols: str, limits: TransportLimits = LIMITS) -> AsyncIterator[BulkClient]:
    """A member's client towards node 0."""
    context = identity(index).client_context([identity(0).public_key])
    if protocols:
        context.set_alpn_protocols(list(protocols))
    client = BulkClient(context, "v0", identity(0).public_key, limits)
    try:
        yield client
    finally:
        await client.close()


async def test_one_who_offers_the_lane_is_served_by_threads_and_others_by_the_routes() -> None:
    async with lane() as site, caller(1, "h2", LANE) as quickly, caller(1) as slowly:
        for _ in range(3):
            assert await quickly.request("GET", site.address, PATH, bytes_max=len(BODY)) == BODY
        by_route = await slowly.request("GET", site.address, PATH, bytes_max=2 * len(BODY))
        assert by_route == BODY + b"by its route"
        assert site.transport.has_called(1)


async def test_what_the_lane_does_not_have_is_refused_with_a_reason() -> None:
    async with lane() as site, caller(1, LANE) as client:
        with pytest.raises(PeerRefusedError, match="is not here for 1"):
            await client.request("GET", site.address, LANE_PATHS + "other", bytes_max=10)
        with pytest.raises(PeerRefusedError, match="405"):
            await client.request("PUT", site.address, PATH, body=b"x", bytes_max=10)
        assert await client.request("GET", site.address, PATH, bytes_max=len(BODY)) == BODY


async def test_nobody_gets_into_the_lane_whose_key_is_not_pinned() -> None:
    async with lane() as site, caller(7, LANE) as stranger, caller(1, LANE) as member:
        with pytest.raises(PeerUnreachableError):
            await stranger.request("GET", site.address, PATH, bytes_max=len(BODY))
        assert await member.request("GET", site.address, PATH, bytes_max=len(BODY)) == BODY


async def test_a_member_that_left_the_set_gets_nothing_over_the_connection_it_has() -> None:
    async with lane() as site, caller(2, LANE) as client:
        assert await client.request("GET", site.address, PATH, bytes_max=len(BODY)) == BODY
        site.transport.update_validators(validators(2))
        with pytest.raises(PeerUnreachableError):
            await client.request("GET", site.address, PATH, bytes_max=len(BODY))


async def test_one_that_takes_nothing_is_dropped_and_others_are_served_meanwhile() -> None:
    async with lane(quick(bulk_stall_ms_max=300)) as site, caller(2, LANE) as other:
        lazy = await asyncio.to_thread(_connect, site.transport.port, 1)
        with lazy:
            for _ in range(40):  # more than the kernel's buffers hold
                lazy.sendall(f"GET {PATH} HTTP/1.1\r\n\r\n".encode())
            assert await other.request("GET", site.address, PATH, bytes_max=len(BODY)) == BODY
            port = site.transport._port
            assert port._lane is not None
            serving = port._lane._serving
            await until(lambda: len(serving) == 1)
            assert await asyncio.to_thread(_drained, lazy) < 40 * len(BODY)


async def test_one_that_hangs_up_in_the_middle_of_an_answer_leaves_no_thread_behind() -> None:
    async with lane() as site:
        rude = await asyncio.to_thread(_connect, site.transport.port, 1)
        rude.sendall(f"GET {PATH} HTTP/1.1\r\n\r\n".encode())
        assert await asyncio.to_thread(rude.recv, 1_000)
        rude.close()
        port = site.transport._port
        assert port._lane is not None
        serving = port._lane._serving
        await until(lambda: not serving)
    await until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("lane")])


async def test_a_head_without_an_end_is_not_read_for_ever() -> None:
    async with lane() as site:
        rude = await asyncio.to_thread(_connect, site.transport.port, 1)
        with rude:
            rude.sendall(b"GET /" + b"a" * 9_000)
            assert b"431" in await asyncio.to_thread(rude.recv, 100)


@pytest.mark.parametrize("offered", [[], ["h2"], ["h2", LANE], [LANE]])
def test_the_protocols_of_a_client_hello_are_read_before_anything_is_agreed(offered: list[str]) -> None:
    hello = _hello(offered)
    assert offered_protocols(hello) == [name.encode() for name in offered]
    for end in range(len(hello)):
        assert offered_protocols(hello[:end]) == []


@given(st.binary(max_size=300), st.integers(0, 600), st.integers(0, 255))
def test_no_bytes_are_more_than_a_hint(noise: bytes, place: int, value: int) -> None:
    offered_protocols(noise)
    hello = bytearray(HELLO)
    hello[place % len(hello)] = value
    assert all(isinstance(name, bytes) for name in offered_protocols(bytes(hello)))


def _hello(offered: list[str]) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if offered:
        context.set_alpn_protocols(offered)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="v0").do_handshake()
    return outgoing.read()


HELLO = _hello([LANE])


def _connect(port: int, index: int) -> ssl.SSLSocket:
    context = TransportIdentity(bytes([index + 1]) * 32).client_context([validator(0).transport_key])
    context.set_alpn_protocols([LANE])
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 5))


def _drained(connection: ssl.SSLSocket) -> int:
    """Return how many bytes are still to be read."""
    came = 0
    try:
        while part := connection.recv(PIECE_BYTES):
            came += len(part)
    except (OSError, ssl.SSLError):
        pass
    return came
