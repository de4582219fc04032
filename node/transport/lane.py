"""A lane for bytes that are ready: a connection at a time has a thread, for one answer. One law: votes never wait here.

Whoever offers the protocol `LANE` asks for nothing but what `answer` gives (payload chunks), by plain GET requests as
on the other connections of the port; what else a node serves has its routes there. A chunk that goes out by a blocking
socket costs a third of what the event loop's TLS takes for it, and the loop is left alone. Between two requests a
connection waits in the loop, without a thread.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from http import HTTPStatus
from socket import SHUT_RDWR, socket
from typing import Final

import structlog

from ledger.identity import PublicKey
from node.background import background_threads
from node.door import ready
from node.tls import peer_key
from node.transport.budget import TokenBucket
from node.transport.client_hello import offered_protocols
from node.transport.peers import TransportLimits

LANE: Final = "foedus-lane"
LANE_PATHS: Final = "/peer/payloads/"
"""What is asked for in the lane; a peer that has none serves it on its other connections."""

PIECE_BYTES: Final = 256 << 10
"""Sent within the time that `bulk_stall_ms_max` allows."""

HEAD_BYTES_MAX: Final = 4096
IDLE_S: Final = 60.0
BURST_S: Final = 0.05

_log: Final = structlog.get_logger("node.transport")

Answer = Callable[[int, str], bytes]
"""Gives the body for a peer's index and a path; blocks. Raises `LaneRefusedError`."""


class LaneRefusedError(Exception):
    """There is no body for this peer and path."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class LaneGuest:
    """One connection, as the door sees it and as a thread uses it."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self.connection: Final = connection
        self.key: Final = peer_key(connection)
        self._closing = False

    def get_extra_info(self, name: str) -> ssl.SSLSocket | None:
        """Return what `peer_key` reads."""
        return self.connection if name == "ssl_object" else None

    def is_closing(self) -> bool:
        """Tell whether it was given up."""
        return self._closing

    def abort(self) -> None:
        """Give it up; a thread that reads or writes fails."""
        self._closing = True
        with suppress(OSError):
            socket.shutdown(self.connection, SHUT_RDWR)  # not that of TLS, which a thread may be in

    def read_path(self) -> str:
        """Return the path of a GET request, empty when the peer hung up.

        Raises:
            LaneRefusedError: it asks for something else.
            OSError: the connection broke off.
        """
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            part = self.connection.recv(HEAD_BYTES_MAX)
            head += part
            if not part:
                return ""
            if len(head) > HEAD_BYTES_MAX:
                raise LaneRefusedError(431, f"a head of at most {HEAD_BYTES_MAX} bytes is read")
        request = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(request) != 3 or request[0] != "GET":
            raise LaneRefusedError(405, "GET requests are what the lane is for")
        return request[1]

    def write(self, status: int, body: bytes) -> None:
        """Send an answer.

        Raises:
            OSError: the connection broke off, or the peer takes nothing.
        """
        reason = HTTPStatus(status).phrase
        ending = "" if status == HTTPStatus.OK else "Connection: close\r\n"
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Length: {len(body)}\r\n{ending}\r\n"
        self.connection.sendall(head.encode("ascii"))
        content = memoryview(body)
        for start in range(0, len(body), PIECE_BYTES):
            self.connection.sendall(content[start : start + PIECE_BYTES])


class Lane:
    """The connections in the lane."""

    def __init__(
        self,
        context: ssl.SSLContext,
        limits: TransportLimits,
        index_of: Callable[[PublicKey], int | None],
        on_caller: Callable[[PublicKey], None],
        busy: Callable[[LaneGuest], AbstractContextManager[None]],
        answer: Answer,
    ) -> None:
        """Serve nobody yet.

        Args:
            context: of the port.
            limits: how many requests at once, how long and how much.
            index_of: who is a member.
            on_caller: told who came.
            busy: keeps a connection while it is served.
            answer: what is served.
        """
        self._context: Final = context
        self._limits: Final = limits
        self._index_of: Final = index_of
        self._on_caller: Final = on_caller
        self._busy: Final = busy
        self._answer: Final = answer
        self._threads: Final = background_threads(limits.bulk_requests_max, "lane")
        self._held: Final[Counter[int]] = Counter()
        self._serving: Final[dict[asyncio.Task[None], LaneGuest]] = {}
        self._rate: Final = TokenBucket(limits.bulk_bytes_per_s_max, asyncio.get_running_loop().time(), burst_s=BURST_S)

    def wants(self, hello: bytes) -> bool:
        """Tell whether a connection that begins so is for the lane."""
        return LANE.encode() in offered_protocols(hello)

    async def take(self, connection: socket) -> LaneGuest:
        """Shake hands on a connection, which is the lane's from here on, and serve it.

        Raises:
            OSError: the handshake failed; the connection is closed. So it is when this is cancelled.
        """
        shaking = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        try:
            await _shake_hands(shaking)
            guest = LaneGuest(shaking)
        except BaseException:
            shaking.close()
            raise
        task = asyncio.create_task(self._serve(guest))
        self._serving[task] = guest
        task.add_done_callback(self._end)
        return guest

    async def close(self) -> None:
        """End every connection."""
        for task, guest in list(self._serving.items()):
            guest.abort()
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _end(self, task: asyncio.Task[None]) -> None:
        guest = self._serving.pop(task)
        guest.abort()
        guest.connection.close()

    async def _serve(self, guest: LaneGuest) -> None:
        clock = asyncio.get_running_loop()
        with suppress(OSError):
            while not guest.is_closing():
                if not guest.connection.pending():
                    async with asyncio.timeout(IDLE_S):
                        await ready(guest.connection)
                peer = self._index_of(guest.key)
                if peer is None or self._held[peer] >= self._limits.bulk_requests_per_peer_max:
                    return
                self._on_caller(guest.key)
                self._held[peer] += 1
                try:
                    with self._busy(guest):
                        serving = clock.run_in_executor(self._threads, self._serve_one, guest, peer)
                        sent = await _whatever_happens(serving, guest)
                finally:
                    self._held[peer] -= 1
                if not sent:
                    return
                await asyncio.sleep(self._rate.take(sent, clock.time()))

    def _serve_one(self, guest: LaneGuest, peer: int) -> int:
        """Answer one request; return how many bytes were sent, 0 when there is no other request to wait for."""
        guest.connection.settimeout(self._limits.bulk_stall_ms_max / 1000)
        try:
            path = guest.read_path()
            if not path:
                return 0
            body = self._answer(peer, path)
        except LaneRefusedError as error:
            guest.write(error.status, str(error).encode())
            return 0
        guest.write(200, body)
        guest.connection.setblocking(False)  # noqa: FBT003 - so the standard library calls it
        return len(body)


async def _shake_hands(connection: ssl.SSLSocket) -> None:
    while True:
        try:
            connection.do_handshake()
        except ssl.SSLWantReadError:
            await ready(connection)
        except ssl.SSLWantWriteError:
            await ready(connection, to_write=True)
        else:
            return


async def _whatever_happens(serving: asyncio.Future[int], guest: LaneGuest) -> int:
    """Wait for a thread to end; when this is cancelled, it is made to end first."""
    try:
        return await asyncio.shield(serving)
    except asyncio.CancelledError:
        guest.abort()
        await asyncio.wait({serving})
        raise
