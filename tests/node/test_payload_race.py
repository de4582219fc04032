"""A model is computed here and fetched from a peer in the same moment: both find it stored, nobody fails."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from ledger.merkle import leaf_hash
from ledger.payload import chunks_of, describe
from node.payloads import PayloadStore


async def test_computing_and_fetching_a_payload_at_once_is_no_error(tmp_path: Path) -> None:
    store = await PayloadStore.open(tmp_path, bytes_max=1 << 30)
    try:
        for _ in range(40):
            payload = os.urandom(1_000)
            added = asyncio.create_task(store.add(payload))
            fetches = []
            while not added.done() and len(fetches) < 12:  # one more starts at every step of the other's way
                fetches.append(asyncio.create_task(_fetch(store, payload)))
                await asyncio.sleep(0)
            await asyncio.gather(added, *fetches)
            descriptor = describe(payload)
            assert store.has(descriptor.id)
            assert await store.read(descriptor.id, 0, descriptor.size) == payload
    finally:
        await store.close()


async def _fetch(store: PayloadStore, payload: bytes) -> None:
    descriptor = describe(payload)
    hashes = b"".join(leaf_hash(chunk) for chunk in chunks_of(payload))
    await store.stage(descriptor, owner="peer", hashes=hashes)
    for index, chunk in enumerate(chunks_of(payload)):
        await store.write_chunk(descriptor.id, index, chunk)
    await store.finish(descriptor.id)
