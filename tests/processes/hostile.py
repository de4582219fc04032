"""A member of the consortium that runs a program of its own. One law: it holds real keys, and has no honest part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import WSMsgType

from genesis.keys import read_key
from genesis.local import LocalConsortium, LocalNode
from ledger.certificate import PROTOCOL_VERSION
from ledger.codec import encode
from ledger.digest import Digest
from ledger.identity import PublicKey
from ledger.validators import Validator
from node.tls import TransportIdentity
from node.transport.frames import Frame, Ping, control, read
from node.transport.handshake import Hello
from node.wire import Channel

BEAT_SECONDS = 1.0
ENDED_SECONDS_MAX = 10.0
AWAY_SECONDS_MAX = 60.0
TOO_MANY_REQUESTS = 429


@dataclass
class Line:
    """A connection to one honest node, after a proper handshake."""

    socket: aiohttp.ClientWebSocketResponse
    peer: PublicKey
    heard: list[Frame] = field(default_factory=list)
    """Everything that came, heartbeats apart."""

    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def begin(self) -> None:
        """Read and send heartbeats as an honest node does."""
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._beat())]

    async def say(self, frames: Iterable[bytes]) -> None:
        """Send frames as they are; what the other side does not take any more is lost."""
        for frame in frames:
            try:
                await self.socket.send_bytes(frame)
            except (ConnectionError, RuntimeError):
                return

    async def has_ended(self) -> bool:
        """Wait for the other side to close."""
        await asyncio.wait([self._tasks[0]], timeout=ENDED_SECONDS_MAX)
        return self._tasks[0].done()

    async def close(self) -> None:
        """End it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.socket.close()

    def consensus(self) -> list[bytes]:
        """Return the consensus messages that came."""
        return [frame.data for frame in self.heard if frame.channel is Channel.CONSENSUS]

    async def _read(self) -> None:
        async for message in self.socket:
            if message.type is WSMsgType.BINARY:
                frame = read(message.data, self.peer)
                if isinstance(frame, Frame):
                    self.heard.append(frame)

    async def _beat(self) -> None:
        while True:
            await self.say([control(Ping(0, ()))])
            await asyncio.sleep(BEAT_SECONDS)


class HostileMember:
    """Whoever holds one member's transport key."""

    def __init__(self, consortium: LocalConsortium, node: LocalNode) -> None:
        self.consortium = consortium
        self.node = node
        self.identity = TransportIdentity(read_key(node.directory / "keys" / "transport.key").seed)

    @asynccontextmanager
    async def socket(
        self, victim: LocalNode, identity: TransportIdentity | None = None
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Connect for frames and say nothing yet; with another certificate when an identity is given.

        Waits while the victim wants to hear nothing of this member.
        """
        context = (identity or self.identity).client_context([self.member(victim).transport_key])
        url = f"https://{self.member(victim).address}/peer/frames"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            yield await _patiently(session, url)

    @asynccontextmanager
    async def line(self, victim: LocalNode) -> AsyncIterator[Line]:
        """Connect and shake hands."""
        async with self.socket(victim) as socket:
            await socket.send_bytes(encode(self.hello()))
            await socket.receive_bytes()
            line = Line(socket, self.member(victim).transport_key)
            line.begin()
            try:
                yield line
            finally:
                await line.close()

    def hello(self, *, chain_id: Digest | None = None, version: int = PROTOCOL_VERSION) -> Hello:
        """Return what is said first."""
        return Hello(version, chain_id or self.consortium.document.chain_id, 1, ())

    def member(self, node: LocalNode) -> Validator:
        """Return a node's record in the validator set."""
        return next(m for m in self.consortium.document.validators.members if m.name == node.name)


async def _patiently(session: aiohttp.ClientSession, url: str) -> aiohttp.ClientWebSocketResponse:
    async with asyncio.timeout(AWAY_SECONDS_MAX):
        while True:
            try:
                return await session.ws_connect(url, max_msg_size=0, compress=0)
            except aiohttp.WSServerHandshakeError as error:
                if error.status != TOO_MANY_REQUESTS:  # it is kept away for what it sent before
                    raise
            await asyncio.sleep(0.1)
