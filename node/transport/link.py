"""One working connection to one peer. One law: nothing here waits for the peer except its own tasks.

Three tasks share a link: one reads within the peer's budget, one writes what its outbox holds, one sends heartbeats and
notices silence. The first to end ends the link, and its reason is the link's.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio.trsock import TransportSocket
from collections.abc import Callable, Coroutine
from time import time_ns
from typing import Final

from aiohttp import WebSocketError, WSCloseCode, WSMsgType

from ledger.identity import PublicKey
from node.transport.budget import PING_S, READ_BYTE_S, READ_S, TokenBucket
from node.transport.errors import GarbageFrameError
from node.transport.frames import MESSAGE_BYTES_MAX, Frame, Ping, Pong, control, read
from node.transport.handshake import Hello, WebSocket
from node.transport.outbox import Outbox
from node.transport.peers import TransportLimits
from node.wire import Channel

CLOSE_MS_MAX: Final = 500
_TCP_INFO_BYTES: Final = 136
"""Linux: `struct tcp_info` up to the end of `tcpi_bytes_received`."""

BARREN_BYTES_MAX: Final = 4 * MESSAGE_BYTES_MAX
"""Bytes of TCP without a whole message among them; an honest one with all that TLS adds needs a quarter."""

BARREN_BEATS_MAX: Final = 3
"""Heartbeats in a row by which that was so: a loop that was busy for one has still to read what came meanwhile."""


class Link:
    """A WebSocket after its handshake, dialed or accepted."""

    def __init__(
        self, socket: WebSocket, peer: PublicKey, hello: Hello, *, dialed: bool, limits: TransportLimits
    ) -> None:
        loop = asyncio.get_running_loop()
        self.peer: Final = peer
        self.hello: Final = hello
        self.dialed: Final = dialed
        self.outbox: Final = Outbox(limits)
        self.round_trip_ms: float | None = None
        self.clock_offset_ms: float | None = None
        """How far the peer's clock is ahead of this machine's, by its last answer; None before the first."""

        self.garbage = ""
        """What the peer sent that no honest node sends; empty while there is nothing of that kind.

        Kept here, since a peer that hangs up at once would otherwise cancel `run` before it can raise.
        """

        self.began_s: Final = loop.time()
        self._socket: Final = socket
        self._limits: Final = limits
        self._loop: Final = loop
        self._heard_s = loop.time()
        self._fruitful: int | None = None
        """How many bytes had come when the next message began to be waited for; None while none is."""

        self._barren_beats = 0
        """Heartbeats since then by which more had come than a message has."""

        self.work = TokenBucket(limits.work_s_per_s_max, loop.time())
        """The peer's account of processor time; all links of one peer share it (`Transport.carry`)."""

        self._frames: Final = TokenBucket(limits.receive_frames_per_s_max, loop.time())
        self._bytes: Final = TokenBucket(limits.receive_bytes_per_s_max, loop.time())
        self._ended: Final[asyncio.Future[str]] = loop.create_future()

    def send(self, channel: Channel, frame: bytes) -> None:
        """Queue a frame; newer ones may push it out, but not what consensus says."""
        if channel is Channel.CONSENSUS:
            self.send_urgent(frame)
        else:
            self.outbox.put_gossip(frame)

    def send_urgent(self, frame: bytes) -> None:
        """Queue a frame that must not be lost while the link lives."""
        if not self.outbox.put_urgent(frame):
            self.end("slow consumer: its urgent queue is full")

    def ping(self, neighbours: tuple[PublicKey, ...]) -> None:
        """Tell the peer that we are here and whom we are connected with."""
        self.send_urgent(control(Ping(self._now_us(), neighbours)))

    def end(self, reason: str) -> None:
        """Close the link as soon as the loop gets to it."""
        if not self._ended.done():
            self._ended.set_result(reason)

    async def run(
        self,
        on_frame: Callable[[Link, Frame], None],
        on_neighbours: Callable[[Link, tuple[PublicKey, ...]], None],
        neighbours: Callable[[], tuple[PublicKey, ...]],
    ) -> str:
        """Carry frames until the link ends; return why it did.

        Raises:
            GarbageFrameError: the peer sent what no honest node sends.
        """
        work: list[Coroutine[object, object, str]] = [
            self._read_honest(on_frame, on_neighbours),
            self._write(),
            self._beat(neighbours),
        ]
        tasks = [asyncio.create_task(step) for step in work]
        try:
            await asyncio.wait([*tasks, self._ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if (
                self._socket.close_code == WSCloseCode.MESSAGE_TOO_BIG
            ):  # and the peer hung up before `_read` heard of it
                self.garbage = f"a message of more than {MESSAGE_BYTES_MAX} bytes"
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            await self._close(outcomes)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        reasons = [outcome for outcome in outcomes if isinstance(outcome, str)]
        return self._ended.result() if self._ended.done() else reasons[0]

    async def _read_honest(
        self,
        on_frame: Callable[[Link, Frame], None],
        on_neighbours: Callable[[Link, tuple[PublicKey, ...]], None],
    ) -> str:
        try:
            return await self._read(on_frame, on_neighbours)
        except GarbageFrameError as error:
            self.garbage = str(error)
            raise

    async def _read(
        self,
        on_frame: Callable[[Link, Frame], None],
        on_neighbours: Callable[[Link, tuple[PublicKey, ...]], None],
    ) -> str:
        while True:
            self._fruitful, self._barren_beats = self._received(), 0
            message = await self._socket.receive()
            self._fruitful = None
            if message.type is not WSMsgType.BINARY:
                return self._farewell(message.type, message.data)
            self._heard_s = self._loop.time()
            await self._afford(len(message.data))
            match read(message.data, self.peer):
                case Ping(stamp, neighbours):
                    self.work.take(PING_S, self._heard_s)
                    self.send_urgent(control(Pong(stamp, time_ns() // 1_000_000)))
                    on_neighbours(self, tuple(neighbours))
                case Pong(stamp, time_ms):
                    self.round_trip_ms = max(0, self._now_us() - stamp) / 1000
                    self.clock_offset_ms = time_ms + self.round_trip_ms / 2 - time_ns() / 1_000_000
                case Frame() as frame:
                    on_frame(self, frame)

    async def _afford(self, size: int) -> None:
        """Wait until the peer's accounts bear another frame, and no longer than a silence may last."""
        now_s = self._heard_s
        cost_s = READ_S + READ_BYTE_S * size
        wait_s = max(self._frames.take(1, now_s), self._bytes.take(size, now_s), self.work.take(cost_s, now_s))
        if wait_s > 0:
            await asyncio.sleep(min(wait_s, self._limits.silence_ms_max / 2_000))

    async def _write(self) -> str:
        stall_s = self._limits.write_stall_ms_max / 1000
        try:
            while True:
                frame = await self.outbox.get()
                async with asyncio.timeout(stall_s):
                    await self._socket.send_bytes(frame)
        except TimeoutError:
            return f"slow consumer: it took nothing for {stall_s:g} s"
        except (ConnectionError, RuntimeError) as error:
            return f"broken while writing: {error}"

    async def _beat(self, neighbours: Callable[[], tuple[PublicKey, ...]]) -> str:
        while True:
            self.ping(neighbours())
            await asyncio.sleep(self._limits.heartbeat_ms / 1000)
            self._require_fruit()
            silence_ms = (self._loop.time() - self._heard_s) * 1000
            if silence_ms > self._limits.silence_ms_max:
                return f"silent for {silence_ms:.0f} ms"

    def _require_fruit(self) -> None:
        """Check that what comes adds up to messages: fragments without an end cost time and are counted nowhere else.

        Raises:
            GarbageFrameError: more bytes came than any message has.
        """
        barren = 0 if self._fruitful is None else self._received() - self._fruitful
        self._barren_beats = self._barren_beats + 1 if barren > BARREN_BYTES_MAX else 0
        if self._barren_beats >= BARREN_BEATS_MAX:
            self.garbage = f"{barren} bytes and no message"
            raise GarbageFrameError(self.garbage)

    def _received(self) -> int:
        return bytes_received(self._socket.get_extra_info("socket"))

    def _farewell(self, kind: WSMsgType, data: object) -> str:
        """Say why the peer's stream ended.

        Raises:
            GarbageFrameError: it was our WebSocket layer that refused what came.
        """
        if kind in {WSMsgType.TEXT, WSMsgType.PING, WSMsgType.PONG} or isinstance(data, WebSocketError):
            raise GarbageFrameError(
                f"expected binary messages of at most {MESSAGE_BYTES_MAX} bytes, got {kind.name} {data!r:.100}"
            )
        if kind is WSMsgType.ERROR:
            return f"broken while reading: {data!r:.200}"
        return f"closed by the peer ({kind.name} {data!r:.100})"

    async def _close(self, outcomes: list[str | BaseException]) -> None:
        garbage = any(isinstance(outcome, GarbageFrameError) for outcome in outcomes)
        code = WSCloseCode.POLICY_VIOLATION if garbage else WSCloseCode.GOING_AWAY
        try:
            async with asyncio.timeout(CLOSE_MS_MAX / 1000):
                await self._socket.close(code=code)
        except (TimeoutError, ConnectionError, RuntimeError):
            pass  # it was broken before

    def _now_us(self) -> int:
        return int(self._loop.time() * 1_000_000)


def bytes_received(connection: object) -> int:
    """Return how many bytes TCP has received on a socket; 0 where the system does not tell."""
    if not isinstance(connection, TransportSocket) or not hasattr(socket, "TCP_INFO"):
        return 0
    try:
        facts = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return 0  # it is closed
    return int.from_bytes(facts[_TCP_INFO_BYTES - 8 :], sys.byteorder)
