"""`/v1/payloads/{size}-{root}`: uploads of an institution's own trainers. One law: what came in never goes out.

An upload is a sequence of PUTs, each with `Content-Range: bytes FIRST-LAST/SIZE` that begins at a chunk of 1 MiB and
ends at one or at the payload's end. Chunks are on the disk as they come; after any interruption GET tells what
is missing.
"""

from __future__ import annotations

import asyncio
import re
from hashlib import sha256
from typing import Final

import msgspec
from aiohttp import web

from ledger.codec import encode, settle
from ledger.digest import Digest
from ledger.merkle import leaf_hash
from ledger.payload import CHUNK_BYTES, PAYLOAD_BYTES_MAX, SALT_BYTES, PayloadDescriptor
from node.api.access import require_body, require_writer
from node.api.answering import VIEW, hex_bytes, integer, json, wait_seconds, within
from node.api.answers import AvailabilityAnswer, UploadAnswer
from node.api.operations import BYTES, CONTENT_RANGE, JSON, TIMEOUT, Content, Operation, get
from node.api.problem import Problem
from node.payloads.errors import UnknownPayloadError
from node.signed_request import BodyDigest, digest_of_chunks
from node.view import NodeView

MISSING_SHOWN_MAX: Final = 256
UPLOADS_MAX: Final = 16
"""Requests that write payloads at once."""

STALLED_SECONDS: Final = 30.0
"""An upload that sends nothing for so long is closed."""

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,12})-(\d{1,12})/(\d{1,12})")
UPLOADS: Final[web.AppKey[asyncio.Semaphore]] = web.AppKey("uploads")


async def upload_state(request: web.Request) -> web.Response:
    """Tell how far an upload is."""
    return json(_state(request.app[VIEW], _descriptor(request)))


async def upload(request: web.Request) -> web.Response:
    """Take a range of a payload; the answer to the last one says that all is verified and on disk."""
    writer = require_writer(request)
    view, descriptor = request.app[VIEW], _descriptor(request)
    first, last = _content_range(request, descriptor)
    if view.payloads.has(descriptor.id):
        return json(_state(view, descriptor))
    uploads = request.app[UPLOADS]
    if uploads.locked():
        raise Problem(
            503, "payload.busy", f"{UPLOADS_MAX} uploads run already: try again", headers={"Retry-After": "1"}
        )
    async with uploads:
        await view.payloads.stage(descriptor, owner=writer.owner)
        body = _Body(writer.body_digest)
        await _write_chunks(request, view, descriptor, first, last, body)
        require_body(body.digest(), writer.body_digest)
        if not view.payloads.missing_chunks(descriptor.id):
            await view.payloads.finish(descriptor.id)
    return json(_state(view, descriptor))


async def certificate(request: web.Request) -> web.Response:
    """Answer once a quorum of validators keeps the payload, or with 503 at the end of `?timeout=`."""
    view, descriptor, seconds = request.app[VIEW], _descriptor(request), wait_seconds(request)
    if not view.payloads.has(descriptor.id):
        raise Problem(404, "payload.unknown", f"payload {descriptor.id.hex()} is not stored here: upload it first")
    found = await within(request, seconds, view.publisher.publish(descriptor))
    if found is None:
        detail = f"no quorum of validators has acknowledged payload {descriptor.id.hex()} yet: ask again"
        raise Problem(503, "payload.unacknowledged", detail, headers={"Retry-After": "1"})
    return json(
        AvailabilityAnswer(
            payload=descriptor.id.hex(),
            verdict=found.acknowledgement.verdict,
            validators=tuple(seal.validator for seal in found.seals),
            certificate=encode(found).hex(),
        )
    )


class _Body:
    """A body as it comes: hashed once, the way its request was signed, or not at all for a token."""

    def __init__(self, needed: BodyDigest | None) -> None:
        self._of_chunks: Final = needed is not None and needed.of_chunks
        self._running: Final = None if needed is None or needed.of_chunks else sha256()
        self._hashes: Final[list[Digest]] = []

    def take(self, chunk: bytes) -> Digest | None:
        """Hash the next chunk; return its leaf hash when that is what was computed."""
        if self._running is not None:
            self._running.update(chunk)
        if not self._of_chunks:
            return None
        self._hashes.append(leaf_hash(chunk))
        return self._hashes[-1]

    def digest(self) -> BodyDigest | None:
        """Return the digest of all that came."""
        if self._of_chunks:
            return digest_of_chunks(self._hashes)
        return None if self._running is None else BodyDigest(self._running.digest())


async def _write_chunks(
    request: web.Request, view: NodeView, descriptor: PayloadDescriptor, first: int, last: int, body: _Body
) -> None:
    """Write the body chunk by chunk; while a chunk is hashed and written, the next one comes."""
    missing = set(view.payloads.missing_chunks(descriptor.id))

    async def take(index: int, chunk: bytes) -> None:
        hashed = await asyncio.to_thread(body.take, chunk)
        if index in missing:
            await view.payloads.write_chunk(descriptor.id, index, chunk, hashed)

    taking: asyncio.Task[None] | None = None
    try:
        for start in range(first, last + 1, CHUNK_BYTES):
            chunk = await _next_chunk(request, first, last, min(CHUNK_BYTES, last + 1 - start))
            if taking is not None:
                await taking
            taking = asyncio.create_task(take(start // CHUNK_BYTES, chunk))
        if taking is not None:
            await taking
    finally:
        if taking is not None and not taking.done():
            await asyncio.wait({taking})  # what came whole is kept, though the stream broke off


async def _next_chunk(request: web.Request, first: int, last: int, length: int) -> bytes:
    try:
        async with asyncio.timeout(STALLED_SECONDS):
            return await request.content.readexactly(length)
    except TimeoutError as error:
        detail = f"nothing came for {STALLED_SECONDS:.0f} s: ask what is missing and go on from there"
        raise Problem(400, "payload.stalled", detail) from error
    except asyncio.IncompleteReadError as error:
        raise Problem(
            400, "payload.short_body", f"bytes {first} to {last} were needed, the body ended early"
        ) from error


def _descriptor(request: web.Request) -> PayloadDescriptor:
    size = integer(request.match_info["size"], "size", low=SALT_BYTES, high=PAYLOAD_BYTES_MAX)
    root = Digest(hex_bytes(request.match_info["root"], "root", length=32))
    settle(PayloadDescriptor)
    return msgspec.convert(PayloadDescriptor(size, root), PayloadDescriptor)


def _content_range(request: web.Request, descriptor: PayloadDescriptor) -> tuple[int, int]:
    text = request.headers.get("Content-Range", f"bytes 0-{descriptor.size - 1}/{descriptor.size}")
    match = _CONTENT_RANGE.fullmatch(text)
    first, last, size = (int(group) for group in match.groups()) if match else (0, -1, 0)
    whole = first % CHUNK_BYTES == 0 and ((last + 1) % CHUNK_BYTES == 0 or last + 1 == descriptor.size)
    if size != descriptor.size or not first <= last < size or not whole:
        detail = (
            f"Content-Range must be bytes FIRST-LAST/{descriptor.size} of whole chunks of {CHUNK_BYTES} bytes "
            f"(the last may be shorter), got {text[:80]!r}"
        )
        raise Problem(400, "payload.range", detail)
    if request.content_length != last + 1 - first:
        detail = f"Content-Length {last + 1 - first} is needed for {text[:80]}, got {request.content_length}"
        raise Problem(400, "payload.range", detail)
    return first, last


def _state(view: NodeView, descriptor: PayloadDescriptor) -> UploadAnswer:
    stored = view.payloads.has(descriptor.id)
    missing: list[int] = [] if stored else _missing(view, descriptor)
    return UploadAnswer(
        payload=descriptor.id.hex(),
        size=descriptor.size,
        stored=stored,
        verdict=view.payloads.verdict(descriptor.id) if stored else None,
        missing=tuple(missing[:MISSING_SHOWN_MAX]),
        missing_count=len(missing),
    )


def _missing(view: NodeView, descriptor: PayloadDescriptor) -> list[int]:
    try:
        return view.payloads.missing_chunks(descriptor.id)
    except UnknownPayloadError:
        return list(range(descriptor.chunk_count))


_PATH: Final = r"/v1/payloads/{size:\d+}-{root:[0-9a-f]+}"
ROUTES = (
    get(_PATH, upload_state, UploadAnswer, access="submit", allow_head=False),
    Operation(
        "PUT",
        _PATH,
        upload,
        (Content(200, JSON, UploadAnswer),),
        headers=(CONTENT_RANGE,),
        bodies=(Content(0, BYTES),),
        problems=(
            "payload.range",
            "payload.short_body",
            "payload.stalled",
            "payload.mismatch",
            "payload.busy",
            "payload.quota",
            "payload.storage",
        ),
        access="submit",
    ),
    get(
        _PATH + "/certificate",
        certificate,
        AvailabilityAnswer,
        query=(TIMEOUT,),
        problems=("payload.unknown", "payload.unacknowledged"),
        access="submit",
        allow_head=False,
    ),
)
