"""A clock of one process that can be set. One law: only the time of day jumps, as when NTP or a person sets it."""

from __future__ import annotations

from pathlib import Path

import pytest

_PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")


class SteppedClock:
    """What a node's process is started with, and the way to its clock."""

    def __init__(self, path: Path) -> None:
        """Keep the clock's offset in a file, which is read at every question for the time."""
        found = [library for place in _PLACES for library in sorted(Path("/").glob(place.lstrip("/")))]
        if not found:
            pytest.skip("libfaketime is needed (on Debian and Ubuntu: apt install libfaketime)")
        self._path = path
        self.variables = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self.step(0)

    def step(self, seconds: int) -> None:
        """Have the clock be so many seconds off from now on."""
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_text(f"{seconds:+d}s\n", encoding="ascii")
        fresh.rename(self._path)
