"""Payloads between nodes: real transports, real files, sources that lie, die and come back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ledger.certificate import Seal
from ledger.digest import Digest, digest
from ledger.payload import Acknowledgement, chunks_of, describe, sign_acknowledgement, verify_availability
from ledger.validators import ValidatorSet
from node.payloads import PayloadStore, UnknownPayloadError
from node.payloads.exchange import PULLS_PER_OWNER_MAX
from node.payloads.pull import CHUNKS_PER_PULL_MAX, Pull
from node.transport import GarbageFrameError
from node.wire import (
    PAYLOAD_FRAME_BYTES_MAX,
    Acknowledged,
    Channel,
    decode_payload_frame,
    encode_payload_frame,
    sign_announcement,
    verify_acknowledged,
    verify_announcement,
)
from tests.node.consortium import CHAIN, signing_key, until, validators
from tests.node.depots import Depot, consortium, everywhere, know_each_other, make_payload, open_depots
from tests.node.hostile import connect, hostile_session


async def test_a_published_payload_is_certified_by_a_quorum_and_reaches_everyone(tmp_path: Path) -> None:
    payload = make_payload(3.3)
    async with consortium(4, tmp_path) as depots:
        descriptor = await depots[1].store.add(payload)
        certificate = await depots[1].exchange.publish(descriptor)

        verify_availability(CHAIN, depots[0].members, certificate)
        assert certificate.acknowledgement == Acknowledgement(descriptor, "ok")
        await everywhere(depots, descriptor.id)
        for depot in depots:
            assert await depot.store.read(descriptor.id, 0, len(payload)) == payload
        assert await depots[1].exchange.publish(descriptor) == certificate


@pytest.mark.parametrize("body, verdict", [(b"\x00\x20", "out_of_range"), (b"\x01", "malformed")])
async def test_a_payload_off_the_grid_is_certified_as_such(tmp_path: Path, body: bytes, verdict: str) -> None:
    async with consortium(2, tmp_path) as depots:
        descriptor = await depots[0].store.add(bytes(32) + body)
        certificate = await depots[0].exchange.publish(descriptor)

        assert certificate.acknowledgement.verdict == verdict


async def test_only_what_is_stored_can_be_published(tmp_path: Path) -> None:
    async with consortium(1, tmp_path) as (depot,):
        with pytest.raises(UnknownPayloadError):
            await depot.exchange.publish(describe(make_payload(1)))


async def test_a_node_that_was_down_gets_the_payload_when_it_is_back(tmp_path: Path) -> None:
    async with consortium(4, tmp_path) as depots:
        await depots[3].stop()
        descriptor = await depots[0].store.add(make_payload(1.5))
        await depots[0].exchange.publish(descriptor)
        back = Depot(3, tmp_path / "3", depots[0].members)
        await back.start()
        depots[3] = back
        know_each_other(depots)

        await everywhere(depots, descriptor.id)


async def test_a_fetch_goes_on_after_a_restart_with_what_was_fetched_before(tmp_path: Path) -> None:
    payload = make_payload(4)
    chunks = list(chunks_of(payload))
    async with consortium(2, tmp_path) as depots:
        descriptor = await depots[0].store.add(payload)
        await depots[1].stop()
        half = await PayloadStore.open(tmp_path / "1", bytes_max=1 << 30)
        await half.stage(descriptor, owner="validator:v0", hashes=await depots[0].store.hashes(descriptor.id))
        for index in (0, 2):
            await half.write_chunk(descriptor.id, index, chunks[index])
        await half.close()
        depots[0].store.chunk_blocking = served = Counting(depots[0].store.chunk_blocking)  # type: ignore[method-assign]
        depots[1] = Depot(1, tmp_path / "1", depots[0].members)
        await depots[1].start()
        know_each_other(depots)

        await everywhere(depots, descriptor.id)
        assert sorted(served.indices) == [1, 3]


async def test_a_source_that_dies_in_mid_transfer_is_replaced_without_a_restart(tmp_path: Path) -> None:
    payload = make_payload(12)
    async with consortium(4, tmp_path) as depots:
        origin, holder, fetcher = depots[0], depots[1], depots[2]
        descriptor = await origin.store.add(payload)
        await holder.store.add(payload)
        origin.store.chunk_blocking = dying = Counting(origin.store.chunk_blocking, stop_after=3)  # type: ignore[method-assign]
        holder.store.chunk_blocking = held = Held(holder.store.chunk_blocking)  # type: ignore[method-assign]
        fetching = asyncio.create_task(fetcher.exchange.obtain(descriptor))
        pull = (await spawned(fetcher, descriptor.id)).sources
        pull.note_holder("v0")
        assert await asyncio.to_thread(dying.stopped.wait, 10)
        dying.dead.set()
        await origin.site.transport.stop()
        held.release.set()

        async with asyncio.timeout(10):
            await fetching
        assert await fetcher.store.read(descriptor.id, 0, len(payload)) == payload


async def test_a_source_that_corrupts_a_chunk_is_found_out_and_not_asked_again(tmp_path: Path) -> None:
    payload = make_payload(6)
    async with consortium(4, tmp_path) as depots:
        liar, honest, fetcher = depots[0], depots[1], depots[3]
        descriptor = await liar.store.add(payload)
        await honest.store.add(payload)
        liar.store.chunk_blocking = lies = Corrupting(liar.store.chunk_blocking)  # type: ignore[method-assign]
        with capture_logs() as logs:
            fetching = asyncio.create_task(fetcher.exchange.obtain(descriptor))
            (await spawned(fetcher, descriptor.id)).sources.note_holder("v0")
            async with asyncio.timeout(10):
                await fetching

        assert await fetcher.store.read(descriptor.id, 0, len(payload)) == payload
        assert 0 < lies.told <= CHUNKS_PER_PULL_MAX
        assert {log["peer"] for log in logs if log["event"] == "payload.source_lied"} == {"v0"}


async def test_chunk_hashes_that_do_not_lead_to_the_root_are_fetched_elsewhere(tmp_path: Path) -> None:
    payload = make_payload(2)
    told: list[Digest] = []

    def other_hashes(payload_id: Digest) -> bytes:
        told.append(payload_id)
        return bytes(64)

    async with consortium(4, tmp_path) as depots:
        descriptor = await depots[0].store.add(payload)
        depots[0].store.hashes_blocking = other_hashes  # type: ignore[method-assign]
        fetching = asyncio.create_task(depots[3].exchange.obtain(descriptor))
        sources = (await spawned(depots[3], descriptor.id)).sources
        sources.note_holder("v0")
        await until(lambda: bool(told))
        await depots[1].store.add(payload)
        sources.note_holder("v1")
        async with asyncio.timeout(10):
            await fetching

        assert depots[3].store.has(descriptor.id)


async def test_obtaining_waits_until_a_holder_is_there_and_can_be_given_up(tmp_path: Path) -> None:
    payload = make_payload(0.1)
    descriptor = describe(payload)
    async with consortium(3, tmp_path) as depots:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(depots[0].exchange.obtain(descriptor), 0.1)
        await until(lambda: not depots[0].exchange._pulls)
        fetching = asyncio.create_task(depots[0].exchange.obtain(descriptor))
        await spawned(depots[0], descriptor.id)
        await depots[2].store.add(payload)
        async with asyncio.timeout(10):
            await fetching

        assert depots[0].store.has(descriptor.id)


async def test_forgetting_erases_here_alone_and_an_announcement_does_not_bring_it_back(tmp_path: Path) -> None:
    async with consortium(3, tmp_path) as depots:
        descriptor = await depots[0].store.add(make_payload(0.5))
        await depots[0].exchange.publish(descriptor)
        await everywhere(depots, descriptor.id)
        await depots[1].exchange.forget(descriptor.id)
        announcement = sign_announcement(signing_key(0), CHAIN, depots[0].members, descriptor)
        depots[1].exchange.on_frame(0, encode_payload_frame(announcement))

        assert not depots[1].store.has(descriptor.id)
        assert not depots[1].exchange._pulls
        assert depots[2].store.has(descriptor.id)


async def test_forgetting_what_is_being_obtained_ends_the_wait(tmp_path: Path) -> None:
    descriptor = describe(make_payload(1))
    async with consortium(2, tmp_path) as depots:
        fetching = asyncio.create_task(depots[0].exchange.obtain(descriptor))
        await spawned(depots[0], descriptor.id)
        await depots[0].exchange.forget(descriptor.id)

        with pytest.raises(UnknownPayloadError):
            await fetching


async def test_a_node_that_accepts_no_connections_pushes_its_payload(tmp_path: Path) -> None:
    members = validators(4)
    depots = [Depot(0, tmp_path / "0", members, listen=None)]
    depots += [Depot(index, tmp_path / str(index), members) for index in (1, 2, 3)]
    payload = make_payload(3.3)
    async with open_depots(depots):
        descriptor = await depots[0].store.add(payload)
        certificate = await depots[0].exchange.publish(descriptor)

        verify_availability(CHAIN, members, certificate)
        await everywhere(depots, descriptor.id)
        assert await depots[3].store.read(descriptor.id, 0, len(payload)) == payload


async def test_a_node_that_nobody_can_connect_to_pushes_its_payload_though_it_has_an_address(tmp_path: Path) -> None:
    """As behind a firewall: it is connected with all, since it dialed them."""
    members = validators(4)
    depots = [Depot(0, tmp_path / "0", members)]
    depots += [Depot(index, tmp_path / str(index), members, cut_from=[0]) for index in (1, 2, 3)]
    payload = make_payload(3.3)
    async with open_depots(depots):
        descriptor = await depots[0].store.add(payload)
        certificate = await depots[0].exchange.publish(descriptor)

        verify_availability(CHAIN, members, certificate)
        await everywhere(depots, descriptor.id)


async def test_nodes_that_cannot_reach_the_origin_fetch_from_others(tmp_path: Path) -> None:
    members = validators(3)
    cut_from = {0: [1], 1: [0], 2: []}
    depots = [Depot(index, tmp_path / str(index), members, cut_from=cut_from[index]) for index in range(3)]
    async with open_depots(depots):
        descriptor = await depots[0].store.add(make_payload(1.5))
        await depots[0].exchange.publish(descriptor)

        await everywhere(depots, descriptor.id)


async def test_nothing_is_pushed_to_a_node_that_does_not_fetch_it(tmp_path: Path) -> None:
    payload = make_payload(1)
    async with consortium(2, tmp_path) as depots, hostile_session(1) as session:
        path = f"https://{depots[0].site.address}/peer/payloads/{describe(payload).id.hex()}"
        for end in ("hashes", "chunks/0"):
            assert (await session.put(f"{path}/{end}", data=payload)).status == 409


async def test_an_announcement_that_its_origin_did_not_sign_starts_nothing(tmp_path: Path) -> None:
    async with consortium(3, tmp_path) as depots:
        descriptor = describe(make_payload(1))
        true = sign_announcement(signing_key(1), CHAIN, depots[0].members, descriptor)
        forged = type(true)(descriptor, Seal(2, true.seal.signature))
        depots[0].exchange.on_frame(1, encode_payload_frame(forged))

        assert not depots[0].exchange._pulls
        depots[0].exchange.on_frame(2, encode_payload_frame(true))
        assert list(depots[0].exchange._pulls) == [descriptor.id]


async def test_what_one_validator_can_make_us_wait_for_is_bounded(tmp_path: Path) -> None:
    members = validators(3)
    async with open_depots([Depot(index, tmp_path / str(index), members) for index in range(3)]) as depots:
        for size in range(PULLS_PER_OWNER_MAX + 10):
            descriptor = describe(bytes(34 + size))
            announcement = sign_announcement(signing_key(1), CHAIN, members, descriptor)
            depots[0].exchange.on_frame(1, encode_payload_frame(announcement))

        assert len(depots[0].exchange._pulls) == PULLS_PER_OWNER_MAX


async def test_a_validator_over_its_quota_is_not_stored_any_more_and_others_are(tmp_path: Path) -> None:
    members = validators(3)
    depots = [Depot(index, tmp_path / str(index), members, owner_bytes_max=2 << 20) for index in range(3)]
    async with open_depots(depots):
        first = await depots[0].store.add(make_payload(1.5, seed=1))
        await depots[0].exchange.publish(first)
        await everywhere(depots, first.id)
        over = await depots[0].store.add(make_payload(1.5, seed=2))
        with capture_logs() as logs, pytest.raises(TimeoutError):
            await asyncio.wait_for(depots[0].exchange.publish(over), 0.5)
        assert any(log["event"] == "payload.fetch_failed" and "free for validator:v0" in log["reason"] for log in logs)
        other = await depots[1].store.add(make_payload(1.5, seed=3))
        await depots[1].exchange.publish(other)

        await everywhere(depots, other.id)
        assert not depots[2].store.has(over.id)


async def test_a_false_acknowledgement_does_not_count(tmp_path: Path) -> None:
    members = validators(4)
    alone = Depot(0, tmp_path / "0", members)
    async with alone_running(alone):
        descriptor = await alone.store.add(make_payload(0.1))
        publishing = asyncio.create_task(alone.exchange.publish(descriptor))
        await until(lambda: descriptor.id in alone.exchange._publications)
        publication = alone.exchange._publications[descriptor.id]
        for index, verdict in ((1, "ok"), (2, "malformed")):
            seal = true_seal(members, index, Acknowledgement(descriptor, verdict))  # type: ignore[arg-type]
            if index == 1:
                seal = Seal(3, seal.signature)
            alone.exchange.on_frame(
                index,
                encode_payload_frame(Acknowledged(Acknowledgement(descriptor, verdict), seal)),  # type: ignore[arg-type]
            )

        assert list(publication._seals) == [0]
        acknowledgement = Acknowledgement(descriptor, "ok")
        for index in (1, 1, 2):
            assert not publication.is_certified
            frame = Acknowledged(acknowledgement, true_seal(members, index, acknowledgement))
            alone.exchange.on_frame(index, encode_payload_frame(frame))
        verify_availability(CHAIN, members, await publishing)


async def test_a_new_validator_set_is_asked_anew(tmp_path: Path) -> None:
    async with consortium(3, tmp_path) as depots:
        descriptor = await depots[0].store.add(make_payload(0.1))
        await depots[0].exchange.publish(descriptor)
        larger = ValidatorSet.of((*depots[0].site.transport._validators.members, validators(4).members[3]))
        for depot in depots:
            depot.exchange.update_validators(larger)
            depot.site.transport.update_validators(larger)

        async with asyncio.timeout(10):
            certificate = await depots[0].exchange.publish(descriptor)
        verify_availability(CHAIN, larger, certificate)


@pytest.mark.parametrize("data", [b"", b"garbage", bytes(PAYLOAD_FRAME_BYTES_MAX + 1)])
async def test_a_frame_that_is_none_is_called_garbage(tmp_path: Path, data: bytes) -> None:
    async with consortium(1, tmp_path) as (depot,):
        with pytest.raises(GarbageFrameError):
            depot.exchange.on_frame(0, data)


async def test_garbage_on_the_payload_channel_disconnects_its_sender(tmp_path: Path) -> None:
    members = validators(2)
    depot = Depot(0, tmp_path, members)
    async with alone_running(depot), hostile_session(1) as session:
        socket = await connect(session, depot.site)
        await socket.send_bytes(bytes([Channel.PAYLOAD]) + b"garbage")

        await until(lambda: depot.site.links() == 0)


async def test_bulk_does_not_hold_up_votes(tmp_path: Path) -> None:
    """While payloads move, a vote's round trip stays within the time of a few bulk pieces."""
    async with consortium(2, tmp_path) as depots:
        votes: asyncio.Queue[bytes] = asyncio.Queue()
        for depot in depots:
            depot.site.transport._on_frame = forward(depot, votes)  # type: ignore[misc]
        descriptor = await depots[0].store.add(make_payload(24))
        publishing = asyncio.create_task(depots[0].exchange.publish(descriptor))
        waits_s: list[float] = []
        clock = asyncio.get_running_loop()
        while not publishing.done():
            began_s = clock.time()
            depots[0].site.transport.send(1, Channel.CONSENSUS, b"vote")
            await votes.get()
            waits_s.append(clock.time() - began_s)
        await publishing

        assert sorted(waits_s)[len(waits_s) // 2] < 0.05


def test_frames_say_what_was_signed() -> None:
    members, descriptor = validators(4), describe(make_payload(1))
    announcement = sign_announcement(signing_key(2), CHAIN, members, descriptor)
    acknowledgement = Acknowledgement(descriptor, "ok")
    acknowledged = Acknowledged(acknowledgement, true_seal(members, 2, acknowledgement))

    assert decode_payload_frame(encode_payload_frame(announcement)) == announcement
    assert decode_payload_frame(encode_payload_frame(acknowledged)) == acknowledged
    assert announcement.seal.validator == 2
    assert verify_announcement(CHAIN, members, announcement)
    assert verify_acknowledged(CHAIN, members, acknowledged)
    assert not verify_announcement(digest("test", b"another chain"), members, announcement)
    assert not verify_announcement(CHAIN, members, type(announcement)(descriptor, acknowledged.seal))
    assert len(encode_payload_frame(acknowledged)) < PAYLOAD_FRAME_BYTES_MAX


def true_seal(members: ValidatorSet, index: int, acknowledgement: Acknowledgement) -> Seal:
    """What validator `index` signs."""
    return sign_acknowledgement(signing_key(index), CHAIN, members, acknowledgement)


def forward(depot: Depot, votes: asyncio.Queue[bytes]) -> Callable[[int, Channel, bytes], None]:
    """Votes are answered by node 1 and kept by node 0; payload frames go where they belong."""

    def on_frame(peer: int, channel: Channel, data: bytes) -> None:
        if channel is Channel.PAYLOAD:
            depot.exchange.on_frame(peer, data)
        elif depot.index == 1:
            depot.site.transport.send(0, channel, data)
        else:
            votes.put_nowait(data)

    return on_frame


async def spawned(depot: Depot, payload_id: Digest) -> Pull:
    """The fetch of a payload, once it has begun."""
    await until(lambda: payload_id in depot.exchange._pulls)
    return depot.exchange._pulls[payload_id]


@asynccontextmanager
async def alone_running(depot: Depot) -> AsyncIterator[None]:
    await depot.start()
    try:
        yield
    finally:
        await depot.stop()


Read = Callable[[Digest, int], bytes]


class Counting:
    """Reads chunks, notes which, and after some reads none any more: its node dies when it is told to."""

    def __init__(self, read: Read, *, stop_after: int = 1_000) -> None:
        self.read = read
        self.left = stop_after
        self.indices: list[int] = []
        self.stopped = threading.Event()
        self.dead = threading.Event()

    def __call__(self, payload_id: Digest, index: int) -> bytes:
        if not self.left:
            self.stopped.set()
            self.dead.wait()
            raise ConnectionAbortedError
        self.left -= 1
        self.indices.append(index)
        return self.read(payload_id, index)


class Held:
    """Reads chunks once it is released."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self.release = threading.Event()

    def __call__(self, payload_id: Digest, index: int) -> bytes:
        self.release.wait()
        return self.read(payload_id, index)


class Corrupting:
    """Changes one bit of every chunk."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self.told = 0

    def __call__(self, payload_id: Digest, index: int) -> bytes:
        self.told += 1
        chunk = self.read(payload_id, index)
        return bytes([chunk[0] ^ 1]) + chunk[1:]
