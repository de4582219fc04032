"""The payload store (skeleton)."""

from __future__ import annotations

from pathlib import Path

from ledger.digest import Digest
from ledger.payload import PayloadDescriptor, Verdict


class PayloadStore:
    """A directory of payloads; file work runs in threads of its own, the loop is never blocked."""

    @classmethod
    async def open(cls, path: Path, *, bytes_max: int) -> PayloadStore:
        """Open or create a store; what a crash left half written is resumable."""
        return cls()

    async def close(self) -> None: ...

    def has(self, payload_id: Digest) -> bool:
        """Whether every chunk is verified and on disk."""
        return False

    def descriptor(self, payload_id: Digest) -> PayloadDescriptor:
        """Of a stored payload. Raises `UnknownPayloadError`."""
        raise KeyError

    def verdict(self, payload_id: Digest) -> Verdict:
        """What the content check of a stored payload said. Raises `UnknownPayloadError`."""
        raise KeyError

    async def stage(self, descriptor: PayloadDescriptor, *, owner: str, hashes: bytes = b"") -> None:
        """Reserve space (quota of `owner`, a name) and begin, or go on with, receiving a payload.

        With `hashes` (32 bytes a chunk, checked against the root) each chunk is verified as it comes; without, all are at the end.
        """

    def missing_chunks(self, payload_id: Digest) -> list[int]:
        """Indices still to be written; empty when it is stored or ready to `finish`."""
        return []

    async def write_chunk(self, payload_id: Digest, index: int, chunk: bytes) -> None:
        """Write one chunk; again is no error."""

    async def finish(self, payload_id: Digest) -> Verdict:
        """Check the root, fsync, move into place; from now `has` it."""
        return "ok"

    async def add(self, payload: bytes, *, owner: str) -> PayloadDescriptor:
        """Store a payload held in memory (a model that this node computed, a small update)."""
        raise KeyError

    async def read_chunk(self, payload_id: Digest, index: int) -> bytes:
        """Raises `UnknownPayloadError`."""
        return b""

    async def read(self, payload_id: Digest, offset: int, length: int) -> bytes:
        """Bytes of the payload (salt at 0..31), fewer at its end."""
        return b""

    def read_blocking(self, payload_id: Digest, offset: int, length: int) -> bytes:
        """As `read`, for worker threads."""
        return b""

    async def delete(self, payload_id: Digest) -> None:
        """Erase it: key first, then bytes; a peer's later announcement does not bring it back."""
