"""Canonical bytes, whoever reads them first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.project.tree import ROOT

FIRST_READERS = Path(__file__).with_name("first_readers.py")


def test_threads_may_read_a_record_for_the_first_time_at_the_same_moment() -> None:
    """A crash would take this process with it, so another one tries."""
    command = [sys.executable, str(FIRST_READERS)]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)}
    )
    assert (ended.returncode, ended.stderr) == (0, "")
