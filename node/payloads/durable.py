"""Files that survive a crash. One law: a name on disk is on disk only when its directory was fsynced too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.payloads.errors import StorageError


@contextmanager
def typed(doing: str) -> Iterator[None]:
    """Turn what the operating system refuses into `StorageError`."""
    try:
        yield
    except OSError as error:
        raise StorageError(doing=doing, error=error) from error


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file so that after a crash it has its old content or all of the new."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.rename(path)
    fsync(path.parent)


def fsync(path: Path) -> None:
    """Put a file, or a directory's names, on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def pwrite(path: Path, content: bytes, offset: int) -> None:
    """Write all of `content` at `offset` of an existing file; not fsynced."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        view = memoryview(content)
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written
    finally:
        os.close(descriptor)


def pread(path: Path, length: int, offset: int) -> bytes:
    """Read up to `length` bytes at `offset`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)
