"""What processes cost: CPU seconds and largest resident memory, children included. One law: read, never guessed.

Linux only: everything comes from /proc. A process that ends between two looks counts as it was at the last one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Final, Self

LOOK_SECONDS: Final = 0.2
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Cost:
    """Of one process so far."""

    cpu_seconds: float = 0.0
    resident_mb_max: float = 0.0


@dataclass(slots=True)
class Costs:
    """A thread that looks at processes and all their descendants; use as a context manager."""

    roots: dict[int, str] = field(default_factory=dict)
    """Name by process id."""

    _seen: dict[tuple[str, int], Cost] = field(default_factory=dict)
    _stop: Event = field(default_factory=Event)
    _thread: Thread | None = None

    def __enter__(self) -> Self:
        self._thread = Thread(target=self._watch, name="costs", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def watch(self, processes: Iterable[tuple[str, int]]) -> None:
        """Look at these too, from now on."""
        self.roots |= {pid: name for name, pid in processes}

    def cpu_seconds(self) -> float:
        """Return what all have used so far."""
        self._look()
        return sum(cost.cpu_seconds for cost in list(self._seen.values()))

    def cpu_of(self, prefix: str) -> float:
        """Return what those whose name begins so have used so far."""
        self._look()
        return sum(cost.cpu_seconds for (name, _), cost in list(self._seen.items()) if name.startswith(prefix))

    def resident_mb(self) -> dict[str, float]:
        """Return the largest resident memory by name, that of a root's descendants added to its own.

        Descendants that are gone when others come are added too: an upper bound for a tree that starts processes.
        """
        self._look()
        total: dict[str, float] = {}
        for (name, _), cost in list(self._seen.items()):
            total[name] = round(total.get(name, 0.0) + cost.resident_mb_max, 1)
        return total

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        parents = _parents()
        for pid in parents:
            name = self._name_of(pid, parents)
            if name is None:
                continue
            cost = self._seen.setdefault((name, pid), Cost())
            cost.cpu_seconds = max(cost.cpu_seconds, _cpu_seconds(pid))
            cost.resident_mb_max = max(cost.resident_mb_max, _resident_mb_max(pid))

    def _name_of(self, pid: int, parents: dict[int, int]) -> str | None:
        while pid not in self.roots:
            if pid not in parents or pid <= 1:
                return None
            pid = parents[pid]
        return self.roots[pid]


def available_mb() -> float:
    """Return how much memory processes can still have."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable:"))


def _parents() -> dict[int, int]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            fields = _stat(int(entry.name))
            if fields:
                found[int(entry.name)] = int(fields[1])
    return found


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def _resident_mb_max(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the process's name: state, parent, ..."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()
