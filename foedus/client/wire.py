"""One HTTP request, again and again until a node answers. One law: only what is safe to repeat is repeated.

Everything the API offers is: reads, and writes that do nothing when they come a second time. So a node may be
restarted at any moment; a caller notices a pause. An institution that runs several nodes names them all: when one does
not answer, the next one is asked, and stays the one that is asked.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import SystemRandom
from time import monotonic, time_ns
from types import TracebackType
from typing import Final, Self, TypeVar

import aiohttp
import msgspec
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from foedus.client.errors import ClientError, NodeRefusedError, NodeUnreachableError
from ledger.codec import settle
from ledger.digest import Digest
from ledger.identity import SigningKey
from node.signed_request import BodyDigest, digest_of, signed_headers

AnswerT = TypeVar("AnswerT")

PATIENCE_SECONDS_DEFAULT: Final = 120.0
CONNECT_SECONDS: Final = 5.0
SILENT_SECONDS: Final = 60.0
"""Longest wait for the next byte; above every long poll of the API."""

BACK_OFF_SECONDS_MIN: Final = 0.05
BACK_OFF_SECONDS_MAX: Final = 2.0
WRITE_BYTES: Final = 1 << 18
ANSWER_BYTES_MAX: Final = 16 << 20
URLS_MAX: Final = 16
_RETRIED: Final = frozenset({429, 502, 503, 504})
_ELSEWHERE: Final = frozenset({"node.busy", "store.unavailable"})
"""Problems of one node that another one of the institution may not have."""

_FINAL_CODES: Final = frozenset({"proof.no_block"})
_random: Final = SystemRandom()


class _Problem(msgspec.Struct, frozen=True):
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """Requests to one node, or to whichever of several answers."""

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        key: SigningKey | None,
        patience: float,
        tls_ca: str | None = None,
        token: str | None = None,
    ) -> None:
        """Prepare; nothing is sent before the first request.

        Args:
            urls: of the node's API, such as `http://127.0.0.1:8001`; several are asked in turn when one is silent.
            key: signs requests that need it.
            patience: seconds without any answer after which to give up.
            tls_ca: PEM file with the certificate that an `https` node shows; None for the system's authorities.
            token: shown where the session's key does not sign.

        Raises:
            ClientError: a URL is none.
        """
        self.urls: Final = _addresses(urls)
        self._turn = 0
        self._token = token
        self.key: Final = key
        self.chain_id: Digest | None = None
        """Set once it is known; signed requests need it."""

        self._patience = patience
        self._tls_ca = tls_ca
        self._session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        """The node that is asked now."""
        return self.urls[self._turn % len(self.urls)]

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
        connector = aiohttp.TCPConnector(limit=8, ssl=_tls(self._tls_ca))
        self._session = aiohttp.ClientSession(timeout=timeout, connector=connector, auto_decompress=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def answer(self, path: str, answer_type: type[AnswerT], *, signed: bool = False) -> AnswerT:
        """Return the JSON answer to a GET.

        Raises:
            NodeRefusedError: the node said no.
            NodeUnreachableError: it said nothing for too long.
            ClientError: what it said is not such an answer.
        """
        return self.read(await self.request("GET", path, signed=signed), answer_type)

    def read(self, reply: Reply, answer_type: type[AnswerT]) -> AnswerT:
        """Return a reply's JSON.

        Raises:
            ClientError: it is not such an answer.
        """
        settle(answer_type)
        try:
            return msgspec.json.decode(reply.body, type=answer_type)
        except (ValueError, RecursionError) as error:
            raise ClientError(f"{self.url} does not speak this version of the API: {error}") from error

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | memoryview = b"",
        headers: Mapping[str, str] | None = None,
        signed: bool | BodyDigest = False,
        bytes_max: int = ANSWER_BYTES_MAX,
        once: bool = False,
        moved: Callable[[int], None] | None = None,
    ) -> Reply:
        """Ask until there is an answer.

        Args:
            method: upper case.
            path: path and query.
            body: of the request.
            headers: beside the signature's.
            signed: whether to sign with the session's key; the body's digest where that is known.
            bytes_max: longest answer.
            once: ask only once; for what is large, and better continued than repeated.
            moved: told how many bytes of the body, or of the answer when there is no body, have moved in this attempt.

        Raises:
            NodeRefusedError: the node said no.
            NodeUnreachableError: it said nothing, or that it is busy, for too long.
        """
        deadline = monotonic() + (0 if once else self._patience)
        attempt = 0
        while True:
            try:
                return await self._once(method, path, body, dict(headers or {}), bytes_max, moved, signed=signed)
            except NodeRefusedError as error:
                if error.code == "request.unauthorised" and not signed and self.key and self.chain_id:
                    signed = True  # where reading is not open, a participant's signature will do
                    continue
                if error.status not in _RETRIED or error.code in _FINAL_CODES:
                    raise
                last = str(error)
                self._turn += error.code in _ELSEWHERE
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as error:
                last = f"{type(error).__name__}: {error}"
                self._turn += 1
            untried = attempt + 1 < len(self.urls) and not once
            pause = 0.0 if untried else back_off(attempt - len(self.urls) + 1)
            if monotonic() + pause > deadline:
                raise NodeUnreachableError(url=" and ".join(self.urls), seconds=self._patience, last=last)
            await asyncio.sleep(pause)
            attempt += 1

    async def _once(
        self,
        method: str,
        path: str,
        body: bytes | memoryview,
        headers: dict[str, str],
        bytes_max: int,
        moved: Callable[[int], None] | None,
        *,
        signed: bool | BodyDigest,
    ) -> Reply:
        assert self._session is not None, "a wire is used inside `async with`"
        if signed:
            said = signed if isinstance(signed, BodyDigest) else digest_of(body)
            headers |= self._signature(method, path, said)
        elif self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        url, data = URL(self.url + path, encoded=True), _Body(body, moved) if body else None
        async with self._session.request(method, url, data=data, headers=headers, allow_redirects=False) as response:
            content = await _read_bounded(response, bytes_max, None if body else moved)
            if response.status >= 300:
                raise _refusal(response.status, content)
            return Reply(response.status, response.headers, content)

    def _signature(self, method: str, path: str, said: BodyDigest) -> dict[str, str]:
        if self.key is None:
            raise ClientError(f"{method} {path} needs a participant's key: foedus.connect(..., key=...)")
        assert self.chain_id is not None, "a session knows its chain before it signs"
        return signed_headers(self.key, self.chain_id, method, path, time_ns() // 1_000_000, said)


class _Body(aiohttp.Payload):
    """A body in memory, written in pieces; aiohttp may write it a second time on a new connection."""

    _value: bytes | memoryview

    def __init__(self, content: bytes | memoryview, moved: Callable[[int], None] | None) -> None:
        super().__init__(content)
        self._size = len(content)
        self._moved = moved

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return it as text; for aiohttp's own logs."""
        return bytes(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write all of it."""
        for start in range(0, len(self._value), WRITE_BYTES):
            await writer.write(self._value[start : start + WRITE_BYTES])
            if self._moved is not None:
                self._moved(min(start + WRITE_BYTES, len(self._value)))


def back_off(attempt: int) -> float:
    """Return how many seconds to wait before attempt number `attempt` + 1, jittered so that clients spread out."""
    longest = min(BACK_OFF_SECONDS_MAX, BACK_OFF_SECONDS_MIN * (1 << min(max(attempt, 0), 10)))
    return longest * _random.uniform(0.5, 1.0)


def _addresses(urls: str | Sequence[str]) -> tuple[str, ...]:
    given = (urls,) if isinstance(urls, str) else tuple(urls)
    if not 1 <= len(given) <= URLS_MAX:
        raise ClientError(f"1 to {URLS_MAX} URLs are needed, got {len(given)}")
    for url in given:
        if not url.startswith(("http://", "https://")) or not URL(url).host:
            raise ClientError(f"a URL such as http://127.0.0.1:8001 is needed, got {url!r}")
    return tuple(url.rstrip("/") for url in given)


async def _read_bounded(response: aiohttp.ClientResponse, bytes_max: int, moved: Callable[[int], None] | None) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > bytes_max:
            raise ClientError(f"{response.url} sent more than {bytes_max} bytes")
        parts.append(part)
        if moved is not None and response.status < 300:
            moved(size)
    return b"".join(parts)


def _refusal(status: int, content: bytes) -> NodeRefusedError:
    settle(_Problem)
    try:
        problem = msgspec.json.decode(content, type=_Problem)
    except (ValueError, RecursionError):
        problem = _Problem()
    detail = problem.detail or f"the node answered {status}"
    return NodeRefusedError(status=status, code=problem.code or f"http.{status}", detail=detail)


def _tls(path: str | None) -> ssl.SSLContext | bool:
    return True if path is None else ssl.create_default_context(cafile=path)
