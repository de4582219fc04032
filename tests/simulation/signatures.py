"""Verified once, not by every node: all nodes of a run are in one process. One law: the answer is libsodium's own.

Whether a signature is good depends on its bytes alone, so remembering changes nothing but the time it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import nacl.bindings
import nacl.exceptions

REMEMBERED_MAX = 50_000
_open = nacl.bindings.crypto_sign_open


@lru_cache(maxsize=REMEMBERED_MAX)
def _is_good(signed: bytes, key: bytes) -> bool:
    try:
        _open(signed, key)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def _open_remembered(signed: bytes, pk: bytes) -> bytes:
    if not _is_good(signed, pk):
        raise nacl.exceptions.BadSignatureError("Signature was forged or corrupt")
    return signed[64:]


@contextmanager
def remembered() -> Iterator[None]:
    """Verify each signature once inside the `with`."""
    nacl.bindings.crypto_sign_open = _open_remembered
    try:
        yield
    finally:
        nacl.bindings.crypto_sign_open = _open
