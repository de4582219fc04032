"""Handing a payload to a peer that cannot fetch it from here. One law: the peer checks all of it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import structlog

from ledger.payload import PayloadDescriptor
from node.payloads.errors import PayloadError
from node.payloads.pull import CHUNKS_PER_PULL_MAX, chunk_path, hashes_path
from node.payloads.store import PayloadStore
from node.transport import Links, PeerRefusedError, PeerUnreachableError

_log: Final = structlog.get_logger("node.payloads")

MISSING_BYTES_MAX: Final = 64 << 10


def missing_to_bytes(missing: list[int]) -> bytes:
    """Return chunk indices as a peer reads them: decimal numbers and spaces."""
    return " ".join(map(str, missing)).encode("ascii")


def missing_from_bytes(answer: bytes, chunk_count: int) -> list[int]:
    """Return the chunks that a peer says it lacks, each once, so that it is sent no more than the payload.

    Raises:
        ValueError: it says something else than numbers.
    """
    return sorted({index for index in map(int, answer.split()) if 0 <= index < chunk_count})


async def push(descriptor: PayloadDescriptor, peer: int, store: PayloadStore, transport: Links) -> None:
    """Give a peer all chunks that it lacks; whatever fails is only logged, since reminders lead here again."""
    payload_id = descriptor.id
    try:
        hashes = await store.hashes(payload_id)
        answer = await transport.push(peer, hashes_path(payload_id), hashes, bytes_max=MISSING_BYTES_MAX)
        missing = deque(missing_from_bytes(answer, descriptor.chunk_count))
        async with asyncio.TaskGroup() as workers:
            for _ in range(min(CHUNKS_PER_PULL_MAX, len(missing))):
                workers.create_task(_work(descriptor, missing, peer, store, transport))
    except* (PeerUnreachableError, PeerRefusedError, PayloadError, ValueError) as errors:
        _log.debug("payload.push_failed", payload=payload_id.hex(), peer=peer, reason=str(errors.exceptions[0]))


async def _work(
    descriptor: PayloadDescriptor, missing: deque[int], peer: int, store: PayloadStore, transport: Links
) -> None:
    while missing:
        index = missing.popleft()
        chunk = await store.read_chunk(descriptor.id, index)
        await transport.push(peer, chunk_path(descriptor.id, index), chunk)
