"""Fetching one payload. One law: it ends with the payload stored, or goes on; no source's death or lie stops it.

The list of chunk hashes comes first and is checked against the root, then every chunk against its hash, whoever sends
it. What arrived is kept, over restarts too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import structlog

from ledger.digest import DIGEST_BYTES, Digest
from ledger.merkle import leaf_hash
from ledger.payload import CHUNK_BYTES, PayloadDescriptor, Verdict
from node.payloads.errors import ChunkMismatchError, RootMismatchError
from node.payloads.sources import Sources
from node.payloads.store import PayloadStore
from node.transport import Links, PeerRefusedError, PeerStatus, PeerUnreachableError

_log: Final = structlog.get_logger("node.payloads")

CHUNKS_PER_PULL_MAX: Final = 4
"""Requests under way for one payload."""

CHUNK_S_MAX: Final = 30.0
"""A source that takes longer for one chunk has failed."""


def hashes_path(payload_id: Digest) -> str:
    """Path of a payload's chunk hashes at its holders."""
    return f"/peer/payloads/{payload_id.hex()}/hashes"


def chunk_path(payload_id: Digest, index: int) -> str:
    """Path of one chunk at its holders."""
    return f"/peer/payloads/{payload_id.hex()}/chunks/{index}"


class Pull:
    """A payload on its way here."""

    def __init__(
        self,
        descriptor: PayloadDescriptor,
        owner: str,
        store: PayloadStore,
        transport: Links,
        slots: asyncio.Semaphore,
    ) -> None:
        """Settle what to fetch.

        Args:
            descriptor: names the payload.
            owner: whose quota it counts against.
            store: where it goes.
            transport: fetches.
            slots: chunks in memory, over all pulls of the node.
        """
        self.descriptor: Final = descriptor
        self.owner: Final = owner
        self.sources: Final = Sources(transport)
        self._id: Final = descriptor.id
        self._store: Final = store
        self._transport: Final = transport
        self._slots: Final = slots
        self._news: Final = asyncio.Event()
        self._verified = False
        self.progress_s = asyncio.get_running_loop().time()
        """When something last arrived."""

    def wake(self) -> None:
        """Look again: there is a new source, or somebody pushed a part of it."""
        self._news.set()

    async def run(self) -> Verdict:
        """Fetch until the payload is stored; return its verdict.

        Raises:
            QuotaError: it does not fit.
            StorageError: the disk refuses.
        """
        while True:
            self._news.clear()
            if self._store.has(self._id) or (self._verified and not self._store.missing_chunks(self._id)):
                return await self._store.finish(self._id)
            now_s = self._now_s()
            source = self.sources.pick(now_s)
            if source is None:
                await self._wait(self.sources.wait_s(now_s))
            elif not self._verified:
                await self._learn_hashes(source)
            else:
                await self._fetch_missing()

    async def take_hashes(self, hashes: bytes) -> list[int]:
        """Take the payload's chunk hashes, from whomever; return which chunks are missing.

        Raises:
            RootMismatchError: they are not the payload's.
            QuotaError: it does not fit.
            StorageError: the disk refuses.
        """
        await self._store.stage(self.descriptor, owner=self.owner, hashes=hashes)
        self._verified = True
        return self._store.missing_chunks(self._id)

    async def take_chunk(self, index: int, chunk: bytes) -> None:
        """Take one chunk, from whomever; errors as `PayloadStore.write_chunk`."""
        await self._store.write_chunk(self._id, index, chunk)
        self.progress_s = self._now_s()

    async def _learn_hashes(self, source: PeerStatus) -> None:
        """Ask for the hashes; of a payload of one chunk, for that chunk itself, and save a round trip."""
        single = self.descriptor.chunk_count == 1
        path = chunk_path(self._id, 0) if single else hashes_path(self._id)
        bytes_max = CHUNK_BYTES if single else self.descriptor.chunk_count * DIGEST_BYTES
        answer = await self._ask(source, path, bytes_max)
        if answer is None:
            return
        try:
            await self.take_hashes(leaf_hash(answer) if single else answer)
            if single:
                await self.take_chunk(0, answer)
            self.sources.answered(source.name)
        except (RootMismatchError, ChunkMismatchError) as error:
            self._lied(source, error)

    async def _fetch_missing(self) -> None:
        missing = deque(self._store.missing_chunks(self._id))
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(CHUNKS_PER_PULL_MAX, len(missing))):
                    workers.create_task(self._work(missing))
        except ExceptionGroup as group:
            raise group.exceptions[0] from group

    async def _work(self, missing: deque[int]) -> None:
        while missing:
            async with self._slots:
                source = self.sources.pick(self._now_s())
                if source is None or not missing:
                    return
                index = missing.popleft()
                chunk = await self._ask(source, chunk_path(self._id, index), CHUNK_BYTES)
                if chunk is None:
                    continue
                try:
                    await self.take_chunk(index, chunk)
                    self.sources.answered(source.name)
                except ChunkMismatchError as error:
                    self._lied(source, error)

    async def _ask(self, source: PeerStatus, path: str, bytes_max: int) -> bytes | None:
        self.sources.asked(source.name)
        try:
            async with asyncio.timeout(CHUNK_S_MAX):
                return await self._transport.fetch(source.index, path, bytes_max=bytes_max)
        except (PeerUnreachableError, PeerRefusedError, TimeoutError) as error:
            self.sources.failed(source.name, self._now_s())
            _log.debug("payload.source_failed", payload=self._id.hex(), peer=source.name, reason=str(error))
            return None

    def _lied(self, source: PeerStatus, error: Exception) -> None:
        self.sources.lied(source.name)
        _log.warning("payload.source_lied", payload=self._id.hex(), peer=source.name, reason=str(error))

    async def _wait(self, longest_s: float) -> None:
        try:
            async with asyncio.timeout(max(longest_s, 0.01)):
                await self._news.wait()
        except TimeoutError:
            return

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()
