"""Waiting for other processes. One law: only a condition ends it, and it has a bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

LOOK_SECONDS: Final = 0.02
"""Between two looks: what is looked at belongs to processes that tell nobody, such as another program's log."""


def until(condition: Callable[[], bool], seconds_max: float, what: str) -> None:
    """Return once a condition holds.

    Raises:
        TimeoutError: it did not within `seconds_max`; names `what` was waited for.
    """
    deadline = time.monotonic() + seconds_max
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds_max:.0f} s")
        time.sleep(LOOK_SECONDS)
