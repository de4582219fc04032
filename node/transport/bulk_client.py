"""Bulk requests to one peer, in threads of their own. One law: what a megabyte costs, no vote pays.

Blocking sockets take half the processor time of the event loop's TLS, and leave the loop alone. A request that is
cancelled has its connection shut down, so that no thread outlives its purpose.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from time import monotonic
from typing import Final

from ledger.identity import PublicKey
from node.background import background_threads
from node.tls import PeerKeyError, peer_key
from node.transport.errors import PeerRefusedError, PeerUnreachableError
from node.transport.peers import TransportLimits

IDLE_S_MAX: Final = 30.0
"""An unused connection is not trusted for longer; the server keeps it for twice that."""

CLOSE_S_MAX: Final = 1.0
REASON_BYTES_MAX: Final = 300


class BulkClient:
    """A pool of connections to one validator, and as many threads."""

    def __init__(self, context: ssl.SSLContext, name: str, key: PublicKey, limits: TransportLimits) -> None:
        """Open nothing yet.

        Args:
            context: lets in that validator alone.
            name: of the validator, for errors.
            key: that its certificate must hold.
            limits: how many requests at once, and how long each step may take.
        """
        self._context: Final = context
        self._name: Final = name
        self._key: Final = key
        self._limits: Final = limits
        self._threads: Final = background_threads(limits.bulk_requests_per_peer_max, f"bulk-{name}")
        self._idle: Final[list[_Connection]] = []
        self._busy: Final[set[_Connection]] = set()
        self._closed = False

    async def request(self, method: str, address: str, path: str, *, bytes_max: int, body: bytes = b"") -> bytes:
        """Return the body of an answer with status 200.

        Raises:
            PeerUnreachableError: no connection, or it broke off.
            PeerRefusedError: another status, or a body of more than `bytes_max`.
        """
        used: list[_Connection] = []

        def ask() -> bytes:
            return self._ask(lambda connection: connection.ask(method, path, body, bytes_max), address, used)

        if self._is_closed():
            raise PeerUnreachableError(peer=self._name, path=path, reason="this node stops")
        asking = asyncio.get_running_loop().run_in_executor(self._threads, ask)
        try:
            return await asking
        except asyncio.CancelledError:
            for connection in used:
                connection.abort()
            if self._is_closed() and asking.cancelled():  # by `close`, before it began
                raise PeerUnreachableError(peer=self._name, path=path, reason="this node stops") from None
            raise
        except (HTTPException, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise PeerUnreachableError(peer=self._name, path=path, reason=reason) from error

    async def close(self) -> None:
        """Shut every connection down and end the threads; one that waits for a name server ends by itself."""
        self._closed = True
        for connection in tuple(self._busy):
            connection.abort()
        ending = asyncio.create_task(asyncio.to_thread(self._threads.shutdown, cancel_futures=True))
        await asyncio.wait({ending}, timeout=CLOSE_S_MAX)
        while self._idle:
            self._idle.pop().close()

    def _is_closed(self) -> bool:
        return self._closed

    def _ask(self, question: Callable[[_Connection], bytes], address: str, used: list[_Connection]) -> bytes:
        """Ask over an idle connection, and once more over a new one if the peer had closed that meanwhile."""
        while True:
            connection = self._take(address)
            used.append(connection)
            fresh = connection.is_new
            self._busy.add(connection)
            try:
                answer = question(connection)
            except PeerRefusedError:
                self._put_back(connection)
                raise
            except (HTTPException, OSError):
                connection.close()
                if fresh:
                    raise
            except BaseException:
                connection.close()
                raise
            else:
                self._put_back(connection)
                return answer
            finally:
                self._busy.discard(connection)

    def _take(self, address: str) -> _Connection:
        while self._idle:
            with suppress(IndexError):  # another thread took the last one
                connection = self._idle.pop()
                if connection.address == address and monotonic() - connection.idle_since_s < IDLE_S_MAX:
                    return connection
                connection.close()
        return _Connection(self._context, address, self._name, self._key, self._limits)

    def _put_back(self, connection: _Connection) -> None:
        if connection.is_open and not self._closed:
            connection.idle_since_s = monotonic()
            self._idle.append(connection)
        else:
            connection.close()


class _Connection:
    """One connection; a thread at a time uses it."""

    def __init__(
        self, context: ssl.SSLContext, address: str, name: str, key: PublicKey, limits: TransportLimits
    ) -> None:
        host, _, port = address.rpartition(":")
        self.address: Final = address
        self.idle_since_s = 0.0
        self._name: Final = name
        self._key: Final = key
        self._stall_s: Final = limits.bulk_stall_ms_max / 1000
        self._context: Final = context
        self._http: Final = HTTPConnection(host.strip("[]"), int(port), timeout=limits.connect_ms_max / 1000)
        self._http.auto_open = 0  # never without TLS and a look at who answers
        self._aborted = False

    @property
    def is_new(self) -> bool:
        """Not connected yet."""
        return self._http.sock is None

    @property
    def is_open(self) -> bool:
        """It may be used again."""
        return self._http.sock is not None and not self._aborted

    def ask(self, method: str, path: str, body: bytes, bytes_max: int) -> bytes:
        """Return the body of an answer with status 200.

        Raises:
            PeerKeyError: somebody else answers.
            PeerRefusedError: another status, or a body of more than `bytes_max`.
            HTTPException, OSError: it broke off.
        """
        if self.is_new:
            self._connect()
        self._http.request(method, path, body=body or None)
        response = self._http.getresponse()
        if response.status != 200:
            reason = response.read(REASON_BYTES_MAX).decode("utf-8", "replace")
            self.close()  # whatever else it says is not read
            raise PeerRefusedError(peer=self._name, path=path, status=response.status, reason=reason)
        return self._body(response, path, bytes_max)

    def abort(self) -> None:
        """Wake the thread that reads or writes, from another one; it then fails."""
        self._aborted = True
        connection = self._http.sock
        if connection is not None:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # not that of TLS, which the other thread is in

    def close(self) -> None:
        """Close it."""
        self._http.close()

    def _connect(self) -> None:
        http = self._http
        plain = socket.create_connection((http.host, http.port), http.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = self._context.wrap_socket(plain, do_handshake_on_connect=False)
        http.sock = connection  # from here on `abort` ends it
        if self._aborted:
            raise ConnectionAbortedError("given up while connecting")
        connection.do_handshake()
        shown = peer_key(connection)
        if shown != self._key:
            raise PeerKeyError(f"{self._name} must hold {self._key.hex()}, it holds {shown.hex()}")
        connection.settimeout(self._stall_s)

    def _body(self, response: HTTPResponse, path: str, bytes_max: int) -> bytes:
        length = response.length
        body = response.read(bytes_max + 1) if length is None or length <= bytes_max else None
        if body is None or len(body) > bytes_max:
            self.close()
            reason = f"at most {bytes_max} bytes were asked for, more came"
            raise PeerRefusedError(peer=self._name, path=path, status=response.status, reason=reason)
        if length is not None and len(body) < length:
            raise IncompleteRead(body, length - len(body))
        return body
