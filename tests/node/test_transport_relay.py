"""Frames between nodes that have no link: through third ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hypothesis import given
from hypothesis import strategies as st

from ledger.identity import PublicKey
from node.transport import Worth
from node.transport.frames import EVERYBODY, Frame, Kind, broadcast, direct, read, relayed
from node.transport.relay import SEEN_FRAMES_MAX, Relay
from node.wire import Channel
from tests.node.consortium import Site, identity, make_site, running, until, validators
from tests.node.hostile import hostile_pair


@asynccontextmanager
async def cut(n: int, *pairs: tuple[int, int]) -> AsyncIterator[list[Site]]:
    """`n` nodes with links between all but these pairs."""
    members = validators(n)
    away = {index: [b if a == index else a for a, b in pairs if index in (a, b)] for index in range(n)}
    sites = [make_site(index, members, cut_from=away[index]) for index in range(n)]
    async with running(sites, members):
        await until(lambda: all(site.links() == n - 1 - len(away[site.index]) for site in sites))
        await until(lambda: all(status.reachable for site in sites for status in site.transport.peers()))
        yield sites


async def test_two_nodes_without_a_link_get_each_others_broadcasts_through_a_third() -> None:
    async with cut(3, (0, 1)) as (left, right, middle):
        left.transport.broadcast(Channel.CONSENSUS, b"vote")

        assert await right.next() == (0, Channel.CONSENSUS, b"vote")
        assert await middle.next() == (0, Channel.CONSENSUS, b"vote")
        right.transport.broadcast(Channel.TRANSACTION, b"transaction")
        assert await left.next() == (1, Channel.TRANSACTION, b"transaction")


async def test_a_frame_for_one_validator_goes_through_a_third_and_stays_sealed_off_from_it() -> None:
    async with cut(4, (0, 1)) as (left, right, *others):
        left.transport.send(1, Channel.RESULT, b"result")

        assert await right.next() == (0, Channel.RESULT, b"result")
        assert all(site.frames.empty() for site in others)


async def test_a_relayed_broadcast_is_delivered_once_though_several_relay_it() -> None:
    async with cut(5, (0, 1)) as sites:
        sites[0].transport.broadcast(Channel.CONSENSUS, b"first")
        sites[0].transport.broadcast(Channel.CONSENSUS, b"second")
        for middle in (2, 3, 4):  # each link keeps its order, so these come after all copies
            await until(lambda middle=middle: sites[middle].frames.qsize() >= 2)  # type: ignore[misc]
            sites[middle].transport.send(1, Channel.RESULT, b"after")
        await until(lambda: sum(data == b"after" for _, _, data in sites[1].frames._queue) == 3)  # type: ignore[attr-defined]

        received = [data for _, _, data in sites[1].frames._queue]  # type: ignore[attr-defined]
        assert sorted(received) == [b"after"] * 3 + [b"first", b"second"]


async def test_the_same_bytes_sent_again_are_relayed_again() -> None:
    """Consensus repeats its votes while there is no progress; a repetition is no copy."""
    async with cut(3, (0, 1)) as (left, right, _):
        for _ in range(2):
            left.transport.broadcast(Channel.CONSENSUS, b"vote")
        assert await right.next() == (0, Channel.CONSENSUS, b"vote")
        assert await right.next() == (0, Channel.CONSENSUS, b"vote")


async def test_frames_cross_a_chain_of_nodes() -> None:
    async with cut_chain() as sites:
        sites[0].transport.broadcast(Channel.CONSENSUS, b"vote")
        for site in sites[1:]:
            assert await site.next() == (0, Channel.CONSENSUS, b"vote")
        sites[3].transport.send(0, Channel.RESULT, b"result")

        assert await sites[0].next() == (3, Channel.RESULT, b"result")


async def test_a_node_that_accepts_no_connections_takes_part() -> None:
    members = validators(4)
    closed = make_site(0, members, listen=None)
    others = [make_site(index, members) for index in (1, 2, 3)]
    async with running([closed, *others], members):
        await until(lambda: closed.links() == 3 and all(site.links() == 3 for site in others))
        closed.transport.broadcast(Channel.CONSENSUS, b"vote")
        for site in others:
            assert await site.next() == (0, Channel.CONSENSUS, b"vote")
        others[0].transport.send(0, Channel.RESULT, b"result")

        assert await closed.next() == (1, Channel.RESULT, b"result")


async def test_two_nodes_that_accept_no_connections_reach_each_other() -> None:
    members = validators(3)
    closed = [make_site(index, members, listen=None) for index in (0, 1)]
    middle = make_site(2, members)
    async with running([*closed, middle], members):
        await until(lambda: all(status.reachable for site in closed for status in site.transport.peers()))
        closed[0].transport.broadcast(Channel.CONSENSUS, b"vote")

        assert await closed[1].next() == (0, Channel.CONSENSUS, b"vote")


async def test_a_neighbour_cannot_speak_for_somebody_outside_the_set() -> None:
    async with hostile_pair() as (site, socket):
        stranger = Frame(Kind.RELAYED, Channel.CONSENSUS, 1, PublicKey(b"s" * 32), EVERYBODY, b"x")
        await socket.send_bytes(relayed(stranger))
        await socket.send_bytes(direct(Channel.CONSENSUS, b"after"))

        assert await site.next() == (1, Channel.CONSENSUS, b"after")


ME, A, B, C = (PublicKey(bytes([number]) * 32) for number in range(1, 5))


def frame(data: bytes = b"data", *, sequence: int = 1, destination: PublicKey = EVERYBODY) -> Frame:
    return Frame(Kind.RELAYED, Channel.CONSENSUS, sequence, A, destination, data)


def relay(**reach: set[PublicKey]) -> Relay:
    """A relay in a set of four, whose neighbours A, B, C say they are connected with these."""
    found = Relay(ME)
    found.set_members([ME, A, B, C])
    for name, connected in reach.items():
        found.set_reach({"a": A, "b": B, "c": C}[name], connected)
    return found


def test_in_a_full_mesh_there_is_nobody_to_pass_a_frame_on_to() -> None:
    full = relay(a={ME, B, C}, b={ME, A, C}, c={ME, A, B})

    assert full.complete
    assert full.targets(frame(), A) == []


def test_a_frame_goes_on_to_those_its_sender_lacks() -> None:
    assert relay(a={ME, B}, b={ME, A, C}, c={ME, B}).targets(frame(), A) == [C]


def test_who_lies_about_being_connected_cannot_stop_a_frame_that_another_brings() -> None:
    mesh = relay(a={ME, B}, b={ME, A, C}, c={ME})  # B says that it serves C, and does not

    assert mesh.targets(frame(), B) == []
    assert mesh.targets(frame(), A) == [C]
    assert mesh.targets(frame(), A) == []


def test_a_frame_with_other_data_does_not_count_as_seen() -> None:
    mesh = relay(a={ME})

    assert mesh.is_new(frame(b"forged"))
    assert mesh.is_new(frame(b"true"))
    assert not mesh.is_new(frame(b"true"))


def test_what_was_seen_is_remembered_in_bounded_memory() -> None:
    mesh = relay(a={ME})
    for sequence in range(SEEN_FRAMES_MAX + 10):
        mesh.is_new(frame(sequence=sequence))

    assert len(mesh._seen) == SEEN_FRAMES_MAX


def test_without_a_link_a_frame_goes_through_those_that_know_its_receiver() -> None:
    mesh = relay(a={ME, C}, b={ME})

    assert mesh.first_hops(frame(destination=C), 2) == [A]
    assert relay(a={ME}, b={ME}).first_hops(frame(destination=C), 2) == [A, B]


def test_a_neighbour_names_only_members() -> None:
    mesh = relay()

    assert mesh.set_reach(A, [ME, B, PublicKey(b"s" * 32)]) == {ME, B}


@given(st.sampled_from(Channel), st.integers(0, 2**64 - 1), st.binary(max_size=64))
def test_a_frame_reads_as_it_was_written(channel: Channel, sequence: int, data: bytes) -> None:
    sent = Frame(Kind.BROADCAST, channel, sequence, A, EVERYBODY, data)
    passed_on = Frame(Kind.RELAYED, channel, sequence, A, EVERYBODY, data)

    assert read(broadcast(channel, sequence, data), A) == sent
    assert read(relayed(sent), B) == passed_on
    assert passed_on.identity == sent.identity


@asynccontextmanager
async def cut_chain() -> AsyncIterator[list[Site]]:
    """0 - 1 - 2 - 3."""
    members = validators(4)
    away = {0: [2, 3], 1: [3], 2: [0], 3: [0, 1]}
    sites = [make_site(index, members, cut_from=away[index]) for index in range(4)]
    async with running(sites, members):
        await until(lambda: [site.links() for site in sites] == [1, 2, 2, 1])
        await asyncio.gather(*(until(lambda site=site: knows_neighbours(site)) for site in sites))  # type: ignore[misc]
        yield sites


def knows_neighbours(site: Site) -> bool:
    """Every neighbour has said whom it is connected with, this node included."""
    reach = site.transport._relay._reach
    return len(reach) == site.links() and all(site.transport.me in connected for connected in reach.values())


async def test_what_a_liar_had_passed_on_is_not_on_the_account_of_who_passed_it_on() -> None:
    """Its own frames still come at once, while those for the liar are dropped."""
    async with cut(3, (0, 1)) as (left, right, middle):
        account = _key(2) + _key(0)
        right.transport.charge(account, 1.0, Worth.FALSE)
        left.transport.broadcast(Channel.RESULT, b"dropped, for what came before")
        await until(lambda: middle.frames.qsize() == 1)
        middle.transport.broadcast(Channel.RESULT, b"its own")
        assert await right.next() == (2, Channel.RESULT, b"its own")
        assert right.frames.empty()


async def test_what_is_false_is_not_passed_on() -> None:
    members = validators(3)

    def refuse(peer: int, channel: Channel, data: bytes) -> Worth:
        seen.append(data)
        return Worth.FALSE if data == b"false" else Worth.USEFUL

    seen: list[bytes] = []
    sites = [
        make_site(0, members, cut_from=[1]),
        make_site(1, members, cut_from=[0]),
        make_site(2, members, on_frame=refuse),
    ]
    async with running(sites, members):
        await until(lambda: sites[2].links() == 2 and sites[0].transport.peers()[0].reachable)
        sites[0].transport.broadcast(Channel.RESULT, b"false")
        sites[0].transport.broadcast(Channel.RESULT, b"true")
        assert await sites[1].next() == (0, Channel.RESULT, b"true")
        assert seen == [b"false", b"true"]


def _key(index: int) -> PublicKey:
    return identity(index).public_key
