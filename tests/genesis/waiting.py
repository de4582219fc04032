"""Waiting for what other processes do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def until(condition: Callable[[], bool], what: str, seconds_max: float) -> None:
    """Ask again and again until `condition` holds."""
    deadline = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds_max:.0f} s"
        threading.Event().wait(0.1)
