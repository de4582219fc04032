"""Uploads and downloads. One law: what has arrived is not sent again, and what arrives is what its name says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from foedus.client.errors import NodeRefusedError, NodeUnreachableError, UnverifiedError
from foedus.client.progress import Progress, Report
from foedus.client.wire import Wire, back_off
from ledger.codec import CodecError, decode
from ledger.digest import Digest
from ledger.payload import CHUNK_BYTES, AvailabilityCertificate, PayloadDescriptor, describe
from node.api.answers import AvailabilityAnswer, UploadAnswer
from node.signed_request import digest_of_chunks

CHUNKS_PER_REQUEST_MAX: Final = 8
DOWNLOAD_PART_BYTES: Final = 8 << 20
ATTEMPTS_MAX: Final = 3
FAILURES_MAX: Final = 20
"""Parts in a row that break off; between them the node is asked what has arrived, as patiently as always."""

CERTIFICATE_BYTES_MAX: Final = 65_536
_SENT_AGAIN: Final = frozenset({"payload.mismatch", "payload.unknown", "payload.short_body", "payload.stalled"})


async def upload(
    wire: Wire,
    payload: bytes | bytearray,
    descriptor: PayloadDescriptor,
    hashes: Sequence[Digest],
    *,
    report: Report | None = None,
) -> AvailabilityCertificate:
    """Bring a payload to the node and return the quorum's word that it is kept.

    Args:
        wire: to the node.
        payload: salt and words.
        descriptor: of the payload.
        hashes: of its chunks.
        report: told how far the upload is.

    Raises:
        NodeRefusedError: the node does not take it.
        NodeUnreachableError: the node, or a quorum behind it, did not answer in time.
        UnverifiedError: the certificate is for something else.
    """
    path = f"/v1/payloads/{descriptor.size}-{descriptor.root.hex()}"
    answer = await _bring(wire, path, _Outgoing(memoryview(payload), descriptor, hashes), report)
    try:
        certificate = decode(
            bytes.fromhex(answer.certificate), AvailabilityCertificate, bytes_max=CERTIFICATE_BYTES_MAX
        )
    except (ValueError, CodecError) as error:
        raise UnverifiedError(f"{wire.url} gave no availability certificate: {error}") from error
    if certificate.acknowledgement.payload != descriptor:
        raise UnverifiedError(f"{wire.url} gave the certificate of another payload")
    return certificate


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A payload to be sent."""

    content: memoryview
    descriptor: PayloadDescriptor
    hashes: Sequence[Digest]

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return where the bytes of these chunks begin and end."""
        return first * CHUNK_BYTES, min((last + 1) * CHUNK_BYTES, self.descriptor.size)


async def _bring(wire: Wire, path: str, outgoing: _Outgoing, report: Report | None) -> AvailabilityAnswer:
    """Send what is missing and wait for the certificate.

    Chunks that were damaged on the way, or that the node lost in a restart, are sent once more; and a node that took
    over has none of those that its sister took.
    """
    attempt = 0
    while True:
        try:
            await _send_missing(wire, path, outgoing, report)
            return await wire.answer(path + "/certificate", AvailabilityAnswer, signed=True)
        except NodeRefusedError as error:
            attempt += 1
            if error.code not in _SENT_AGAIN or attempt >= ATTEMPTS_MAX:
                raise


async def download(wire: Wire, path: str, descriptor: PayloadDescriptor, *, report: Report | None = None) -> bytearray:
    """Return a payload, checked against its digest.

    Args:
        wire: to the node.
        path: of the payload.
        descriptor: of the payload, from the chain.
        report: told how far the download is.

    Raises:
        UnverifiedError: the bytes are not the payload's.
        NodeRefusedError, NodeUnreachableError: see `Wire.request`.
    """
    payload = bytearray(descriptor.size)
    for start in range(0, descriptor.size, DOWNLOAD_PART_BYTES):
        last = min(start + DOWNLOAD_PART_BYTES, descriptor.size) - 1
        headers = {"Range": f"bytes={start}-{last}"}
        moved = _moved(report, "download", start, descriptor.size)
        reply = await wire.request("GET", path, headers=headers, bytes_max=DOWNLOAD_PART_BYTES, moved=moved)
        payload[start : start + len(reply.body)] = reply.body
    if len(payload) != descriptor.size or describe(payload) != descriptor:
        raise UnverifiedError(f"{wire.url}{path} is not the payload {descriptor.id.hex()} that stands in the chain")
    return payload


async def _send_missing(wire: Wire, path: str, outgoing: _Outgoing, report: Report | None) -> None:
    size = outgoing.descriptor.size
    state = await wire.answer(path, UploadAnswer, signed=True)
    failures = 0
    while not state.stored:
        first, last = _span(state, outgoing.descriptor.chunk_count)
        start, stop = outgoing.span(first, last)
        headers = {
            "Content-Range": f"bytes {start}-{stop - 1}/{size}",
            "Content-Type": "application/octet-stream",
        }
        try:
            reply = await wire.request(
                "PUT",
                path,
                body=outgoing.content[start:stop],
                headers=headers,
                signed=digest_of_chunks(outgoing.hashes[first : last + 1]),
                once=True,
                moved=_moved(report, "upload", start, size),
            )
        except NodeUnreachableError:
            failures += 1
            if failures > FAILURES_MAX:
                raise
            await asyncio.sleep(back_off(failures))
            state = await wire.answer(path, UploadAnswer, signed=True)
        else:
            failures, state = 0, wire.read(reply, UploadAnswer)


def _moved(
    report: Report | None, direction: Literal["upload", "download"], start: int, total: int
) -> Callable[[int], None] | None:
    if report is None:
        return None
    return lambda count: report(Progress(direction, start + count, total))


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
