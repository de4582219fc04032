"""Connections that others open to this node. One law: whoever comes may wait, and never takes another's place.

What is not yet known costs least: at most so many connections are taken a second, and at most so many may be in their
TLS handshake, which must end in time. When a limit is reached, the address that has most of what is limited gives its
oldest. Established connections are bounded together and, once `whose` knows who came, for each of them; those that
are in the middle of a request stay. What was dropped is said once in a while, with its number.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

BACKLOG: Final = 128
SAID_EVERY_S: Final = 5.0
ACCEPT_PAUSE_S: Final = 0.1
HELLO_BYTES_MAX: Final = 4096
"""What `Aside` is shown of a connection."""

_log: Final = structlog.get_logger("node.door")


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """How many may come."""

    accepts_per_s: float = 200.0
    handshakes_max: int = 64
    handshake_s: float = 3.0
    connections_max: int = 256
    connections_each_max: int = 256
    """Of one that `whose` tells from others."""


class Connection(Protocol):
    """What the door must know of a connection that has arrived."""

    def abort(self) -> None:
        """End it at once."""
        ...

    def is_closing(self) -> bool:
        """Tell whether it ends, or has ended."""
        ...

    def get_extra_info(self, name: str) -> Any:  # noqa: ANN401 - as asyncio's transports have it
        """Return `ssl_object`."""
        ...


class Aside(Protocol):
    """Who takes some of those who come, instead of the event loop's transports."""

    def wants(self, hello: bytes) -> bool:
        """Tell from the first bytes of a connection."""
        ...

    async def take(self, connection: socket.socket) -> Connection:
        """Shake hands; errors, and being cancelled, close the connection."""
        ...


@dataclass(frozen=True, slots=True)
class _Guest:
    transport: Connection
    address: str
    who: bytes


@dataclass(slots=True)
class _Arrival:
    host: str
    connection: socket.socket
    has_begun: bool = False
    """asyncio, or who takes it aside, owns the connection from then on, and closes it whatever happens."""


class Door:
    """One listening socket and who came in by it."""

    def __init__(
        self,
        name: str,
        limits: DoorLimits,
        *,
        tls: ssl.SSLContext | None,
        whose: Callable[[Connection], bytes] = lambda _: b"",
    ) -> None:
        """Prepare; `open` listens.

        Args:
            name: how the log calls it.
            limits: how many may come.
            tls: None for plain connections.
            whose: tells who has shown a certificate; the same bytes for the same one.
        """
        self._name: Final = name
        self._limits: Final = limits
        self._tls: Final = tls
        self._whose: Final = whose
        self.aside: Aside | None = None
        """Asked first; set before the door opens."""

        self._listener: socket.socket | None = None
        self._protocol: Callable[[], asyncio.BaseProtocol] = asyncio.Protocol
        self._watching: asyncio.TimerHandle | None = None
        self._arriving: Final[dict[asyncio.Task[None], _Arrival]] = {}
        self._guests: list[_Guest] = []
        self._busy: Final[Counter[object]] = Counter()
        self._dropped: Final[Counter[str]] = Counter()
        self._said_s = -SAID_EVERY_S

    async def open(self, protocol: Callable[[], asyncio.BaseProtocol], host: str, port: int) -> int:
        """Listen; return the port's number.

        Args:
            protocol: makes what serves one connection.
            host: address to listen at.
            port: 0 for any that is free.

        Raises:
            OSError: the address cannot be listened at.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, number, _, address = found[0]
        listener = socket.socket(family, kind, number)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)  # noqa: FBT003 - so the standard library calls it
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        self._protocol = protocol
        self._watch()
        address = listener.getsockname()
        return int(address[1])

    @contextmanager
    def busy(self, transport: object | None) -> Iterator[None]:
        """Keep a connection while a request of it is answered."""
        if transport is None:
            yield
            return
        self._busy[transport] += 1
        try:
            yield
        finally:
            self._busy[transport] -= 1
            if not self._busy[transport]:
                del self._busy[transport]

    def shut(self) -> None:
        """Take no more connections."""
        if self._watching is not None:
            self._watching.cancel()
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    async def close(self) -> None:
        """Take no more connections, and drop those that have not arrived."""
        self.shut()
        tasks = list(self._arriving)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the loop closes the sockets of those who had not arrived in its next turn

    def abort(self) -> None:
        """End every connection at once."""
        for guest in self._guests:
            guest.transport.abort()
        self._guests = []

    def _watch(self) -> None:
        assert self._listener is not None, "it listens"
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        """Take one connection, and look for the next one after a while."""
        assert self._listener is not None, "it listens"
        loop, pause_s = asyncio.get_running_loop(), 1 / self._limits.accepts_per_s
        loop.remove_reader(self._listener)
        try:
            connection, address = self._listener.accept()
        except BlockingIOError:
            pass  # it was gone again
        except OSError as error:  # out of descriptors: the others go on
            self._drop(f"not accepted: {error.strerror}")
            pause_s = ACCEPT_PAUSE_S
        else:
            connection.setblocking(False)  # noqa: FBT003 - so the standard library calls it
            self._make_room_to_arrive()
            arrival = _Arrival(str(address[0]), connection)
            task = loop.create_task(self._arrive(arrival))
            self._arriving[task] = arrival
            task.add_done_callback(self._end_arrival)
        self._watching = loop.call_later(pause_s, self._watch)

    def _make_room_to_arrive(self) -> None:
        if len(self._arriving) < self._limits.handshakes_max:
            return
        crowd, _ = Counter(arrival.host for arrival in self._arriving.values()).most_common(1)[0]
        self._arriving_from(crowd).cancel()
        self._drop(f"too many handshakes at once, most of them from {crowd}")

    def _arriving_from(self, host: str) -> asyncio.Task[None]:
        tasks = [task for task, arrival in self._arriving.items() if arrival.host == host]
        return next((task for task in tasks if not task.cancelling()), tasks[0])

    def _end_arrival(self, task: asyncio.Task[None]) -> None:
        arrival = self._arriving.pop(task)
        if not arrival.has_begun:
            arrival.connection.close()

    async def _arrive(self, arrival: _Arrival) -> None:
        transport: Connection
        try:
            async with asyncio.timeout(self._limits.handshake_s):
                transport = await self._shake_hands(arrival)
        except TimeoutError:
            self._drop("no handshake in time")
        except OSError:  # errors of TLS among them; asyncio has closed the connection
            self._drop("the handshake failed")
        else:
            self._admit(transport, arrival.host)

    async def _shake_hands(self, arrival: _Arrival) -> Connection:
        """Leave the connection to asyncio, or to who takes it aside."""
        if self.aside is not None:
            await ready(arrival.connection)
            if self.aside.wants(arrival.connection.recv(HELLO_BYTES_MAX, socket.MSG_PEEK)):
                arrival.has_begun = True
                return await self.aside.take(arrival.connection)
        arrival.has_begun = True
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
            self._protocol,
            arrival.connection,
            ssl=self._tls,
            ssl_handshake_timeout=self._limits.handshake_s if self._tls is not None else None,
        )
        return transport

    def _admit(self, transport: Connection, host: str) -> None:
        try:
            who = self._whose(transport)
        except ssl.SSLError:
            transport.abort()
            self._drop("no acceptable certificate")
            return
        self._guests = [guest for guest in self._guests if not guest.transport.is_closing()]
        own = [guest for guest in self._guests if guest.who == who]
        if len(own) >= self._limits.connections_each_max:
            self._give_way(own, "more connections of one than it may have")
        elif len(self._guests) >= self._limits.connections_max:
            crowd, _ = Counter(guest.address for guest in self._guests).most_common(1)[0]
            self._give_way(
                [one for one in self._guests if one.address == crowd], f"too many, most of them from {crowd}"
            )
        self._guests.append(_Guest(transport, host, who))

    def _give_way(self, guests: list[_Guest], reason: str) -> None:
        """End the oldest of these that is not in the middle of a request, else the oldest."""
        idle = [guest for guest in guests if guest.transport not in self._busy]
        oldest = (idle or guests)[0]
        oldest.transport.abort()
        self._guests.remove(oldest)
        self._drop(reason)

    def _drop(self, reason: str) -> None:
        """Count, and say it once in a while."""
        self._dropped[reason] += 1
        now_s = asyncio.get_running_loop().time()
        if now_s - self._said_s >= SAID_EVERY_S:
            self._said_s = now_s
            _log.warning("door.dropped", door=self._name, connections=dict(self._dropped))
            self._dropped.clear()


async def ready(connection: socket.socket, *, to_write: bool = False) -> None:
    """Wait until there is something to read, or room to write."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if to_write else (loop.add_reader, loop.remove_reader)

    def note() -> None:
        if not came.done():
            came.set_result(None)

    add(connection, note)
    try:
        await came
    finally:
        remove(connection)
