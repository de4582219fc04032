"""The process's allocator. One law: a megabyte that is needed again in a moment is not given back.

By default the C library maps every large block anew and unmaps it when it is freed, and the kernel zeroes each page of
it again: for payload chunks, of which hundreds pass through a node in a second, that costs as much as hashing them.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
MAPPED_BYTES_MIN: Final = 8 << 20
"""Smaller blocks come from the heap; larger ones, such as models, are mapped and given back at once."""

FREE_BYTES_MAX: Final = 512 << 20
"""Freed memory at the heap's end beyond this goes back to the system at once, the rest when `give_back` is called."""


def keep_freed_memory() -> bool:
    """Tell the GNU C library; elsewhere nothing happens. Return whether it agreed.

    All threads share one heap: those of their own give every 64 MiB back that become free.
    """
    library = _c_library()
    if library is None:
        return False
    settings = ((_MMAP_THRESHOLD, MAPPED_BYTES_MIN), (_TRIM_THRESHOLD, FREE_BYTES_MAX), (_ARENA_MAX, 1))
    return all(library.mallopt(*setting) for setting in settings)


def give_back() -> None:
    """Give freed memory back to the system, since none will be needed for a while."""
    library = _c_library()
    if library is not None:
        library.malloc_trim(0)


def _c_library() -> ctypes.CDLL | None:
    """Return the GNU C library, None where there is another one."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
