"""A program that attacks nodes, as a member with real keys or as a stranger: for `benchmarks.hostile`.

    python -m benchmarks.hostile_program GENESIS NODE_DIRECTORY API_PORTS ATTACK

It goes on until it is ended, and says once a second how much it has sent.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from consensus.committee import Committee
from consensus.messages import Commit, Decided, Prepare, ViewChange, decode_message, encode_message
from fl.records import EvaluationReport
from genesis.document import load_document
from genesis.keys import read_key
from ledger.block import Block, CertifiedBlock, Header
from ledger.certificate import COMMIT, QuorumCertificate, Seal, sign_vote
from ledger.codec import CodecError, encode
from ledger.digest import digest
from ledger.fields import Height, View
from ledger.identity import NO_SIGNATURE
from ledger.transaction import sign_transaction
from ledger.validators import Validator
from node.tls import TransportIdentity
from node.transport.errors import GarbageFrameError
from node.transport.frames import EVERYBODY, Frame, Ping, broadcast, control, direct, read
from node.transport.handshake import Hello
from node.wire import Channel

BURST: Final = 64
"""Frames between two turns of the loop."""

STRANGERS: Final = 400
"""Connections that a stranger holds open at each port."""

NOTHING: Final = digest("block", b"nothing")


class Attacker:
    """Who holds one member's keys."""

    def __init__(self, genesis: Path, directory: Path, ports: list[int]) -> None:
        self.document: Final = load_document(genesis)
        self.chain_id: Final = self.document.chain_id
        self.validators: Final = self.document.validators
        self.key: Final = read_key(directory / "keys" / "validator.key")
        self.identity: Final = TransportIdentity(read_key(directory / "keys" / "transport.key").seed)
        self.index: Final = next(
            i for i, m in enumerate(self.validators.members) if m.public_key == self.key.public_key
        )
        self.victims: Final = [m for i, m in enumerate(self.validators.members) if i != self.index]
        self.ports: Final = ports
        self.seat: Final = Committee(self.chain_id, self.validators, self.key)
        self.height = 1
        """What is being decided, as far as was heard."""

        self.sent: Final[Counter[str]] = Counter()

    # What is said over a proper link

    def forged_votes(self) -> Iterator[bytes]:
        """Votes in everybody's name with no signature."""
        for number in count(1):
            seal = Seal(number % len(self.validators), NO_SIGNATURE)
            yield direct(Channel.CONSENSUS, encode_message(Prepare(Height(number % 50 + 1), View(0), NOTHING, seal)))

    def future_votes(self) -> Iterator[bytes]:
        """True votes for heights that are not there yet, near and far."""
        for number in count(1):
            height = Height(self.height + number % 100)
            seal = sign_vote(self.key, self.chain_id, COMMIT, height, View(0), self.validators, NOTHING)
            yield direct(Channel.CONSENSUS, encode_message(Commit(height, View(0), NOTHING, seal)))

    def view_changes(self) -> Iterator[bytes]:
        """True wishes to leave the height that is being decided for ever later views."""
        for number in count(1):
            height, view = Height(self.height + number % 2), View(number)
            message = ViewChange(height, view, self.seat.seal_view_change(height, view, None), None)
            yield direct(Channel.CONSENSUS, encode_message(message))

    def old_blocks(self) -> Iterator[bytes]:
        """Messages of the largest size: a final block of long ago that is none."""
        header = Header(
            self.chain_id, Height(1), 1, NOTHING, NOTHING, NOTHING, NOTHING, self.validators.hash, self.validators.hash,
            NOTHING, 1, 0,
        )  # fmt: skip
        seals = tuple(Seal(index, NO_SIGNATURE) for index in range(self.validators.quorum))
        block = Block(header, tuple(bytes(900) for _ in range(1_000)))
        certified = CertifiedBlock(block, QuorumCertificate(Height(1), View(0), block.id, seals))
        frame = direct(Channel.CONSENSUS, encode_message(Decided(certified)))
        while True:
            yield frame

    def bad_transactions(self) -> Iterator[bytes]:
        """Transactions of an enrolled sender that it has not signed."""
        sender = self.document.learning.participants[0].public_key
        for number in count():
            report = EvaluationReport("t", 0, number + 1, ())
            said = sign_transaction(self.key, self.chain_id, "evaluation", number % 1_000, report)
            yield broadcast(Channel.TRANSACTION, number, encode(msgspec.structs.replace(said, sender=sender)))

    def small_frames(self) -> Iterator[bytes]:
        """Heartbeats, as many as go."""
        frame = control(Ping(0, ()))
        while True:
            yield frame

    def garbage(self) -> Iterator[bytes]:
        """What no honest node sends: the link ends, and is opened anew."""
        while True:
            yield b"\xff" * 40

    async def listen(self, link: aiohttp.ClientWebSocketResponse) -> None:
        """Learn which height is being decided."""
        with suppress(aiohttp.ClientError, ConnectionError, RuntimeError):
            async for message in link:
                with suppress(CodecError, GarbageFrameError):
                    frame = read(message.data, EVERYBODY)
                    if isinstance(frame, Frame) and frame.channel is Channel.CONSENSUS:
                        heard = decode_message(frame.data)
                        if isinstance(heard, Prepare | Commit):
                            self.height = max(self.height, heard.height)

    # Ways to attack

    async def flood(self, victim: Validator, frames: Iterator[bytes]) -> None:
        """Send frames as fast as they are taken; come back when thrown out."""
        while True:
            with suppress(aiohttp.ClientError, ConnectionError, RuntimeError, TimeoutError, TypeError):
                async with self.link(victim) as link:
                    reading = asyncio.create_task(self.listen(link))
                    for number, frame in enumerate(frames):
                        await link.send_bytes(frame)
                        self.sent["frames"] += 1
                        if number % BURST == 0:
                            await asyncio.sleep(0)
                        if number % 500 == 0:
                            await link.send_bytes(control(Ping(0, ())))
                        if link.closed:
                            break
                    reading.cancel()
            self.sent["links"] += 1
            await asyncio.sleep(0.05)

    async def never_read(self, victim: Validator) -> None:
        """Take nothing, and keep the link alive."""
        while True:
            with suppress(aiohttp.ClientError, ConnectionError, RuntimeError, TimeoutError, TypeError):
                async with self.link(victim) as link:
                    self.sent["links"] += 1
                    connection = link._response.connection  # noqa: SLF001 - nobody honest stops reading
                    if connection is not None and connection.transport is not None:
                        connection.transport.pause_reading()
                    while not link.closed:
                        await link.send_bytes(control(Ping(0, ())))
                        await asyncio.sleep(1)
            await asyncio.sleep(0.05)

    async def fragments(self, victim: Validator) -> None:
        """Begin a message and never end it."""
        while True:
            with suppress(aiohttp.ClientError, ConnectionError, RuntimeError, TimeoutError, TypeError):
                async with self.link(victim) as link:
                    connection = link._response.connection  # noqa: SLF001 - nor writes frames by hand
                    transport = None if connection is None else connection.transport
                    if transport is None:
                        continue
                    transport.write(b"\x02\x80" + bytes(4))
                    while not transport.is_closing():
                        transport.write(b"\x00\x80\0\0\0\0" * 1_000)
                        self.sent["fragments"] += 1_000
                        await asyncio.sleep(0.001)
            self.sent["links"] += 1
            await asyncio.sleep(0.05)

    async def members_connections(self, victim: Validator) -> None:
        """Finish handshakes and say nothing more."""
        context = self.identity.client_context([victim.transport_key])
        await self._connect_for_ever(victim, context)

    async def strangers_connections(self, victim: Validator) -> None:
        """Try to finish handshakes with a certificate that nobody pinned."""
        context = TransportIdentity(bytes(range(32))).client_context([victim.transport_key])
        await self._connect_for_ever(victim, context)

    async def _connect_for_ever(self, victim: Validator, context: ssl.SSLContext) -> None:
        host, _, port = victim.address.rpartition(":")
        held: list[asyncio.StreamWriter] = []
        while True:
            with suppress(OSError, ssl.SSLError, TimeoutError):
                async with asyncio.timeout(3):
                    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
                held.append(writer)
                self.sent["connections"] += 1
            if len(held) > STRANGERS:
                held.pop(0).transport.abort()
            await asyncio.sleep(0)

    async def silent_sockets(self, port: int, dribble: bytes = b"") -> None:
        """Open sockets and say nothing, or one byte of a request now and then."""
        loop = asyncio.get_running_loop()
        held: list[socket.socket] = []
        while True:
            with suppress(OSError, TimeoutError):
                one = socket.socket()
                one.setblocking(False)  # noqa: FBT003 - so the standard library calls it
                async with asyncio.timeout(2):
                    await loop.sock_connect(one, ("127.0.0.1", port))
                held.append(one)
                self.sent["sockets"] += 1
            for other in held[-8:] if dribble else []:
                with suppress(OSError):
                    other.send(dribble)
            if len(held) > STRANGERS:
                held.pop(0).close()
            await asyncio.sleep(0.002)

    @asynccontextmanager
    async def link(self, victim: Validator) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Connect and shake hands."""
        context = self.identity.client_context([victim.transport_key])
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            link = await session.ws_connect(f"https://{victim.address}/peer/frames", max_msg_size=0, autoping=False)
            await link.send_bytes(encode(Hello(1, self.chain_id, 1, ())))
            await link.receive_bytes()
            yield link


def attacks(attacker: Attacker) -> dict[str, Callable[[], list[Awaitable[None]]]]:
    """Return every attack by name: what runs at once."""
    member, stranger = attacker.victims, [int(victim.address.rpartition(":")[2]) for victim in attacker.victims]

    def flood(frames: Callable[[], Iterator[bytes]]) -> Callable[[], list[Awaitable[None]]]:
        return lambda: [attacker.flood(victim, frames()) for victim in member]

    return {
        "member: forged votes": flood(attacker.forged_votes),
        "member: votes for future heights": flood(attacker.future_votes),
        "member: view changes": flood(attacker.view_changes),
        "member: old blocks of the largest size": flood(attacker.old_blocks),
        "member: unsigned transactions": flood(attacker.bad_transactions),
        "member: heartbeats": flood(attacker.small_frames),
        "member: garbage": flood(attacker.garbage),
        "member: never reads": lambda: [attacker.never_read(victim) for victim in member],
        "member: fragments without an end": lambda: [attacker.fragments(victim) for victim in member],
        "member: connections": lambda: [attacker.members_connections(victim) for victim in member],
        "stranger: handshakes": lambda: [attacker.strangers_connections(victim) for victim in member],
        "stranger: silent sockets at the peer port": lambda: [attacker.silent_sockets(port) for port in stranger],
        "stranger: silent sockets at the API": lambda: [attacker.silent_sockets(port) for port in attacker.ports],
        "stranger: slow requests at the API": lambda: [attacker.silent_sockets(port, b"G") for port in attacker.ports],
    }


async def main() -> None:
    """Attack until ended."""
    genesis, directory, ports, name = sys.argv[1:]
    attacker = Attacker(Path(genesis), Path(directory), [int(port) for port in ports.split(",")])
    work = [asyncio.ensure_future(one) for one in attacks(attacker)[name]()]
    while True:
        await asyncio.sleep(1)
        if attacker.sent:
            print(dict(attacker.sent), flush=True)
        for task in work:
            if task.done():
                task.result()


if __name__ == "__main__":
    asyncio.run(main())
