"""Room on the disk. One law: who runs out of it is told before."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from node.payloads.quota import StoreUsage
from node.reason import Reason

FREE_BYTES_MIN: Final = 1 << 30
"""Less free space than this fills up within a day of busy learning."""

QUOTA_SHARE_MAX: Final = 0.9


def free_bytes(directory: Path) -> int:
    """Return how much space is free where the node keeps its data."""
    return shutil.disk_usage(directory).free


def space_reasons(free: int, usage: StoreUsage, directory: Path) -> Iterator[Reason]:
    """Say when the disk, or what is set aside of it, is nearly full."""
    if free < FREE_BYTES_MIN:
        yield Reason(
            code="disk.low",
            stops="nothing",
            detail=f"{free} bytes are free at {directory}, {FREE_BYTES_MIN} are the least to go on safely",
            remedy="free some space; when none is left the node ends before it says what it could not keep",
        )
    if usage.used_bytes > QUOTA_SHARE_MAX * usage.bytes_max:
        yield Reason(
            code="payload.quota",
            stops="nothing",
            detail=f"payloads take {usage.used_bytes} of {usage.bytes_max} bytes",
            remedy="raise payloads.quota_bytes_max, or erase payloads that are past their time",
        )
