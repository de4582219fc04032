"""Which payloads were erased here. One law: an erasure is noted before it begins, so that a crash cannot undo it.

A log of 33-byte entries: 1 (erased) or 0 (wanted again) and the payload id; of a payload's entries the last one holds.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ledger.digest import DIGEST_BYTES, Digest
from node.payloads.durable import fsync

_ENTRY_BYTES: Final = 1 + DIGEST_BYTES


def note(path: Path, payload_id: Digest, *, erased: bool) -> None:
    """Append an entry durably.

    Raises:
        OSError: the disk refuses.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        os.ftruncate(descriptor, size - size % _ENTRY_BYTES)  # an entry that a crash tore
        os.write(descriptor, bytes([erased]) + payload_id)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fsync(path.parent)


def erased_payloads(path: Path) -> set[Digest]:
    """Return the payloads that are erased, and not wanted again.

    Raises:
        OSError: the disk refuses.
    """
    erased: set[Digest] = set()
    log = path.read_bytes() if path.exists() else b""
    for start in range(0, len(log) - DIGEST_BYTES, _ENTRY_BYTES):
        payload_id = Digest(log[start + 1 : start + _ENTRY_BYTES])
        if log[start]:
            erased.add(payload_id)
        else:
            erased.discard(payload_id)
    return erased
