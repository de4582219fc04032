"""Chunks at rest: encrypted under the payload's own key. One law: when the key is erased, the payload is.

AES-256-GCM with a random nonce for every write; payload id and chunk index are authenticated, so that no chunk passes
for another one. The key never leaves this node; other nodes encrypt under keys of their own.
"""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.digest import Digest

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
SEAL_BYTES: Final = NONCE_BYTES + TAG_BYTES
"""A chunk takes this much more on disk."""


class BrokenSealError(ValueError):
    """The sealed bytes were changed, or belong elsewhere."""


def new_key() -> bytes:
    """Return a fresh key."""
    return secrets.token_bytes(KEY_BYTES)


def seal(key: bytes, payload_id: Digest, index: int, chunk: bytes) -> bytes:
    """Return a sealed chunk: nonce, ciphertext and tag."""
    return b"".join(seal_parts(key, payload_id, index, chunk))


def seal_parts(key: bytes, payload_id: Digest, index: int, chunk: bytes | memoryview) -> tuple[bytes, bytes]:
    """Return the nonce, and the ciphertext with the tag, of a chunk: written one after the other."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce, AESGCM(key).encrypt(nonce, chunk, _place(payload_id, index))


def unseal(key: bytes, payload_id: Digest, index: int, sealed: bytes) -> bytes:
    """Return the chunk.

    Raises:
        BrokenSealError: this key did not seal these bytes for this place.
    """
    try:
        content = memoryview(sealed)[NONCE_BYTES:]
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], content, _place(payload_id, index))
    except (InvalidTag, ValueError) as error:
        raise BrokenSealError(f"chunk {index} of payload {payload_id.hex()}") from error


def _place(payload_id: Digest, index: int) -> bytes:
    return payload_id + index.to_bytes(8, "big")
