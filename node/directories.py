"""Directories that survive a power cut. One law: a directory is there when the one that names it is on disk."""

from __future__ import annotations

import os
from pathlib import Path


def make_directory(path: Path, *, mode: int = 0o777) -> None:
    """Make a directory, and what is missing above it, durably; one that is there may not have been synced yet.

    Raises:
        OSError: it cannot be made.
    """
    missing = [path, *(place for place in path.parents if not place.exists())]
    path.mkdir(parents=True, exist_ok=True, mode=mode)
    for place in missing:
        descriptor = os.open(place.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
