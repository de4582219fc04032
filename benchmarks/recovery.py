"""How soon four validators go on after a fault, and what a restart consists of.

    python -m benchmarks.recovery [--down 60] [--json]

The next primary is killed; a validator is killed and started again; two of four are down for `--down` seconds and come
back. Nobody touches anything but the processes that failed. Beside them: processor seconds from the start of a node's
process to its log's `node.started`, which is what most of a restart is and does not depend on other work on the
machine. With `--json` the last line is one object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.consensus_faults import killed_primary, many_down, restarted
from benchmarks.consortium import fsync_ms, running
from genesis.local import LocalPlan, make_local

VALIDATORS: Final = 4
STARTS: Final = 5


async def faults(seconds_down: float) -> dict[str, object]:
    """Let a consortium go through its faults."""
    async with running(VALIDATORS) as bench:
        return {
            "killed_primary_ms": await killed_primary(bench),
            "restart_to_vote_s": await restarted(bench),
            "after_more_than_f_down": await many_down(bench, seconds_down),
        }


def start_cpu_s(directory: Path) -> dict[str, float]:
    """Start a node alone again and again; return its processor seconds up to `node.started`."""
    consortium = make_local(directory, LocalPlan(("alone",), ()), time_ms=time.time_ns() // 1_000_000)
    took = [_started_after_cpu_s(consortium.nodes[0].config) for _ in range(STARTS)]
    return {"median": round(median(took), 2), "min": round(min(took), 2)}


def _started_after_cpu_s(config: Path) -> float:
    command = [sys.executable, "-m", "foedus", "node", "run", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if b"node.started" in line:
                break
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        process.kill()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else "")
    parser.add_argument("--down", type=float, default=60.0, help="seconds for which two of four are down")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="foedus-bench-") as directory:
        found: dict[str, object] = {
            "load_average": round(os.getloadavg()[0], 2),
            "fdatasync_ms": fsync_ms(Path(directory)),
            "start_cpu_s": start_cpu_s(Path(directory) / "c"),
        }
    found |= asyncio.run(faults(options.down))
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
