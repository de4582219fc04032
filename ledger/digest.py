"""Digests: SHA-256 under a tag. One law: nothing is hashed bare.

Every hash in the project names what it hashes, and every part is length-prefixed,
so that no two different things ever have the same input to SHA-256.
"""

from hashlib import sha256
from typing import Final, NewType

Digest = NewType("Digest", bytes)
"""32 bytes of SHA-256."""

DIGEST_BYTES: Final = 32
ZERO_DIGEST: Final = Digest(bytes(DIGEST_BYTES))

_DOMAIN: Final = b"foedus/1/"


def digest(tag: str, *parts: bytes) -> Digest:
    """Hash `parts` under `tag`.

    The input is ``"foedus/1/" || tag || 0x00`` and then, for each part, its length as
    eight big-endian bytes and its bytes.

    Args:
        tag: ASCII name of what is hashed, without a zero byte.
        parts: any byte strings; their number and borders are part of the input.

    Returns:
        32 bytes.
    """
    state = sha256(_DOMAIN + tag.encode("ascii") + b"\0")
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return Digest(state.digest())
