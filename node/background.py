"""Threads for work that may wait: hashing, encryption, files, aggregation. One law: votes come first.

The event loop and these threads share processors and the interpreter's lock. On Linux, where each thread has a priority
of its own, background threads get less of a processor that both want; elsewhere they are ordinary threads.
"""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

NICENESS: Final = 5
"""About a third of a processor's time while the loop wants it as well."""


def background_threads(count: int, name: str) -> ThreadPoolExecutor:
    """Return an executor of `count` threads that give way to the event loop."""
    return ThreadPoolExecutor(count, thread_name_prefix=name, initializer=_give_way)


def _give_way() -> None:
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it; then the threads stay as they are
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
