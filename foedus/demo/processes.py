"""The demo's processes: started with a log each, killed for real, always cleaned up. One law: none outlives it.

Ctrl-C and SIGTERM end it like any error, so that what it started is stopped; only SIGKILL leaves them.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
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
    _terminated: signal.Handlers | Callable[[int, FrameType | None], object] | int | None = None
    """What SIGTERM did before."""

    def __enter__(self) -> Self:
        """Make the directory for logs."""
        self.logs.mkdir(parents=True, exist_ok=True)
        if threading.current_thread() is threading.main_thread():  # nobody else may ask for signals
            self._terminated = signal.signal(signal.SIGTERM, _end)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop whatever still runs."""
        try:
            self.stop()
        finally:
            if self._terminated is not None:
                signal.signal(signal.SIGTERM, self._terminated)

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

    def wait_for_one(self) -> None:
        """Return once one has ended; errors as `require_alive`."""
        ended = threading.Event()
        for process in self.running.values():
            threading.Thread(target=_tell, args=(process, ended), daemon=True).start()
        ended.wait()
        self.require_alive()

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


def _tell(process: subprocess.Popen[bytes], ended: threading.Event) -> None:
    process.wait()
    ended.set()


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough: the others are being stopped
    raise SystemExit(128 + number)
