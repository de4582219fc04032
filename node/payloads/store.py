"""The payloads this node keeps. One law: "have" means "can produce the bytes", after any crash.

A payload is staged (space is reserved), written chunk by chunk in any order, and finished: only then is it stored.
File work, hashing and encryption run in threads of the store's own, a chunk at a time, so the loop is never held up and
memory does not grow with a payload's size. All methods belong to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from pathlib import Path
from typing import Final, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from ledger.digest import Digest
from ledger.payload import CHUNK_BYTES, PayloadDescriptor, Verdict, chunks_of, describe
from node.background import background_threads
from node.memory import give_back
from node.payloads.errors import IncompletePayloadError, PayloadError, UnknownPayloadError
from node.payloads.files import Card, Inventory, PayloadFiles, Scan
from node.payloads.quota import StoreUsage, needed_bytes, require_space, used_bytes
from node.payloads.recent import RecentChunks

P = ParamSpec("P")
T = TypeVar("T")

THREADS: Final = 2
CHUNKS_REMEMBERED_MAX: Final = 8
"""Chunks kept in memory after they were read: all peers fetch the same ones at about the same time."""

OWN: Final = ""
"""Owner of what this node itself made or was handed by its own clients."""


class PayloadStore:
    """A directory of payloads with quotas."""

    def __init__(
        self,
        files: PayloadFiles,
        inventory: Inventory,
        *,
        bytes_max: int,
        owner_bytes_max: int,
        recent_bytes_max: int = 0,
    ) -> None:
        self.files: Final = files
        """For worker threads and processes: `files.read(descriptor, offset, length)` blocks and needs no loop."""

        self._stored: Final = inventory.stored
        self._staged: Final = inventory.staged
        self._erased: Final = inventory.erased
        self._scans: Final[dict[Digest, Scan]] = {}
        self._finishing: Final[dict[Digest, asyncio.Future[Verdict]]] = {}
        self._adding: Final[dict[Digest, asyncio.Future[None]]] = {}
        self._locks: Final[WeakValueDictionary[Digest, asyncio.Lock]] = WeakValueDictionary()
        self._reads: Final[dict[tuple[Digest, int], asyncio.Future[bytes]]] = {}
        self._recent: Final = RecentChunks(recent_bytes_max, give_back)
        self._bytes_max: Final = bytes_max
        self._owner_bytes_max: Final = owner_bytes_max
        self._threads: Final = background_threads(THREADS, "payloads")

    @classmethod
    async def open(
        cls, path: Path, *, bytes_max: int, owner_bytes_max: int | None = None, recent_bytes_max: int = 0
    ) -> PayloadStore:
        """Open or create a store; what a crash left half received can be gone on with.

        Args:
            path: its directory.
            bytes_max: all payloads together.
            owner_bytes_max: those of one other validator together; `bytes_max` by default.
            recent_bytes_max: memory for chunks that have just come.

        Raises:
            StorageError: the directory cannot be used.
        """
        files = PayloadFiles(path)
        inventory = await asyncio.to_thread(files.open)
        limit = owner_bytes_max if owner_bytes_max is not None else bytes_max
        return cls(files, inventory, bytes_max=bytes_max, owner_bytes_max=limit, recent_bytes_max=recent_bytes_max)

    async def close(self) -> None:
        """Let running file work end."""
        self._recent.close()
        await asyncio.to_thread(self._threads.shutdown)

    def has(self, payload_id: Digest) -> bool:
        """Tell whether every chunk is verified and on disk."""
        return payload_id in self._stored

    def is_erased(self, payload_id: Digest) -> bool:
        """Tell whether it was erased here: peers cannot bring it back, only `stage` can."""
        return payload_id in self._erased

    def descriptor(self, payload_id: Digest) -> PayloadDescriptor:
        """Return the descriptor of a stored payload.

        Raises:
            UnknownPayloadError: it is not stored.
        """
        return self._card(payload_id).payload

    def verdict(self, payload_id: Digest) -> Verdict:
        """Return what the content check of a stored payload said.

        Raises:
            UnknownPayloadError: it is not stored.
        """
        return self._card(payload_id).verdict

    def stored(self) -> list[Card]:
        """Return the cards of all stored payloads."""
        return list(self._stored.values())

    def staged(self) -> list[Card]:
        """Return the cards of all payloads being received."""
        return list(self._staged.values())

    def usage(self) -> StoreUsage:
        """Return how full the store is."""
        return StoreUsage(
            len(self._stored),
            len(self._staged),
            used_bytes([*self._stored.values(), *self._staged.values()]),
            self._bytes_max,
        )

    async def stage(self, descriptor: PayloadDescriptor, *, owner: str = OWN, hashes: bytes = b"") -> None:
        """Reserve space and begin, or go on with, receiving a payload; nothing happens if it is stored.

        Args:
            descriptor: names it.
            owner: the validator whose quota it counts against.
            hashes: its chunk hashes, 32 bytes each; with them each chunk is verified as it comes, without at the end.

        Raises:
            QuotaError: it does not fit.
            RootMismatchError: the hashes are not the payload's.
            StorageError: the disk refuses.
        """
        payload_id = descriptor.id
        async with self._lock(payload_id):
            if payload_id in self._stored or (payload_id in self._scans and (not hashes or self._verifies(payload_id))):
                return
            fresh = payload_id not in self._staged
            if fresh:
                self._require_space(descriptor, owner)
            card = self._staged.setdefault(payload_id, Card(descriptor, owner, "ok"))
            try:
                if payload_id in self._erased:
                    await self._in_thread(self.files.want_again, payload_id)
                    self._erased.discard(payload_id)
                self._scans[payload_id] = await self._in_thread(self.files.begin, card, hashes)
            except BaseException:
                if fresh:
                    self._staged.pop(payload_id, None)
                raise

    def missing_chunks(self, payload_id: Digest) -> list[int]:
        """Return the indices still to be written: none when it is stored, or ready to `finish`.

        Raises:
            UnknownPayloadError: neither stored nor staged since the start.
        """
        if payload_id in self._stored:
            return []
        present = self._scan(payload_id).present
        return [index for index in range(self._staged[payload_id].payload.chunk_count) if index not in present]

    async def write_chunk(self, payload_id: Digest, index: int, chunk: bytes, hashed: Digest | None = None) -> None:
        """Write one chunk of a staged payload; again, or when it is stored, is no error.

        Args:
            payload_id: whose chunk.
            index: its number.
            chunk: its bytes.
            hashed: its leaf hash, when it was just computed from these very bytes.

        Raises:
            UnknownPayloadError: it was not staged.
            ChunkMismatchError: wrong length, or not the chunk that the hashes name.
            StorageError: the disk refuses.
        """
        async with self._lock(payload_id):
            if payload_id in self._stored:
                return
            scan, payload = self._scan(payload_id), self._staged[payload_id].payload
            if scan.verified and index in scan.present:
                return
            on_grid = await self._in_thread(
                self.files.write, payload, index, chunk, verify=scan.verified, hashed=hashed
            )
            scan.present[index] = on_grid
            self._recent.keep(payload_id, index, chunk)

    async def receive(self, payload_id: Digest, first_chunk: int, stream: AsyncIterable[bytes]) -> None:
        """Write a stream of bytes that begins with chunk number `first_chunk`; errors as `write_chunk`.

        A stream that breaks off leaves all its whole chunks written.
        """
        payload = self._staged[payload_id].payload if payload_id in self._staged else self.descriptor(payload_id)
        index, buffer = first_chunk, bytearray()
        async for piece in stream:
            buffer += piece
            while len(buffer) >= CHUNK_BYTES:
                await self.write_chunk(payload_id, index, bytes(buffer[:CHUNK_BYTES]))
                del buffer[:CHUNK_BYTES]
                index += 1
        if buffer and index == payload.chunk_count - 1 and len(buffer) == payload.size - index * CHUNK_BYTES:
            await self.write_chunk(payload_id, index, bytes(buffer))

    async def finish(self, payload_id: Digest) -> Verdict:
        """Put a staged payload on disk for good; from now the store `has` it. Again is no error.

        Returns:
            What the content check says.

        Raises:
            UnknownPayloadError: it was not staged.
            IncompletePayloadError: chunks are missing.
            RootMismatchError: the chunks are not the payload's; it is no longer staged.
            StorageError: the disk refuses; finish again later.
        """
        if payload_id in self._stored:
            return self._stored[payload_id].verdict
        if payload_id in self._finishing:
            return await asyncio.shield(self._finishing[payload_id])
        missing = len(self.missing_chunks(payload_id))
        if missing:
            raise IncompletePayloadError(payload_id=payload_id, missing=missing)
        task = asyncio.ensure_future(self._finish(payload_id))
        self._finishing[payload_id] = task
        task.add_done_callback(lambda _: self._finishing.pop(payload_id, None))
        return await asyncio.shield(task)

    async def add(self, payload: bytes, *, owner: str = OWN) -> PayloadDescriptor:
        """Store a payload that is in memory, such as a model computed here; errors as `stage` and `finish`."""
        descriptor = await self._in_thread(describe, payload)
        await self.stage(descriptor, owner=owner)
        if not self.has(descriptor.id):
            for index, chunk in enumerate(chunks_of(payload)):
                await self.write_chunk(descriptor.id, index, chunk)
            await self.finish(descriptor.id)
        return descriptor

    async def add_hashed(
        self, descriptor: PayloadDescriptor, payload: memoryview, hashes: bytes, *, owner: str = OWN
    ) -> None:
        """Store a payload that is in memory and whose chunks have been hashed; errors as `stage` and `finish`.

        Args:
            descriptor: names it.
            payload: its bytes, which nobody changes meanwhile.
            hashes: of its chunks, 32 bytes each, just computed from these very bytes: they are not hashed again.
            owner: the validator whose quota it counts against.
        """
        task = asyncio.ensure_future(self._add_hashed(descriptor, payload, hashes, owner))
        self._adding[descriptor.id] = task
        task.add_done_callback(lambda _: self._adding.pop(descriptor.id, None))
        await task

    async def added(self, payload_id: Digest) -> None:
        """Wait while a payload that was made here is being put on disk; it may fail."""
        if payload_id in self._adding:
            await asyncio.wait([self._adding[payload_id]])

    async def _add_hashed(self, descriptor: PayloadDescriptor, payload: memoryview, hashes: bytes, owner: str) -> None:
        await self.stage(descriptor, owner=owner, hashes=hashes)
        async with self._lock(descriptor.id):
            if descriptor.id in self._stored:
                return
            scan = self._scan(descriptor.id)
            scan.present |= await self._in_thread(self.files.write_hashed, descriptor, payload)
        await self.finish(descriptor.id)

    async def read_chunk(self, payload_id: Digest, index: int) -> bytes:
        """Return one chunk of a stored payload; empty past its end.

        Raises:
            UnknownPayloadError: it is not stored.
            DamagedPayloadError: what is on disk is not what was written.
            StorageError: the disk refuses.
        """
        descriptor = self.descriptor(payload_id)
        if not 0 <= index < descriptor.chunk_count:
            return b""
        recent = self._recent.get(payload_id, index)
        if recent is not None:
            return recent
        place = (payload_id, index)
        reading = self._reads.get(place)
        if reading is None:
            reading = asyncio.ensure_future(self._in_thread(self.files.read_chunk, descriptor, index))
            self._reads[place] = reading
            while len(self._reads) > CHUNKS_REMEMBERED_MAX:
                del self._reads[next(iter(self._reads))]
        try:
            return await asyncio.shield(reading)
        except PayloadError:
            self._reads.pop(place, None)
            raise

    async def read(self, payload_id: Digest, offset: int, length: int) -> bytes:
        """Return bytes of a stored payload (the salt is 0..31), fewer at its end; errors as `read_chunk`."""
        return await self._in_thread(self.files.read, self.descriptor(payload_id), offset, length)

    def read_into_blocking(self, descriptor: PayloadDescriptor, offset: int, target: memoryview) -> None:
        """Fill `target` with bytes of a stored payload from `offset` on; for worker threads."""
        self.files.read_into(descriptor, offset, target, self._recent.get)

    def chunk_blocking(self, payload_id: Digest, index: int) -> bytes:
        """As `read_chunk`, for worker threads."""
        descriptor = self.descriptor(payload_id)
        if not 0 <= index < descriptor.chunk_count:
            return b""
        recent = self._recent.get(payload_id, index)
        return self.files.read_chunk(descriptor, index) if recent is None else recent

    def hashes_blocking(self, payload_id: Digest) -> bytes:
        """As `hashes`, for worker threads."""
        self._card(payload_id)
        return self.files.hashes(payload_id)

    async def hashes(self, payload_id: Digest) -> bytes:
        """Return the chunk hashes of a stored payload, 32 bytes each; errors as `read_chunk`."""
        return await self._in_thread(self.hashes_blocking, payload_id)

    async def delete(self, payload_id: Digest) -> None:
        """Erase a payload for good, stored or staged: its key first, then its bytes. Unknown is no error.

        Raises:
            StorageError: the disk refuses; the erasure goes on at the next start.
        """
        if payload_id in self._finishing:
            await asyncio.wait([self._finishing[payload_id]])
        async with self._lock(payload_id):
            self._forget(payload_id)
            self._erased.add(payload_id)
            await self._in_thread(self.files.erase, payload_id)

    async def discard(self, payload_id: Digest) -> None:
        """Give up receiving a payload; it may be staged again. One that is not staged is left alone."""
        if payload_id in self._staged and payload_id not in self._finishing:
            self._forget(payload_id)
            await self._in_thread(self.files.discard, payload_id)

    async def _finish(self, payload_id: Digest) -> Verdict:
        async with self._lock(payload_id):
            card, scan = self._staged[payload_id], self._scan(payload_id)
            on_grid = [scan.present[index] for index in range(card.payload.chunk_count)]
            try:
                final = await self._in_thread(self.files.finish, card, on_grid)
            except BaseException:
                if not self.files.is_staged(payload_id):
                    self._forget(payload_id)
                raise
            del self._staged[payload_id], self._scans[payload_id]
            self._stored[payload_id] = final
            return final.verdict

    def _lock(self, payload_id: Digest) -> asyncio.Lock:
        """One at a time touches a staged payload's files: it may be fetched and computed here in the same moment."""
        lock = self._locks.get(payload_id)
        if lock is None:
            lock = self._locks[payload_id] = asyncio.Lock()
        return lock

    def _forget(self, payload_id: Digest) -> None:
        for place in [place for place in self._reads if place[0] == payload_id]:
            del self._reads[place]
        self._recent.forget(payload_id)
        self._stored.pop(payload_id, None)
        self._staged.pop(payload_id, None)
        self._scans.pop(payload_id, None)

    def _card(self, payload_id: Digest) -> Card:
        card = self._stored.get(payload_id)
        if card is None:
            raise UnknownPayloadError(payload_id=payload_id, wanted="stored")
        return card

    def _scan(self, payload_id: Digest) -> Scan:
        scan = self._scans.get(payload_id)
        if scan is None:
            raise UnknownPayloadError(payload_id=payload_id, wanted="staged")
        return scan

    def _verifies(self, payload_id: Digest) -> bool:
        return self._scans[payload_id].verified

    def _require_space(self, descriptor: PayloadDescriptor, owner: str) -> None:
        needed, cards = needed_bytes(descriptor), [*self._stored.values(), *self._staged.values()]
        require_space("all payloads", needed, self._bytes_max, cards)
        if owner != OWN:
            require_space(owner, needed, self._owner_bytes_max, [card for card in cards if card.owner == owner])

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))
