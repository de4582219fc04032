"""What the demo starts ends with it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from foedus.demo.processes import Processes, ProcessFailedError
from tests.project.tree import ROOT

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]
PROGRAM = f"""
import signal, sys
from pathlib import Path
from foedus.demo.processes import Processes
with Processes(Path(sys.argv[1])) as processes:
    processes.start("one", {SLEEPER!r})
    print(processes.running["one"].pid, flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_ends_the_demo_ends_what_it_started(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as demo:
        assert demo.stdout is not None
        child = os.pidfd_open(int(demo.stdout.readline()))
        demo.send_signal(number)
        ended, _, _ = select.select([child], [], [], 20)
        os.close(child)
    assert ended
    assert demo.returncode != 0


def test_whoever_waits_is_told_when_one_ends_and_whether_it_failed(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start("lasting", SLEEPER)
        processes.start("done", [sys.executable, "-c", ""])
        processes.wait_for_one()
        assert set(processes.running) == {"lasting"}
        processes.start("failing", [sys.executable, "-c", "raise SystemExit('no disk')"])
        with pytest.raises(ProcessFailedError, match="no disk"):
            processes.wait_for_one()


def test_sigterm_means_afterwards_what_it_meant_before(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Processes(tmp_path):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
