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
MAPPED_BYTES_MIN: Final = 8 << 20
"""Smaller blocks come from the heap; larger ones, such as models, are mapped and given back at once."""

FREE_BYTES_MAX: Final = 32 << 20
"""Freed memory at the heap's end beyond this goes back to the system."""


def keep_freed_memory() -> bool:
    """Tell the GNU C library; elsewhere nothing happens. Return whether it agreed."""
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    return bool(mallopt(_MMAP_THRESHOLD, MAPPED_BYTES_MIN)) and bool(mallopt(_TRIM_THRESHOLD, FREE_BYTES_MAX))
