"""File systems of a few MiB, to be filled. One law: what is in a directory before is in it afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MEBIBYTE = 1 << 20


@contextmanager
def small_disk(directory: Path, size: int) -> Iterator[None]:
    """Put a file system of `size` bytes at `directory`."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    directory.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(directory)]
    ended = subprocess.run(mount, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {ended.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(directory: Path) -> Path:
    """Take all space that is left on a disk."""
    hog = directory / "hog"
    with hog.open("wb", buffering=0) as file:
        for size in (MEBIBYTE, 4096):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return hog


@contextmanager
def moved_to_small_disk(directory: Path, size: int) -> Iterator[None]:
    """Put a file system of `size` bytes under a directory that has content; nobody may use it at both ends."""
    kept = directory.with_name(directory.name + ".kept")
    shutil.copytree(directory, kept)
    with small_disk(directory, size):
        shutil.copytree(kept, directory, dirs_exist_ok=True)
        shutil.rmtree(kept)
        yield
        shutil.copytree(directory, kept)
    shutil.rmtree(directory)
    kept.rename(directory)
