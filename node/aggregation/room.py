"""How much memory this process may count on. One law: a limit of the container counts, not only the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux says what a control group may take: version 2 and 1."""


def memory_bytes(limits: tuple[Path, ...] = LIMITS) -> int:
    """Return the memory of the machine, or of this container where that is less.

    Args:
        limits: files that hold a number of bytes, or a word for no limit; one that is not there says nothing.
    """
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_numbers(limits)])


def _numbers(limits: tuple[Path, ...]) -> Iterator[int]:
    for path in limits:
        with suppress(OSError, ValueError):
            yield int(path.read_text("ascii"))
