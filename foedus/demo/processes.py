"""The demo's processes: started with a log each, killed for real, always cleaned up. One law: none outlives it."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

STOP_SECONDS_MAX: Final = 10.0
LOG_TAIL_LINES: Final = 15


class ProcessFailedError(Exception):
    """A process of the demo ended by itself; the message ends with what it said last."""

    def __init__(self, name: str, code: int, log: Path) -> None:
        """Quote the end of the process's log."""
        lines = log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        super().__init__("\n".join([f"{name} ended with exit code {code}; its log ({log}) ends with:", *lines]))
        self.name: Final = name
        self.code: Final = code


@dataclass(slots=True)
class Processes:
    """Children by name; use as a context manager."""

    logs: Path
    """Directory of the log files, one a name."""

    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Make the directory for logs."""
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop whatever still runs."""
        self.stop()

    def start(self, name: str, command: list[str]) -> None:
        """Start a process; what it says is appended to its log."""
        with (self.logs / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def start_node(self, name: str, config: Path, *options: str) -> None:
        """Start an institution's node."""
        self.start(f"node-{name}", [sys.executable, "-m", "foedus", "node", "run", "--config", str(config), *options])

    def kill(self, name: str) -> None:
        """End a process without warning (SIGKILL)."""
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def require_alive(self) -> None:
        """Check that nobody has failed; those that ended with success are forgotten.

        Raises:
            ProcessFailedError: one ended with an exit code other than 0.
        """
        for name, process in list(self.running.items()):
            code = process.poll()
            if code is None:
                continue
            if code != 0:
                raise ProcessFailedError(name, code, self.logs / f"{name}.log")
            del self.running[name]

    def stop(self) -> None:
        """Ask everybody to end, wait, and kill who does not."""
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running.clear()
