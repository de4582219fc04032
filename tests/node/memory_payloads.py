"""A payload shelf in memory."""

from __future__ import annotations
from pathlib import Path
from ledger.digest import Digest
from ledger.payload import CHUNK_BYTES, PayloadDescriptor, Verdict, describe, SALT_BYTES
from node.payloads.errors import RootMismatchError, UnknownPayloadError
import numpy as np
from fl.grid import check_words


class PayloadStore:
    def __init__(self) -> None:
        self.staged: dict[Digest, tuple[PayloadDescriptor, dict[int, bytes]]] = {}
        self.stored: dict[Digest, bytes] = {}

    @classmethod
    async def open(cls, path: Path, *, bytes_max: int) -> PayloadStore:
        return cls()

    async def close(self) -> None: ...
    def has(self, payload_id: Digest) -> bool:
        return payload_id in self.stored

    def verdict(self, payload_id: Digest) -> Verdict:
        if payload_id not in self.stored:
            raise UnknownPayloadError(payload_id=payload_id, wanted="stored")
        body = self.stored[payload_id][SALT_BYTES:]
        return "malformed" if len(body) % 2 else check_words(np.frombuffer(body, "<i2"))

    async def stage(self, descriptor: PayloadDescriptor, *, owner: str, hashes: bytes = b"") -> None:
        self.staged.setdefault(descriptor.id, (descriptor, {}))

    def missing_chunks(self, payload_id: Digest) -> list[int]:
        if payload_id not in self.staged:
            raise UnknownPayloadError(payload_id=payload_id, wanted="staged")
        d, c = self.staged[payload_id]
        return [i for i in range(d.chunk_count) if i not in c]

    async def write_chunk(self, payload_id: Digest, index: int, chunk: bytes) -> None:
        self.staged[payload_id][1][index] = chunk

    async def finish(self, payload_id: Digest) -> Verdict:
        d, c = self.staged.pop(payload_id)
        data = b"".join(c[i] for i in range(d.chunk_count))
        if describe(data) != d:
            raise RootMismatchError(payload_id=payload_id, reason="chunks do not lead to the root")
        self.stored[payload_id] = data
        return self.verdict(payload_id)

    async def add(self, payload: bytes, *, owner: str) -> PayloadDescriptor:
        d = describe(payload)
        self.stored[d.id] = payload
        return d

    async def read(self, payload_id: Digest, offset: int, length: int) -> bytes:
        return self.stored[payload_id][offset : offset + length]
