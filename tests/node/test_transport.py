"""Links between nodes: real sockets, real TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from ledger.digest import digest
from node.transport import GarbageFrameError, PeerKey, PeerRefusedError, PeerUnreachableError
from node.transport.frames import MESSAGE_BYTES_MAX, broadcast
from node.wire import FRAME_BYTES_MAX, Channel
from tests.node.consortium import Site, identity, make_site, mesh, quick, running, until, validators, with_addresses
from tests.node.hostile import connect, ends, hostile_pair, hostile_session, stop_reading


async def test_a_broadcast_reaches_every_other_validator_once() -> None:
    async with mesh(4) as sites:
        sites[1].transport.broadcast(Channel.CONSENSUS, b"vote")
        for site in (sites[0], sites[2], sites[3]):
            assert await site.next() == (1, Channel.CONSENSUS, b"vote")
        await flush(sites)

        assert all(site.frames.empty() for site in sites)


async def test_a_frame_for_one_validator_reaches_it_alone() -> None:
    async with mesh(3) as sites:
        sites[0].transport.send(2, Channel.RESULT, b"result")

        assert await sites[2].next() == (0, Channel.RESULT, b"result")
        await flush(sites)
        assert sites[1].frames.empty()


async def test_the_longest_frame_passes_and_a_longer_one_is_not_sent() -> None:
    async with mesh(2) as sites:
        longest = bytes(FRAME_BYTES_MAX)
        sites[0].transport.broadcast(Channel.CONSENSUS, longest)

        assert (await sites[1].next())[2] == longest
        with pytest.raises(ValueError, match="at most"):
            sites[0].transport.broadcast(Channel.CONSENSUS, longest + b"x")


async def test_who_is_no_validator_any_more_is_not_reached_and_nothing_breaks() -> None:
    async with mesh(3) as sites:
        gone = 2
        sites[0].transport.update_validators(validators(2))

        with pytest.raises(PeerUnreachableError, match="no validator any more"):
            await sites[0].transport.fetch(gone, "/peer/blocks", bytes_max=1)
        sites[0].transport.send(gone, Channel.RESULT, b"late")
        sites[0].transport.send(1, Channel.RESULT, b"result")
        assert await sites[1].next() == (0, Channel.RESULT, b"result")


async def test_a_restarted_node_is_back_at_once() -> None:
    async with mesh(4) as sites:
        again = make_site(0, validators(4), boot_epoch=2)
        port, others = sites[0].transport.port, sites[1:]
        await sites[0].transport.stop()
        await until(lambda: all(site.links() == 2 for site in others))
        again = make_site(0, validators(4), boot_epoch=2, listen=("127.0.0.1", port))
        again.transport.update_validators(sites[1].transport._validators)
        began_s = asyncio.get_running_loop().time()
        await again.transport.start()
        try:
            await until(lambda: again.links() == 3 and all(site.links() == 3 for site in others))
            took_s = asyncio.get_running_loop().time() - began_s
            assert {site.transport.peers()[0].boot_epoch for site in others} == {2}
            assert took_s < 1.0  # 30 ms on an idle machine; no back-off of the survivors is waited for
        finally:
            await again.transport.stop()


async def test_nodes_of_different_chains_refuse_each_other_and_both_say_why() -> None:
    members = validators(2)
    here, there = make_site(0, members), make_site(1, members, chain_id=digest("test", b"another chain"))
    with capture_logs() as logs:
        async with running([here, there], members):
            await until(lambda: {log["peer"] for log in refused(logs)} == {"v0", "v1"})
            await until(lambda: here.transport._dialers[identity(1).public_key]._attempts > 4)

    assert here.links() == there.links() == 0
    assert all("compare the genesis files" in log["reason"] for log in refused(logs))
    assert len(refused(logs)) == len({(log["peer"], log["reason"]) for log in refused(logs)})


async def test_a_node_whose_key_is_not_pinned_is_kept_out() -> None:
    async with mesh(2) as sites:
        stranger = identity(7).client_context([identity(0).public_key])
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=stranger)) as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"https://{sites[0].address}/peer/frames")


async def test_a_validator_that_left_the_set_is_disconnected_and_not_let_in_again() -> None:
    async with mesh(3) as sites:
        fewer = validators(2)
        sites[0].transport.update_validators(fewer)
        await until(lambda: sites[2].links() == 1)

        async with hostile_session(2) as session:
            answer = await session.get(f"https://{sites[0].address}/peer/blocks")
            assert answer.status == 403
        assert [status.name for status in sites[0].transport.peers()] == ["v1"]


@pytest.mark.parametrize(
    "message",
    [b"", b"\x0f", b"\x1f" + bytes(8), b"\x11short", b"\x21" + bytes(20), b"\x30\xff\xff", b"\x30", b"\x40"],
    ids=["empty", "channel", "channel of a broadcast", "no sequence", "no origin", "control", "no control", "kind"],
)
async def test_garbage_disconnects_its_sender_for_a_while(message: bytes) -> None:
    async with hostile_pair() as (site, socket):
        await socket.send_bytes(message)
        assert await ends(socket)
        await until(lambda: site.links() == 0)
        async with hostile_session(1) as session:
            with pytest.raises(aiohttp.WSServerHandshakeError, match="429"):
                await connect(session, site)


async def test_a_frame_over_the_limit_disconnects_its_sender() -> None:
    async with hostile_pair() as (site, socket):
        await socket.send_bytes(broadcast(Channel.CONSENSUS, 1, bytes(MESSAGE_BYTES_MAX)))

        assert await ends(socket)
        await until(lambda: site.links() == 0)
        assert site.frames.empty()


async def test_text_disconnects_its_sender() -> None:
    async with hostile_pair() as (site, socket):
        await socket.send_str("hello")

        assert await ends(socket)
        await until(lambda: site.links() == 0)


async def test_a_frame_that_its_handler_calls_garbage_disconnects_its_sender() -> None:
    def refuse(peer: int, channel: Channel, data: bytes) -> None:
        message = f"{data!r} from {peer}"
        raise GarbageFrameError(message)

    members = validators(2)
    strict, sender = make_site(0, members, on_frame=refuse, cut_from=[1]), make_site(1, members)
    async with running([strict, sender], members):
        await until(lambda: sender.links() == 1)
        sender.transport.broadcast(Channel.TRANSACTION, b"nonsense")
        await until(lambda: strict.links() == 0)


async def test_garbage_that_was_only_passed_on_does_not_disconnect_the_neighbour() -> None:
    seen: list[bytes] = []

    def refuse(peer: int, channel: Channel, data: bytes) -> None:
        seen.append(data)
        raise GarbageFrameError("nonsense")

    members = validators(3)
    strict = make_site(0, members, on_frame=refuse, cut_from=[1])
    middle, liar = make_site(2, members), make_site(1, members, cut_from=[0])
    async with running([strict, middle, liar], members):
        await until(lambda: (strict.links(), middle.links(), liar.links()) == (1, 2, 1))
        liar.transport.broadcast(Channel.TRANSACTION, b"nonsense")
        await until(lambda: seen == [b"nonsense"])
        middle.transport.send(0, Channel.TRANSACTION, b"a probe, garbage as well")

        await until(lambda: len(seen) == 2)


async def test_a_slow_consumer_costs_bounded_memory_and_is_dropped() -> None:
    """It connects, says hello, and reads nothing any more."""
    limits = quick(gossip_bytes_max=4 << 20, write_stall_ms_max=300, silence_ms_max=60_000)
    async with hostile_pair(limits=limits) as (site, socket):
        stop_reading(socket)
        for _ in range(64):
            site.transport.broadcast(Channel.TRANSACTION, bytes(FRAME_BYTES_MAX))
        status = site.transport.peers()[0]

        assert status.queued_bytes <= 4 << 20
        assert status.dropped_frames >= 59
        while site.links():  # the kernel's buffers have to fill as well
            site.transport.broadcast(Channel.TRANSACTION, bytes(FRAME_BYTES_MAX))
            await asyncio.sleep(0)


async def test_small_gossip_is_bounded_by_number() -> None:
    limits = quick(gossip_frames_max=10, silence_ms_max=60_000)
    async with hostile_pair(limits=limits) as (site, _):
        for _ in range(25):
            site.transport.broadcast(Channel.TRANSACTION, b"t")
        status = site.transport.peers()[0]

        assert status.dropped_frames == 15
        assert status.queued_frames <= 10 + 1  # a heartbeat may wait as well


async def test_votes_that_pile_up_end_the_link_and_are_not_dropped_singly() -> None:
    limits = quick(urgent_frames_max=8, write_stall_ms_max=60_000, silence_ms_max=60_000)
    async with hostile_pair(limits=limits) as (site, socket):
        stop_reading(socket)
        for _ in range(9):
            site.transport.broadcast(Channel.CONSENSUS, b"vote")

        await until(lambda: site.links() == 0)


async def test_a_vote_overtakes_the_gossip_that_waits() -> None:
    async with mesh(2) as sites:
        for _ in range(8):
            sites[0].transport.broadcast(Channel.TRANSACTION, bytes(FRAME_BYTES_MAX))
        sites[0].transport.broadcast(Channel.CONSENSUS, b"vote")

        assert (await sites[1].next())[1] == Channel.CONSENSUS


async def test_a_silent_peer_is_noticed() -> None:
    async with hostile_pair(limits=quick(heartbeat_ms=50, silence_ms_max=200)) as (site, _):
        await until(lambda: site.links() == 0, patience_s=3)


async def test_a_flood_is_read_no_faster_than_its_budget() -> None:
    async with hostile_pair(limits=quick(receive_frames_per_s_max=100)) as (site, socket):
        began_s = asyncio.get_running_loop().time()
        for number in range(140):
            await socket.send_bytes(broadcast(Channel.TRANSACTION, number, b"spam"))
        for _ in range(139):
            await site.next()

        assert asyncio.get_running_loop().time() - began_s > 0.3


async def test_bulk_is_served_to_validators_over_the_same_port() -> None:
    async def blocks(request: web.Request) -> web.Response:
        return web.Response(body=bytes([request[PeerKey]]) * int(request.query["size"]))

    members = validators(2)
    server, client = make_site(0, members), make_site(1, members)
    server.transport.add_routes([web.get("/peer/blocks", blocks)])
    async with running([server, client], members):
        body = await client.transport.fetch(0, "/peer/blocks?size=1000000", bytes_max=1_000_000)

        assert body == b"\x01" * 1_000_000
        with pytest.raises(PeerRefusedError, match="at most 10 bytes"):
            await client.transport.fetch(0, "/peer/blocks?size=1000", bytes_max=10)
        with pytest.raises(PeerRefusedError, match="404"):
            await client.transport.fetch(0, "/peer/nothing", bytes_max=10)


async def test_bulk_from_a_node_that_is_down_is_a_typed_error() -> None:
    async with mesh(2) as sites:
        await sites[0].transport.stop()

        with pytest.raises(PeerUnreachableError, match="v0"):
            await sites[1].transport.fetch(0, "/peer/blocks", bytes_max=10)


async def test_a_cancelled_bulk_request_holds_neither_thread_nor_connection() -> None:
    entered = asyncio.Event()

    async def never(_: web.Request) -> web.Response:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    members = validators(2)
    server, client = make_site(0, members), make_site(1, members)
    server.transport.add_routes([web.get("/peer/never", never)])
    async with running([server, client], members):
        asking = asyncio.create_task(client.transport.fetch(0, "/peer/never", bytes_max=10))
        await entered.wait()
        bulk = client.transport._dialers[identity(0).public_key].client._bulk
        assert len(bulk._busy) == 1

        asking.cancel()

        await until(lambda: not bulk._busy)
        assert not bulk._idle
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_a_bulk_connection_that_the_peer_closed_meanwhile_is_opened_anew() -> None:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(body=b"hello")

    members = validators(2)
    client = make_site(1, members)
    async with running([client], members):
        port = 0
        for _ in range(2):
            server = make_site(0, members, listen=("127.0.0.1", port))
            server.transport.add_routes([web.get("/peer/hello", hello)])
            async with running([server], members):
                port = server.transport.port
                client.transport.update_validators(with_addresses(members, [server, client]))
                assert await client.transport.fetch(0, "/peer/hello", bytes_max=10) == b"hello"


async def test_bulk_requests_of_one_peer_are_bounded() -> None:
    gate = asyncio.Event()
    entered: list[int] = []

    async def slow(request: web.Request) -> web.Response:
        entered.append(1)
        await gate.wait()
        return web.Response(body=b"x")

    members = validators(2)
    server = make_site(0, members, limits=quick(bulk_requests_per_peer_max=2))
    server.transport.add_routes([web.get("/peer/slow", slow)])
    async with running([server], members), hostile_session(1) as session:
        url = f"https://{server.address}/peer/slow"
        held = [asyncio.create_task(session.get(url)) for _ in range(2)]
        await until(lambda: len(entered) == 2)

        assert (await session.get(url)).status == 429
        gate.set()
        assert [(await answer).status for answer in held] == [200, 200]


def refused(logs: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The lines that say why a peer was refused."""
    return [log for log in logs if log["event"] == "peer.refused"]


async def test_a_peer_that_does_not_take_its_bulk_answer_gives_its_slot_back() -> None:
    async def big(request: web.Request) -> web.Response:
        return web.Response(body=bytes(64 << 20))

    members = validators(2)
    server = make_site(0, members, limits=quick(bulk_requests_per_peer_max=1, bulk_stall_ms_max=200))
    server.transport.add_routes([web.get("/peer/big", big)])
    async with running([server], members), hostile_session(1) as session:
        url = f"https://{server.address}/peer/big"
        answer = await session.get(url)  # and its body is never read

        async with asyncio.timeout(10):
            while (again := await session.get(url)).status == 429:  # noqa: ASYNC110 - asks a server
                await asyncio.sleep(0.01)
        assert again.status == 200
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def flush(sites: list[Site]) -> None:
    """Return when all that was sent before has arrived: frames of one link stay in order."""
    for sender in sites:
        for receiver in sites:
            if sender is not receiver:
                before = receiver.frames.qsize()
                sender.transport.send(receiver.index, Channel.TRANSACTION, b"flush")
                await until(lambda receiver=receiver, before=before: receiver.frames.qsize() > before)  # type: ignore[misc]
                assert receiver.frames._queue.pop()[2] == b"flush"  # type: ignore[attr-defined]
