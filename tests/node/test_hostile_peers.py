"""Whoever knocks, stalls, floods or inflates: it costs what its share is, and those who were there go on."""

from __future__ import annotations

import asyncio
import gzip
import socket
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from ledger.identity import PublicKey
from ledger.validators import ValidatorSet
from node.door import Door, DoorLimits
from node.inbox import BYTES_MAX, LETTERS_MAX, Inbox, Letter
from node.transport import PeerKey, Worth
from node.transport.frames import direct
from node.wire import Channel
from tests.node.api_client import asking
from tests.node.consortium import identity, make_site, mesh, quick, running, until, validators
from tests.node.hostile import connect, ends, hostile_pair, hostile_session
from tests.node.single_node import served

CROWD = 24


async def knock(port: int, count: int) -> list[socket.socket]:
    """Open connections and say nothing."""
    loop, knocking = asyncio.get_running_loop(), []
    for _ in range(count):
        one = socket.socket()
        one.setblocking(False)
        await loop.sock_connect(one, ("127.0.0.1", port))
        knocking.append(one)
    return knocking


@asynccontextmanager
async def crowd(port: int, count: int = CROWD) -> AsyncIterator[list[socket.socket]]:
    """A crowd before a port, for as long as a test needs it."""
    knocking = await knock(port, count)
    try:
        yield knocking
    finally:
        for one in knocking:
            one.close()


async def test_handshakes_that_stall_do_not_keep_a_member_out() -> None:
    limits = quick(handshakes_max=4, connect_ms_max=5_000, accepts_per_s_max=1_000)
    members = validators(2)
    sites = [make_site(index, members, limits=limits) for index in range(2)]
    await sites[0].transport.start()
    with capture_logs() as said:
        async with crowd(sites[0].transport.port), running(sites[1:], members):
            sites[1].transport.update_validators(_at(members, sites[0].address))
            await until(lambda: sites[0].links() == 1)
            await until(lambda: any("too many handshakes" in str(line.get("connections")) for line in said))
    await sites[0].transport.stop()


async def test_a_crowd_at_the_door_does_not_touch_the_links_that_stand() -> None:
    async with mesh(2, limits=quick(handshakes_max=4)) as sites, crowd(sites[0].transport.port):
        for number in range(20):
            sites[1].transport.broadcast(Channel.RESULT, b"%d" % number)
        assert [(await sites[0].next())[2] for _ in range(20)] == [b"%d" % number for number in range(20)]


async def test_a_member_has_only_so_many_connections_and_the_idle_ones_make_room() -> None:
    members = validators(3)
    site = make_site(0, members, limits=quick(connections_per_peer_max=6, silence_ms_max=30_000))
    await site.transport.start()
    try:
        async with hostile_session(1) as greedy, hostile_session(2) as other:
            standing = await connect(other, site)
            used = await connect(greedy, site)
            context, port = identity(1).client_context([identity(0).public_key]), site.transport.port
            held = [await asyncio.open_connection("127.0.0.1", port, ssl=context) for _ in range(CROWD)]
            door = site.transport._port._door
            assert door is not None
            await until(lambda: len(door._guests) <= 7)
            assert not standing.closed
            assert not used.closed
            assert site.links() == 2, "links are in use: what is idle goes first"
            for _, writer in held:
                writer.transport.abort()
    finally:
        await site.transport.stop()


@asynccontextmanager
async def inn(limits: DoorLimits) -> AsyncIterator[int]:
    """A small server behind a door of its own."""

    async def answer(request: web.Request) -> web.Response:
        with door.busy(request.transport):
            return web.Response(text="here")

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    door = Door("inn", limits, tls=None)
    assert runner.server is not None
    try:
        yield await door.open(runner.server, "127.0.0.1", 0)
    finally:
        await door.close()
        await runner.cleanup()
        door.abort()
        await asyncio.sleep(0)


async def test_sockets_that_never_speak_make_room_for_one_that_does() -> None:
    limits = DoorLimits(accepts_per_s=1_000, connections_max=8, connections_each_max=8)
    with capture_logs() as said:
        async with inn(limits) as port, crowd(port), aiohttp.request("GET", f"http://127.0.0.1:{port}/") as reply:
            assert await reply.text() == "here"
    assert any(line["event"] == "door.dropped" for line in said)


async def test_a_flood_of_fragments_without_an_end_is_garbage() -> None:
    """Continuation frames of nothing: no message, no budget of messages, and all of the loop's time."""
    async with hostile_pair() as (site, socket_):
        connection = socket_._response.connection
        assert connection is not None
        assert connection.transport is not None
        empty = b"\x00\x80" + bytes(4)
        connection.transport.write(b"\x02\x80" + bytes(4))
        for _ in range(120):
            connection.transport.write(empty * 10_000)
            await asyncio.sleep(0)
        await until(lambda: site.transport.penalties.left_s(_key(1), asyncio.get_running_loop().time()) > 0)
        assert await ends(socket_)


async def test_pings_of_the_websocket_layer_are_garbage() -> None:
    """Answered out of our sight they would cost without being counted; our heartbeats are frames."""
    async with hostile_pair() as (site, socket_):
        await socket_.ping()
        assert await ends(socket_)
        await until(lambda: site.links() == 0)


async def test_compression_is_not_spoken_between_nodes() -> None:
    members = validators(2)
    site = make_site(0, members)
    await site.transport.start()
    try:
        async with hostile_session(1) as session:
            link = await session.ws_connect(f"https://{site.address}/peer/frames", compress=15)
            assert link.compress == 0
            assert "Sec-WebSocket-Extensions" not in link._response.headers
            connection = link._response.connection
            assert connection is not None
            assert connection.transport is not None
            bomb = zlib.compress(bytes(1 << 20))
            connection.transport.write(b"\xc2\xfe" + len(bomb).to_bytes(2, "big") + bytes(4) + bomb)
            assert await ends(link)
    finally:
        await site.transport.stop()


async def test_a_compressed_body_is_refused_by_the_peer_port() -> None:
    members = validators(2)
    site = make_site(0, members)
    read: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        read.append(await request.read())
        return web.Response(text=str(request[PeerKey]))

    site.transport.add_routes([web.put("/peer/thing", take)])
    await site.transport.start()
    try:
        async with hostile_session(1) as session:
            address, bomb = f"https://{site.address}/peer/thing", gzip.compress(bytes(32 << 20))
            async with session.put(address, data=bomb, headers={"Content-Encoding": "gzip"}) as reply:
                assert reply.status == 415
    finally:
        await site.transport.stop()
    assert read == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_a_compressed_body_is_refused_by_the_api(tmp_path: Path, encoding: str) -> None:
    async with served(tmp_path) as node, asking(node) as asker:
        reply = await asker.ask(
            "POST",
            "/v1/transactions",
            body=gzip.compress(bytes(8 << 20)),
            headers={"Content-Encoding": encoding, "Content-Type": "application/msgpack"},
        )
        assert (reply.status, reply.code) == (415, "request.encoding")


async def test_whoever_is_over_its_account_waits_and_nobody_else() -> None:
    async with mesh(3) as sites:
        sites[0].transport.charge(_key(1), 0.5, Worth.COUNTED)  # a second's worth of waiting, and no more
        sites[1].transport.broadcast(Channel.RESULT, b"waits")
        sites[2].transport.broadcast(Channel.RESULT, b"does not wait")
        assert [(await sites[0].next())[2] for _ in range(2)] == [b"does not wait", b"waits"]


async def test_who_is_blamed_for_what_it_said_stays_away() -> None:
    async with hostile_pair() as (site, socket_):
        await socket_.send_bytes(direct(Channel.CONSENSUS, b"something"))
        await site.next()
        site.transport.blame(_key(1), "no consensus message")
        assert await ends(socket_)
        assert site.transport.penalties.left_s(_key(1), asyncio.get_running_loop().time()) > 0


def test_a_flood_of_one_neighbour_delays_another_by_one_message() -> None:
    inbox = Inbox()
    for number in range(LETTERS_MAX):
        assert inbox.put(Letter(b"loud", is_own=True, data=b"%d" % number))
    assert not inbox.put(Letter(b"loud", is_own=True, data=b"one more"))
    assert inbox.put(Letter(b"quiet", is_own=True, data=b"a vote"))
    assert [letter.data for letter in (inbox.take(), inbox.take()) if letter is not None] == [b"0", b"a vote"]


def test_a_neighbours_messages_wait_within_bytes_and_a_single_one_always_may() -> None:
    inbox = Inbox()
    assert inbox.put(Letter(b"a", is_own=True, data=bytes(BYTES_MAX + 1)))
    assert not inbox.put(Letter(b"a", is_own=True, data=b"x"))
    assert inbox.size_bytes == BYTES_MAX + 1
    assert inbox.take() is not None
    assert inbox.take() is None
    assert inbox.size_bytes == 0


def _key(index: int) -> PublicKey:
    return identity(index).public_key


def _at(members: ValidatorSet, address: str) -> ValidatorSet:
    first = msgspec.structs.replace(members.members[0], address=address)
    return ValidatorSet((first, *members.members[1:]))
