"""What this node serves of payloads to other nodes. One law: nothing is taken that was not announced and asked for.

| route | gives or takes |
|---|---|
| `GET /peer/payloads/{id}/hashes` | the chunk hashes of a stored payload, 32 bytes each |
| `GET /peer/payloads/{id}/chunks/{index}` | one chunk |
| `PUT /peer/payloads/{id}/hashes` | the same of a payload being fetched here; answered with the missing indices |
| `PUT /peer/payloads/{id}/chunks/{index}` | one chunk of such a payload |
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final

import structlog
from aiohttp import web

from ledger.digest import Digest
from node.payloads.errors import (
    ChunkMismatchError,
    DamagedPayloadError,
    PayloadError,
    RootMismatchError,
    UnknownPayloadError,
)
from node.payloads.pull import Pull
from node.payloads.pushing import missing_to_bytes
from node.payloads.store import PayloadStore
from node.transport import LaneRefusedError, PeerKey

_log: Final = structlog.get_logger("node.payloads")

BODY_S_MAX: Final = 30.0
"""A body of at most 1 MiB that has not come within this time is not waited for."""

_HASHES: Final = r"/peer/payloads/{id:[0-9a-f]{64}}/hashes"
_CHUNK: Final = r"/peer/payloads/{id:[0-9a-f]{64}}/chunks/{index:\d{1,5}}"
_WANTED: Final = re.compile(r"/peer/payloads/(?P<id>[0-9a-f]{64})/(?:hashes|chunks/(?P<index>\d{1,5}))")
_FOR_VALIDATORS: Final = "updates and models are for validators; a guest gets blocks"
_NO_SUCH_CHUNK: Final = "the payload has no such chunk"


class PayloadServer:
    """The four routes."""

    def __init__(
        self, store: PayloadStore, pull_of: Callable[[Digest], Pull | None], is_validator: Callable[[int], bool]
    ) -> None:
        self._store: Final = store
        self._pull_of: Final = pull_of
        self._is_validator: Final = is_validator

    def routes(self) -> list[web.RouteDef]:
        """Return what the transport serves."""
        return [
            web.get(_HASHES, self._get_hashes, allow_head=False),
            web.get(_CHUNK, self._get_chunk, allow_head=False),
            web.put(_HASHES, self._put_hashes),
            web.put(_CHUNK, self._put_chunk),
        ]

    def answer(self, peer: int, path: str) -> bytes:
        """Return what the first two routes give; blocks, for the threads of the lane.

        Raises:
            LaneRefusedError: there is no such thing for this peer.
        """
        if not self._is_validator(peer):
            raise LaneRefusedError(403, _FOR_VALIDATORS)
        wanted = _WANTED.fullmatch(path)
        if wanted is None:
            raise LaneRefusedError(404, "there is no such route in the lane")
        payload_id, index = Digest(bytes.fromhex(wanted["id"])), wanted["index"]
        try:
            found = (
                self._store.chunk_blocking(payload_id, int(index)) if index else self._store.hashes_blocking(payload_id)
            )
        except PayloadError as error:
            refused = _answer(error)
            raise LaneRefusedError(refused.status, refused.text or "") from error
        if not found:
            raise LaneRefusedError(404, _NO_SUCH_CHUNK)
        return found

    async def _get_hashes(self, request: web.Request) -> web.Response:
        self._require_validator(request)
        try:
            return web.Response(body=await self._store.hashes(_payload_id(request)))
        except PayloadError as error:
            raise _answer(error) from error

    async def _get_chunk(self, request: web.Request) -> web.Response:
        self._require_validator(request)
        try:
            chunk = await self._store.read_chunk(_payload_id(request), int(request.match_info["index"]))
        except PayloadError as error:
            raise _answer(error) from error
        if not chunk:
            raise web.HTTPNotFound(text=_NO_SUCH_CHUNK)
        return web.Response(body=chunk)

    async def _put_hashes(self, request: web.Request) -> web.Response:
        pull = self._require_pull(request)
        try:
            missing = await pull.take_hashes(await _body(request))
        except PayloadError as error:
            raise _answer(error) from error
        pull.wake()
        return web.Response(body=missing_to_bytes(missing))

    async def _put_chunk(self, request: web.Request) -> web.Response:
        pull = self._require_pull(request)
        try:
            await pull.take_chunk(int(request.match_info["index"]), await _body(request))
        except PayloadError as error:
            raise _answer(error) from error
        pull.wake()
        return web.Response()

    def _require_validator(self, request: web.Request) -> None:
        if not self._is_validator(request[PeerKey]):
            raise web.HTTPForbidden(text=_FOR_VALIDATORS)

    def _require_pull(self, request: web.Request) -> Pull:
        self._require_validator(request)
        pull = self._pull_of(_payload_id(request))
        if pull is None:
            raise web.HTTPConflict(text="this payload is not being fetched here: announce it first")
        return pull


async def _body(request: web.Request) -> bytes:
    """Return a body that comes in time: who sends it byte by byte holds a place that others wait for."""
    try:
        async with asyncio.timeout(BODY_S_MAX):
            return await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text=f"the body did not come within {BODY_S_MAX:g} s") from error


def _payload_id(request: web.Request) -> Digest:
    return Digest(bytes.fromhex(request.match_info["id"]))


def _answer(error: PayloadError) -> web.HTTPException:
    if isinstance(error, UnknownPayloadError):
        return web.HTTPNotFound(text=str(error))
    if isinstance(error, ChunkMismatchError | RootMismatchError):
        return web.HTTPUnprocessableEntity(text=str(error))
    if isinstance(error, DamagedPayloadError):
        _log.error("payload.damaged", reason=str(error))
    return web.HTTPServiceUnavailable(text=str(error))
