"""Models as files: exact int32 payload, or float32 safetensors. One law: any range, and memory independent of size."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec
import numpy as np
from aiohttp import web

from fl.grid import MODEL_FRACTION_BITS, MODEL_WORD_BYTES
from fl.records import ModelState
from fl.schema import ModelSchema
from ledger.digest import Digest
from ledger.payload import CHUNK_BYTES, SALT_BYTES, PayloadDescriptor
from node.api.answering import VIEW, within
from node.api.models import require_model
from node.api.operations import BYTES, RANGE, Content, get
from node.api.problem import Problem
from node.api.tasks import require_task
from node.view import NodeView, PayloadShelf

BLOCK_BYTES: Final = CHUNK_BYTES
"""Read, converted and sent at a time."""

OBTAIN_SECONDS: Final = 30.0
_FLOAT_BYTES: Final = 4


class ByteSource(Protocol):
    """Bytes of a known number that can be read anywhere."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        ...

    async def read(self, offset: int, length: int) -> bytes:
        """Return exactly these bytes."""
        ...


class StoredPayload:
    """A payload as it is, salt first."""

    def __init__(self, shelf: PayloadShelf, descriptor: PayloadDescriptor) -> None:
        self._shelf = shelf
        self._id: Final[Digest] = descriptor.id
        self.size: Final = descriptor.size

    async def read(self, offset: int, length: int) -> bytes:
        """Return exactly these bytes."""
        return await self._shelf.read(self._id, offset, length)


class Safetensors:
    """A model in the safetensors format, converted as it is read."""

    def __init__(self, schema: ModelSchema, payload: StoredPayload | None, metadata: dict[str, str]) -> None:
        """Prepare the head.

        Args:
            schema: the task's.
            payload: the model's words; None for all zeros.
            metadata: said in the file's head.
        """
        self._schema = schema
        self._payload = payload
        self._head: Final = _head(schema, metadata)
        self.size: Final = len(self._head) + _FLOAT_BYTES * schema.size

    async def read(self, offset: int, length: int) -> bytes:
        """Return exactly these bytes."""
        head = self._head[offset : offset + length]
        start = max(offset - len(self._head), 0)
        stop = max(offset + length - len(self._head), 0)
        return head + await self._values(start, stop) if stop > start else head

    async def _values(self, start: int, stop: int) -> bytes:
        first, last = start // _FLOAT_BYTES, -(-stop // _FLOAT_BYTES)
        words = await self._words(first, last)
        values = np.empty(last - first, "<f4")
        for tensor, place in self._schema.places():
            low, high = max(place.start, first), min(place.stop, last)
            if low < high:
                part = words[low - first : high - first].astype(np.float64)
                values[low - first : high - first] = np.ldexp(part, tensor.exponent - MODEL_FRACTION_BITS)
        return values.tobytes()[start - first * _FLOAT_BYTES : stop - first * _FLOAT_BYTES]

    async def _words(self, first: int, last: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        if self._payload is None:
            return np.zeros(last - first, np.int32)
        length = MODEL_WORD_BYTES * (last - first)
        return np.frombuffer(await self._payload.read(SALT_BYTES + MODEL_WORD_BYTES * first, length), "<i4")


async def payload(request: web.Request) -> web.StreamResponse:
    """Give the exact payload: 32 bytes of salt, then int32 little-endian words in schema order."""
    view, model = request.app[VIEW], require_model(request)
    source = await _stored(request, view, model)
    if source is None:
        detail = f"model {model.version} of {model.task} is all zeros and has no payload"
        raise Problem(404, "model.all_zeros", detail)
    return await _send(request, source, "application/octet-stream", f"{model.task}-{model.version}.int32")


async def safetensors(request: web.Request) -> web.StreamResponse:
    """Give the model as float32 safetensors."""
    view, model = request.app[VIEW], require_model(request)
    schema = require_task(view, model.task).spec.schema
    metadata = {
        "chain": view.chain_id.hex(),
        "task": model.task,
        "version": str(model.version),
        "payload": "" if model.payload is None else model.payload.id.hex(),
    }
    source = Safetensors(schema, await _stored(request, view, model), metadata)
    return await _send(request, source, "application/octet-stream", f"{model.task}-{model.version}.safetensors")


async def _stored(request: web.Request, view: NodeView, model: ModelState) -> StoredPayload | None:
    if model.payload is None:
        return None
    if not view.payloads.has(model.payload.id):
        await within(request, OBTAIN_SECONDS, view.publisher.obtain(model.payload))
    if not view.payloads.has(model.payload.id):
        detail = f"the payload of model {model.version} is not here and no validator gave it in time: try again"
        raise Problem(503, "model.unavailable", detail, headers={"Retry-After": "5"})
    return StoredPayload(view.payloads, model.payload)


async def _send(request: web.Request, source: ByteSource, content_type: str, name: str) -> web.StreamResponse:
    start, stop, partial = _range(request, source.size)
    response = web.StreamResponse(status=206 if partial else 200)
    response.content_type = content_type
    response.content_length = stop - start
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "private, immutable, max-age=31536000"
    if partial:
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{source.size}"
    await response.prepare(request)
    if request.method != "HEAD":
        for offset in range(start, stop, BLOCK_BYTES):
            await response.write(await source.read(offset, min(BLOCK_BYTES, stop - offset)))
    await response.write_eof()
    return response


def _range(request: web.Request, size: int) -> tuple[int, int, bool]:
    """Return start, stop and whether the client asked for a part.

    Source: RFC 9110, section 14: one range; other units, and several ranges, are answered with the whole.
    """
    text = request.headers.get("Range", "")
    if not text.startswith("bytes=") or "," in text:
        return 0, size, False
    try:
        wanted = request.http_range
    except ValueError as error:
        raise _unsatisfiable(text, size) from error
    start, stop, _ = wanted.indices(size)
    if start >= stop:
        raise _unsatisfiable(text, size)
    return start, stop, True


def _unsatisfiable(text: str, size: int) -> Problem:
    detail = f"bytes 0 to {size - 1} are here, got {text[:80]!r}"
    return Problem(416, "range.unsatisfiable", detail, headers={"Content-Range": f"bytes */{size}"})


def _head(schema: ModelSchema, metadata: dict[str, str]) -> bytes:
    """Return length and JSON of a safetensors file's head, padded so that the values are aligned to 8 bytes."""
    entries: dict[str, object] = {"__metadata__": metadata}
    for tensor, place in schema.places():
        offsets = [_FLOAT_BYTES * place.start, _FLOAT_BYTES * place.stop]
        entries[tensor.name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": offsets}
    text = msgspec.json.encode(entries)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


_PART: Final = Content(206, BYTES, description="The range that was asked for.")
_PROBLEMS: Final = ("task.unknown", "model.unknown", "model.unavailable", "range.unsatisfiable")
ROUTES = (
    get(
        "/v1/tasks/{task}/models/{version}/payload",
        payload,
        None,
        headers=(RANGE,),
        media_types=(BYTES,),
        also=(_PART,),
        problems=(*_PROBLEMS, "model.all_zeros"),
    ),
    get(
        "/v1/tasks/{task}/models/{version}/safetensors",
        safetensors,
        None,
        headers=(RANGE,),
        media_types=(BYTES,),
        also=(_PART,),
        problems=_PROBLEMS,
    ),
)
