"""Disks whose power can be cut: an ext4 image on a loop device each. One law: what was not flushed is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

IMAGE_BYTES = 24 << 20
_NEEDED = ("mkfs.ext4", "mount", "umount")


@contextmanager
def loop_disks(directories: Sequence[Path], images: Path) -> Iterator[dict[Path, Path]]:
    """Put a file system of its own at each directory; return the images, by directory."""
    missing = [program for program in _NEEDED if shutil.which(program) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"cutting a disk's power needs root and {', '.join(_NEEDED)}; missing: {missing or 'root'}")
    images.mkdir(parents=True)
    made = {directory: images / f"{place}.ext4" for place, directory in enumerate(directories)}
    with ExitStack() as mounted:
        for directory, image in made.items():
            with image.open("wb") as file:
                file.truncate(IMAGE_BYTES)
            subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
            directory.mkdir(parents=True, exist_ok=True)
            _mount(image, directory)
            mounted.callback(subprocess.run, ["umount", "-l", str(directory)], check=False)
        yield made


def restore_power(image: Path, directory: Path) -> None:
    """Mount the disk again; the file system's journal is played back, as after a real power cut."""
    subprocess.run(["umount", str(directory)], check=True)
    _mount(image, directory)


def _mount(image: Path, directory: Path) -> None:
    mount = ["mount", "-o", "loop", str(image), str(directory)]
    ended = subprocess.run(mount, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        pytest.skip(f"no loop device can be mounted here: {ended.stderr.strip()}")
