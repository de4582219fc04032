"""Uploads and downloads. One law: what has arrived is not sent again, and what arrives is what its name says."""

from __future__ import annotations

import asyncio
from typing import Final

from foedus.client.errors import NodeRefusedError, NodeUnreachableError, UnverifiedError
from foedus.client.wire import Wire, back_off
from ledger.codec import CodecError, decode
from ledger.payload import CHUNK_BYTES, AvailabilityCertificate, PayloadDescriptor, describe
from node.api.answers import AvailabilityAnswer, UploadAnswer

CHUNKS_PER_REQUEST_MAX: Final = 8
DOWNLOAD_PART_BYTES: Final = 8 << 20
ATTEMPTS_MAX: Final = 3
FAILURES_MAX: Final = 20
"""Parts in a row that break off; between them the node is asked what has arrived, as patiently as always."""

CERTIFICATE_BYTES_MAX: Final = 65_536
_SENT_AGAIN: Final = frozenset({"payload.mismatch", "payload.unknown", "payload.short_body", "payload.stalled"})


async def upload(wire: Wire, payload: bytes, descriptor: PayloadDescriptor) -> AvailabilityCertificate:
    """Bring a payload to the node and return the quorum's word that it is kept.

    Raises:
        NodeRefusedError: the node does not take it.
        NodeUnreachableError: the node, or a quorum behind it, did not answer in time.
        UnverifiedError: the certificate is for something else.
    """
    path = f"/v1/payloads/{descriptor.size}-{descriptor.root.hex()}"
    for attempt in range(ATTEMPTS_MAX):
        try:
            await _send_missing(wire, path, payload, descriptor)
            break
        except NodeRefusedError as error:
            # Chunks that were damaged on the way, or that the node lost in a restart, are sent once more.
            if error.code not in _SENT_AGAIN or attempt + 1 == ATTEMPTS_MAX:
                raise
    answer = await wire.answer(path + "/certificate", AvailabilityAnswer, signed=True)
    try:
        certificate = decode(
            bytes.fromhex(answer.certificate), AvailabilityCertificate, bytes_max=CERTIFICATE_BYTES_MAX
        )
    except (ValueError, CodecError) as error:
        raise UnverifiedError(f"{wire.url} gave no availability certificate: {error}") from error
    if certificate.acknowledgement.payload != descriptor:
        raise UnverifiedError(f"{wire.url} gave the certificate of another payload")
    return certificate


async def download(wire: Wire, path: str, descriptor: PayloadDescriptor) -> bytes:
    """Return a payload, checked against its digest.

    Raises:
        UnverifiedError: the bytes are not the payload's.
        NodeRefusedError, NodeUnreachableError: see `Wire.request`.
    """
    parts = []
    for start in range(0, descriptor.size, DOWNLOAD_PART_BYTES):
        last = min(start + DOWNLOAD_PART_BYTES, descriptor.size) - 1
        headers = {"Range": f"bytes={start}-{last}"}
        reply = await wire.request("GET", path, headers=headers, bytes_max=DOWNLOAD_PART_BYTES)
        parts.append(reply.body)
    payload = b"".join(parts)
    if len(payload) != descriptor.size or describe(payload) != descriptor:
        raise UnverifiedError(f"{wire.url}{path} is not the payload {descriptor.id.hex()} that stands in the chain")
    return payload


async def _send_missing(wire: Wire, path: str, payload: bytes, descriptor: PayloadDescriptor) -> None:
    state = await wire.answer(path, UploadAnswer, signed=True)
    failures = 0
    while not state.stored:
        first, last = _span(state, descriptor.chunk_count)
        start, stop = first * CHUNK_BYTES, min((last + 1) * CHUNK_BYTES, descriptor.size)
        headers = {
            "Content-Range": f"bytes {start}-{stop - 1}/{descriptor.size}",
            "Content-Type": "application/octet-stream",
        }
        try:
            reply = await wire.request("PUT", path, body=payload[start:stop], headers=headers, signed=True, once=True)
        except NodeUnreachableError:
            failures += 1
            if failures > FAILURES_MAX:
                raise
            await asyncio.sleep(back_off(failures))
            state = await wire.answer(path, UploadAnswer, signed=True)
        else:
            failures, state = 0, wire.read(reply, UploadAnswer)


def _span(state: UploadAnswer, chunk_count: int) -> tuple[int, int]:
    """Return the first consecutive missing chunks, as many as one request carries.

    A node that was restarted in mid-upload says that all are missing until the first one comes again; so the first goes
    alone.
    """
    missing = state.missing
    if not missing:
        return 0, 0  # all chunks are there, but the upload was never finished: sending one again does that
    first = last = missing[0]
    if state.missing_count == chunk_count:
        return first, last
    for index in missing[1:CHUNKS_PER_REQUEST_MAX]:
        if index != last + 1:
            break
        last = index
    return first, last
