"""Sealed chunks in a file, each in a place of its own. One law: past the page cache, where the system can.

A node writes every payload once and seldom reads it again: what it would leave in the page cache costs a copy and
fresh memory, which are dearer than encryption, and would have to be flushed before it may be acknowledged. So chunks go
from one aligned block of memory straight to the disk (`O_DIRECT`); file systems and systems without that are written to
as usual.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ledger.digest import Digest
from node.payloads.durable import fsync
from node.payloads.sealing import PLACE_BYTES, ROOM_BYTES, BrokenSealError, seal, sealed_length, unseal, unseal_into

FLUSH_CHUNKS: Final = 8
"""How many chunks may wait in the page cache, where they must: a vote's fsync would have to wait for them too."""

ROOMS_KEPT_MAX: Final = 8

_DIRECT: Final = getattr(os, "O_DIRECT", 0)
_rooms: Final[list[memoryview]] = []


def write_chunk(data: Path, key: bytes, payload_id: Digest, index: int, chunk: bytes | memoryview) -> None:
    """Seal a chunk into its place of an existing file; not fsynced.

    Raises:
        OSError: the disk refuses.
    """
    with _room() as room:
        is_direct = _write(data, seal(key, payload_id, index, chunk, room), index * PLACE_BYTES)
    if not is_direct and index % FLUSH_CHUNKS == FLUSH_CHUNKS - 1:
        fsync(data)


def read_chunk(data: Path, key: bytes, payload_id: Digest, index: int, length: int) -> bytes:
    """Return a chunk of `length` bytes.

    Raises:
        BrokenSealError: what stands there is not what was written.
        OSError: the disk refuses.
    """
    with _room() as room:
        _fill(room, data, payload_id, index, length)
        return unseal(key, payload_id, index, room, length)


def read_chunk_into(data: Path, key: bytes, payload_id: Digest, index: int, target: memoryview) -> None:
    """As `read_chunk`, into `target`, of the chunk's length, which holds nothing of worth after an error."""
    with _room() as room:
        _fill(room, data, payload_id, index, len(target))
        unseal_into(key, payload_id, index, room, target)


def _fill(room: memoryview, data: Path, payload_id: Digest, index: int, length: int) -> None:
    needed = sealed_length(length)
    if _read(data, room[:needed], index * PLACE_BYTES) < needed:
        raise BrokenSealError(f"chunk {index} of payload {payload_id.hex()} is cut off")


@contextmanager
def _room() -> Iterator[memoryview]:
    """Lend memory that begins at a block: fresh pages would cost more than the encryption."""
    try:
        room = _rooms.pop()
    except IndexError:
        room = memoryview(mmap.mmap(-1, ROOM_BYTES))
    try:
        yield room
    finally:
        if len(_rooms) < ROOMS_KEPT_MAX:
            _rooms.append(room)


def _write(path: Path, content: memoryview, offset: int) -> bool:
    """Write whole blocks; return whether they went past the page cache."""
    for flag in (_DIRECT, 0):
        try:
            with _opened(path, os.O_WRONLY | flag) as descriptor:
                done = 0
                while done < len(content):
                    done += os.pwrite(descriptor, content[done:], offset + done)
        except OSError as error:
            if error.errno != errno.EINVAL or not flag:
                raise
        else:
            return bool(flag)
    raise AssertionError("the last way either works or says why not")


def _read(path: Path, target: memoryview, offset: int) -> int:
    """Read whole blocks, fewer at the file's end; return how many bytes."""
    for flag in (_DIRECT, 0):
        try:
            with _opened(path, os.O_RDONLY | flag) as descriptor:
                done = 0
                while done < len(target) and (count := os.preadv(descriptor, [target[done:]], offset + done)):
                    done += count
        except OSError as error:
            if error.errno != errno.EINVAL or not flag:
                raise
        else:
            return done
    raise AssertionError("the last way either works or says why not")


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
