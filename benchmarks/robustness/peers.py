"""Rules of ByzFL and Flower, called in an interpreter that has them. One law: what is missing is said, never replaced.

python -m venv PATH && PATH/bin/pip install numpy torch && PATH/bin/pip install --no-deps flwr==1.42.0 byzfl==0.0.11
"""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.robustness.federation import Peer

PROGRAM: Final = Path(__file__).with_name("peer_program.py")


class PeerMissingError(RuntimeError):
    """The interpreter lacks a library; the message is its own."""


class Peers:
    """An interpreter of another environment, which answers one aggregation after the other."""

    def __init__(self, python: Path) -> None:
        """Remember whom to ask."""
        self._python = python
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it."""
        command = [str(self._python), str(PROGRAM)]
        self._process = self._stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._stack.close()

    def rule(self, library: str, name: str, f: int) -> Peer:
        """Return one of its rules.

        Raises:
            PeerMissingError: the library is not there.
        """

        def call(rows: NDArray[np.float32]) -> NDArray[np.float32]:
            sent, answers = self._pipes()
            sent.write(json.dumps({"library": library, "rule": name, "f": f, "shape": rows.shape}).encode() + b"\n")
            sent.write(rows.astype("<f4").tobytes())
            sent.flush()
            said = json.loads(answers.readline() or b'{"missing": "it ended"}')
            if "missing" in said:
                raise PeerMissingError(f"{library}: {said['missing']}")
            return np.frombuffer(answers.read(said["bytes"]), "<f4").astype(np.float32)

        call(np.ones((4 * f + 3, 2), np.float32))
        return call

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process is not None, "peers are asked within `with`"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout
