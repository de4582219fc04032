"""A model is computed here and fetched from a peer in the same moment: both find it stored, nobody fails."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from ledger.digest import Digest
from ledger.merkle import leaf_hash
from ledger.payload import CHUNK_BYTES, chunks_of, describe
from node.payloads import PayloadStore
from node.payloads.errors import UnknownPayloadError


async def test_a_payload_may_be_fetched_while_it_is_being_finished(tmp_path: Path) -> None:
    """Finishing fsyncs for a while and then moves the files, under the hands of whoever stages the same payload."""
    store = await PayloadStore.open(tmp_path, bytes_max=1 << 30)
    try:
        payload = os.urandom(32 * CHUNK_BYTES)
        descriptor = describe(payload)
        added = asyncio.create_task(store.add(payload))
        while not _is_written(store, descriptor.id):  # noqa: ASYNC110 - the moment to catch has no event
            await asyncio.sleep(0)
        await asyncio.gather(added, *(_fetch(store, payload) for _ in range(3)))
        assert store.has(descriptor.id)
        assert await store.read(descriptor.id, 0, descriptor.size) == payload
    finally:
        await store.close()


def _is_written(store: PayloadStore, payload_id: Digest) -> bool:
    try:
        return not store.missing_chunks(payload_id)
    except UnknownPayloadError:
        return False


async def _fetch(store: PayloadStore, payload: bytes) -> None:
    descriptor = describe(payload)
    hashes = b"".join(leaf_hash(chunk) for chunk in chunks_of(payload))
    await store.stage(descriptor, owner="peer", hashes=hashes)
    for index, chunk in enumerate(chunks_of(payload)):
        await store.write_chunk(descriptor.id, index, chunk)
    await store.finish(descriptor.id)
