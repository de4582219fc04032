"""A member that sends what it likes: it is cut off or not listened to, and the others go on with one chain."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import msgpack
import pytest
from aiohttp import WSMsgType

from consensus.messages import Commit, Prepare, PrePrepare, ViewChange, ViewChangeClaim, decode_message, encode_message
from foedus.demo.processes import Processes
from genesis.local import LocalConsortium, LocalNode
from ledger.certificate import Seal
from ledger.codec import encode
from ledger.digest import digest
from ledger.identity import PublicKey, Signature
from node.tls import TransportIdentity
from node.transport.frames import MESSAGE_BYTES_MAX, Frame, Kind, broadcast, direct, relayed
from node.transport.handshake import REFUSED_CODE
from node.wire import Channel
from tests.processes.harness import Trainers, grow, log_of, make_hospitals, require_equal_chains, start, until
from tests.processes.hostile import HostileMember

pytestmark = pytest.mark.processes

GARBAGE = {
    "nothing": b"",
    "unknown kind": b"\xff" + bytes(40),
    "unknown channel": b"\x0f" + bytes(40),
    "broadcast cut off": broadcast(Channel.CONSENSUS, 1, b"")[:5],
    "relayed cut off": bytes([Kind.RELAYED << 4 | Channel.RESULT]) + bytes(70),
    "control record cut off": bytes([Kind.CONTROL << 4]) + b"\x93\xa4ping",
    "longer than a frame": direct(Channel.CONSENSUS, bytes(MESSAGE_BYTES_MAX)),
    "no transaction": direct(Channel.TRANSACTION, b"\x95\xa6update"),
    "no result": direct(Channel.RESULT, b"\xc1"),
    "no announcement": direct(Channel.PAYLOAD, bytes(100)),
}
"""What no honest node sends: each ends the connection that it comes by."""

NO_SIGNATURE = Signature(bytes(64))
CROWD = 450
"""More than the connections that an API keeps, and than the handshakes that a peer port does."""


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> LocalConsortium:
    """Four hospitals, the last of which belongs to the tests."""
    return make_hospitals(tmp_path_factory.mktemp("peer") / "consortium", collect_ms=500)


@pytest.fixture(scope="module")
def honest(consortium: LocalConsortium) -> list[LocalNode]:
    """The three that run."""
    return list(consortium.nodes[:3])


@pytest.fixture(scope="module")
def processes(
    consortium: LocalConsortium, honest: list[LocalNode], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Processes]:
    """Three honest nodes with work, for all tests here; what they hold is compared at the end."""
    with Processes(tmp_path_factory.mktemp("logs")) as children:
        start(children, consortium, consortium.nodes[3])
        with Trainers(consortium, honest[0].name) as trainers:
            grow(honest, 1)
            yield children
            children.require_alive()
            grow(honest, 2)
            children.stop()
        require_equal_chains(consortium, trainers.acknowledged, consortium.nodes[3])


@pytest.fixture
def hostile(consortium: LocalConsortium, processes: Processes) -> HostileMember:
    """The fourth member."""
    processes.require_alive()
    return HostileMember(consortium, consortium.nodes[3])


async def go_on(honest: list[LocalNode], blocks: int = 2) -> None:
    """Wait until the honest nodes have more blocks."""
    await asyncio.to_thread(grow, honest, blocks)


def dropped(node: LocalNode, reason: str) -> float:
    """Return how many consensus messages a node says it did not use for a reason."""
    with urllib.request.urlopen(f"{node.url}/metrics") as answer:  # noqa: S310 - our own node
        text = answer.read().decode()
    name = f'foedus_messages_dropped_total{{reason="{reason}"}} '
    return sum(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))


async def until_dropped(node: LocalNode, reason: str, count: float) -> None:
    """Wait until a node has dropped so many messages for a reason."""
    await asyncio.to_thread(until, lambda: dropped(node, reason) >= count, f"{count} messages dropped as {reason}")


async def recorded(hostile: HostileMember, victim: LocalNode, count: int) -> list[bytes]:
    """Listen as a member until so many consensus messages have come."""
    async with hostile.line(victim) as line:
        await asyncio.to_thread(until, lambda: len(line.consensus()) >= count, f"{count} consensus messages")
        return line.consensus()


async def test_garbage_costs_its_sender_the_connection_and_nobody_else(
    hostile: HostileMember, honest: list[LocalNode], processes: Processes
) -> None:
    async def attack(victim: LocalNode, names: list[str]) -> None:
        for name in names:
            async with hostile.line(victim) as line:
                await line.say([GARBAGE[name]])
                assert await line.has_ended(), name

    names = list(GARBAGE)
    await asyncio.gather(*(attack(victim, names[place::3]) for place, victim in enumerate(honest)))

    def sent_away() -> int:
        return sum(log_of(processes, node).count("peer.sent_garbage") for node in honest)

    await asyncio.to_thread(until, lambda: sent_away() >= len(GARBAGE), "a line in a log for each")
    assert "frame.handler_failed" not in "".join(log_of(processes, node) for node in honest)
    await go_on(honest)


async def test_random_frames_stop_nobody(hostile: HostileMember, honest: list[LocalNode]) -> None:
    generator = random.Random(5)
    firsts = [kind << 4 | channel for kind in (0, 1, 2) for channel in Channel]

    async def attack(victim: LocalNode, seed: int) -> None:
        noise = random.Random(seed)
        async with hostile.line(victim) as line:
            sizes = [noise.choice((0, 1, 40, 80, 300, 5_000)) for _ in range(200)]
            await line.say(bytes([noise.choice(firsts)]) + noise.randbytes(size) for size in sizes)

    await asyncio.gather(*(attack(victim, generator.randrange(1 << 30)) for victim in honest))

    await go_on(honest)


@pytest.mark.parametrize(
    "changes, needed",
    [
        ({"chain_id": digest("genesis", b"another")}, "compare the genesis files"),
        ({"version": 99}, "run one release"),
    ],
    ids=["chain", "version"],
)
async def test_who_is_of_another_chain_or_release_is_told_so(
    hostile: HostileMember,
    honest: list[LocalNode],
    processes: Processes,
    changes: dict[str, object],
    needed: str,
) -> None:
    async with hostile.socket(honest[2]) as socket:
        await socket.send_bytes(encode(hostile.hello(**changes)))  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            await socket.receive_bytes()  # its hello
            farewell = await socket.receive()

    assert farewell.type is WSMsgType.CLOSE
    assert farewell.data == REFUSED_CODE
    assert needed in str(farewell.extra)
    await asyncio.to_thread(until, lambda: needed in log_of(processes, honest[2]), "the line in the log")
    await go_on(honest)


async def test_a_certificate_that_is_not_pinned_does_not_finish_the_handshake(
    hostile: HostileMember, honest: list[LocalNode]
) -> None:
    with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
        async with hostile.socket(honest[0], TransportIdentity(bytes(range(32)))) as socket:
            await socket.receive()

    await go_on(honest)


async def test_consensus_messages_that_come_again_and_in_another_order_change_nothing(
    hostile: HostileMember, honest: list[LocalNode]
) -> None:
    """To everybody, as the sender's own frames and as if they were passed on for those who wrote them."""
    heard = [message for node in honest for message in await recorded(hostile, node, 25)]
    origins = [hostile.member(node).transport_key for node in honest]
    shuffled = random.Random(7)
    everybody = bytes(32)

    async def replay(victim: LocalNode) -> None:
        order = heard * 3
        shuffled.shuffle(order)
        passed_on = (
            relayed(Frame(Kind.RELAYED, Channel.CONSENSUS, number, origins[number % 3], everybody, message))  # type: ignore[arg-type]
            for number, message in enumerate(order)
        )
        async with hostile.line(victim) as line:
            await line.say(broadcast(Channel.CONSENSUS, number, message) for number, message in enumerate(order))
            await line.say(passed_on)
            assert not line.socket.closed

    before = dropped(honest[0], "stale")
    await asyncio.gather(*(replay(victim) for victim in honest))

    await until_dropped(honest[0], "stale", before + 50)
    await go_on(honest, 4)


async def test_forged_votes_and_proposals_are_dropped_for_their_signatures(
    hostile: HostileMember, honest: list[LocalNode], processes: Processes
) -> None:
    """In the names of all, for heights just ahead: what a replica would otherwise keep for later."""
    message = next(m for m in map(decode_message, await recorded(hostile, honest[1], 10)) if isinstance(m, Prepare))
    forged = forgeries(message.height + 20)
    before = {node.name: dropped(node, "bad-signature") for node in honest}

    for node in honest:
        async with hostile.line(node) as line:
            while dropped(node, "bad-signature") <= before[node.name]:
                await line.say(direct(Channel.CONSENSUS, data) for data in forged)
                await asyncio.sleep(0.2)

    assert "consensus.evidence" not in "".join(log_of(processes, node) for node in honest)
    await go_on(honest)


def forgeries(height: int) -> list[bytes]:
    """Return votes for nothing at many heights, in everybody's name."""
    seals = [Seal(index, NO_SIGNATURE) for index in range(4)]
    block_id = digest("block", b"nothing")
    return [
        encode_message(message)
        for at in range(max(1, height - 40), height + 40)
        for seal in seals
        for message in (
            Prepare(at, 0, block_id, seal),  # type: ignore[arg-type]
            Commit(at, 0, block_id, seal),  # type: ignore[arg-type]
            ViewChange(at, 1, ViewChangeClaim(None, seal), None),  # type: ignore[arg-type]
        )
    ]


async def test_a_proposal_under_another_signature_is_not_taken(hostile: HostileMember, honest: list[LocalNode]) -> None:
    """Somebody else's block of the past, dressed up as the next proposal: its height is over, its seal is another's."""
    heard = [decode_message(data) for data in await recorded(hostile, honest[0], 30)]
    proposals = [message for message in heard if isinstance(message, PrePrepare)]
    assert proposals
    forged = [
        encode_message(PrePrepare(p.height, p.view, p.block, Seal(p.seal.validator, NO_SIGNATURE), p.justification))
        for p in proposals
    ]
    async with hostile.line(honest[0]) as line:
        await line.say(direct(Channel.CONSENSUS, data) for data in forged)

    await go_on(honest)


async def test_another_encoding_of_a_true_message_is_malformed(hostile: HostileMember, honest: list[LocalNode]) -> None:
    """One word has one form: a longer integer, a trailing byte or a map in place of an array is no message."""
    true = (await recorded(hostile, honest[0], 1))[0]
    fields = msgpack.unpackb(true, raw=True, use_list=True)
    longer = true[:1].replace(true[:1], b"\xdc" + (true[0] & 15).to_bytes(2, "big")) + true[1:]
    variants = [true + b"\x00", longer, msgpack.packb({0: fields}), msgpack.packb([*fields, None]), true[:-1]]
    before = dropped(honest[1], "malformed")

    async with hostile.line(honest[1]) as line:  # as if it was another one's, it costs nobody the connection
        origin = hostile.member(honest[0]).transport_key
        passed_on = (
            relayed(Frame(Kind.RELAYED, Channel.CONSENSUS, number, origin, PublicKey(bytes(32)), data))
            for number, data in enumerate(variants)
        )
        await line.say(passed_on)
        await until_dropped(honest[1], "malformed", before + len(variants))
        assert not line.socket.closed
        await line.say([direct(Channel.CONSENSUS, variants[0])])  # its own word
        assert await line.has_ended()

    await go_on(honest)


async def test_crowds_that_say_nothing_at_both_ports_keep_nobody_from_being_served(
    honest: list[LocalNode], processes: Processes
) -> None:
    """More connections than a node keeps, none of which asks for anything, or shakes hands."""
    victim = honest[0]
    crowd = [await _silent(port) for port in (victim.api_port, victim.peer_port) for _ in range(CROWD)]
    try:
        await asyncio.to_thread(until, lambda: "door.dropped" in log_of(processes, victim), "a line in the log")
        async with aiohttp.request("GET", f"{victim.url}/v1/status") as answer:
            assert answer.status == 200
        await go_on(honest)
        processes.require_alive()
    finally:
        for one in crowd:
            one.close()


async def _silent(port: int) -> socket.socket:
    one = socket.socket()
    one.setblocking(False)
    await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", port))
    return one


def test_nothing_was_held_up_for_long(honest: list[LocalNode], tmp_path: Path) -> None:
    """After all of the above, a block takes what it took before."""
    began = time.monotonic()
    grow(honest, 3)
    assert time.monotonic() - began < 10, tmp_path
