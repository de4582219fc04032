"""Chunks at rest: encrypted under the payload's own key. One law: when the key is erased, the payload is.

AES-256-GCM with a random nonce for every write; payload id and chunk index are authenticated, so that no chunk passes
for another one. The key never leaves this node; other nodes encrypt under keys of their own.

A sealed chunk is a head (nonce, tag, zeros: `HEAD_BYTES`) and the ciphertext, filled up with zeros to whole blocks, so
that disks take it from memory as it is.
"""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.digest import Digest
from ledger.payload import CHUNK_BYTES

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
BLOCK_BYTES: Final = 4096
"""What disks write at once, and memory is mapped by."""

HEAD_BYTES: Final = BLOCK_BYTES
PLACE_BYTES: Final = HEAD_BYTES + CHUNK_BYTES
"""The largest sealed chunk; each has a place of this size."""

ROOM_BYTES: Final = PLACE_BYTES + BLOCK_BYTES
"""Memory in which a chunk is sealed or opened: the tag has its place behind the ciphertext meanwhile."""

_HEAD: Final = NONCE_BYTES + TAG_BYTES


class BrokenSealError(ValueError):
    """The sealed bytes were changed, or belong elsewhere."""


def new_key() -> bytes:
    """Return a fresh key."""
    return secrets.token_bytes(KEY_BYTES)


def sealed_length(length: int) -> int:
    """Return how many bytes a chunk of `length` bytes takes when it is sealed."""
    return HEAD_BYTES + -(-length // BLOCK_BYTES) * BLOCK_BYTES


def seal(key: bytes, payload_id: Digest, index: int, chunk: bytes | memoryview, room: memoryview) -> memoryview:
    """Seal a chunk into `room`, of `ROOM_BYTES`; return the part of it that is to be kept."""
    nonce, end = secrets.token_bytes(NONCE_BYTES), HEAD_BYTES + len(chunk)
    AESGCM(key).encrypt_into(nonce, chunk, _place(payload_id, index), room[HEAD_BYTES : end + TAG_BYTES])
    room[:_HEAD] = nonce + bytes(room[end : end + TAG_BYTES])
    room[_HEAD:HEAD_BYTES] = bytes(HEAD_BYTES - _HEAD)
    sealed = room[: sealed_length(len(chunk))]
    sealed[end:] = bytes(len(sealed) - end)
    return sealed


def unseal(key: bytes, payload_id: Digest, index: int, room: memoryview, length: int) -> bytes:
    """Return the chunk of `length` bytes whose sealed bytes stand in `room`, of `ROOM_BYTES`.

    Raises:
        BrokenSealError: this key did not seal these bytes for this place.
    """
    try:
        return AESGCM(key).decrypt(*_sealed(room, length), _place(payload_id, index))
    except (InvalidTag, ValueError) as error:
        raise BrokenSealError(f"chunk {index} of payload {payload_id.hex()}") from error


def unseal_into(key: bytes, payload_id: Digest, index: int, room: memoryview, target: memoryview) -> None:
    """As `unseal`, into `target`, which holds nothing of worth after an error."""
    try:
        AESGCM(key).decrypt_into(*_sealed(room, len(target)), _place(payload_id, index), target)
    except (InvalidTag, ValueError) as error:
        raise BrokenSealError(f"chunk {index} of payload {payload_id.hex()}") from error


def _sealed(room: memoryview, length: int) -> tuple[bytes, memoryview]:
    """Return nonce, and ciphertext with the tag brought behind it."""
    end = HEAD_BYTES + length
    room[end : end + TAG_BYTES] = room[NONCE_BYTES:_HEAD]
    return bytes(room[:NONCE_BYTES]), room[HEAD_BYTES : end + TAG_BYTES]


def _place(payload_id: Digest, index: int) -> bytes:
    return payload_id + index.to_bytes(8, "big")
