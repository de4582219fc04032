"""Threads for work that may wait: hashing, encryption, files, aggregation. One law: votes come first.

The event loop and these threads share processors and the interpreter's lock. On Linux, where each thread has a priority
of its own, background threads get less of a processor that both want; elsewhere they are ordinary threads.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, Protocol, TypeVar

Result = TypeVar("Result")

NICENESS: Final = 5
"""About a third of a processor's time while the loop wants it as well."""


def background_threads(count: int, name: str) -> ThreadPoolExecutor:
    """Return an executor of `count` threads that give way to the event loop."""
    return ThreadPoolExecutor(count, thread_name_prefix=name, initializer=_give_way)


class Apart(Protocol):
    """How work is done beside the event loop."""

    async def __call__(self, work: Callable[[], Result], /) -> Result:
        """Return what `work` returns."""
        ...


async def at_once(work: Callable[[], Result], /) -> Result:
    """Do work in the loop after all, where nothing may run beside it."""
    return work()


def apart_in(threads: ThreadPoolExecutor) -> Apart:
    """Do work in these threads."""

    async def run(work: Callable[[], Result], /) -> Result:
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    return run


def _give_way() -> None:
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it; then the threads stay as they are
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
