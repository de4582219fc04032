"""The same round in plain Flower, deployed: SuperLink and SuperNodes on loopback. One law: its defaults, its clock.

Flower is no dependency of this project: `python` is an interpreter of another environment that has flwr 1.42. The
model is a list of float32 arrays of the same shapes; clients answer at once with the model they were sent plus a
constant. TLS, authentication and a database on disk are off, as its tutorials run it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.round_costs import Costs
from benchmarks.waiting import until
from foedus.demo.processes import Processes
from genesis.ports import free_ports

APP: Final = Path(__file__).parent / "flower_app"
SECONDS_MAX: Final = 600.0
START_SECONDS_MAX: Final = 60.0
START_SECONDS_EACH: Final = 10.0


@dataclass(frozen=True, slots=True)
class FlowerRun:
    """What to run."""

    python: Path
    clients: int
    sizes: tuple[int, ...]
    """Entries of each array."""

    rounds: int


def measure_flower(directory: Path, run: FlowerRun) -> dict[str, object]:
    """Run a deployment and return its times.

    Raises:
        TimeoutError: its rounds did not end in time.
        subprocess.CalledProcessError: the run could not be submitted.
    """
    bin_dir = run.python.parent
    superlink, *supernodes = free_ports(run.clients + 1)
    home, app, times = directory / "home", directory / "app", directory / "times.jsonl"
    home.mkdir(parents=True)
    shutil.copytree(APP, app)
    address = f"127.0.0.1:{superlink}"
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "bench"\n\n[superlink.bench]\naddress = "{address}"\ninsecure = true\n'
    )
    os.environ |= {"FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0"}
    os.environ["PATH"] = f"{bin_dir}{os.pathsep}{os.environ['PATH']}"
    with Processes(directory / "logs") as processes, Costs() as costs:
        try:
            options = ["--host", "127.0.0.1", "--port", str(superlink), "--disable-runtime-dependency-installation"]
            processes.start("superlink", [str(bin_dir / "flower-superlink"), "--insecure", *options])
            log = directory / "logs" / "superlink.log"
            until(lambda: "startup complete" in log.read_text(), START_SECONDS_MAX, "Flower's SuperLink")
            for number, port in enumerate(supernodes, 1):
                options = ["--superlink", address, "--host", "127.0.0.1", "--port", str(port)]
                processes.start(f"supernode-{number}", [str(bin_dir / "flower-supernode"), "--insecure", *options])
            seconds = START_SECONDS_MAX + START_SECONDS_EACH * run.clients
            until(lambda: log.read_text().count("Activated node_id") == run.clients, seconds, "Flower's SuperNodes")
            costs.watch((name, process.pid) for name, process in processes.running.items())
            before = costs.cpu_seconds()
            _submit(bin_dir, app, run, times)
            until(lambda: len(_notes(times, "server")) == run.rounds, SECONDS_MAX, "Flower's rounds")
            cpu = costs.cpu_seconds() - before
            return {**_summary(times, run), "cpu_seconds": round(cpu / run.rounds, 2), "memory_mb": costs.resident_mb()}
        finally:
            for process in processes.running.values():
                os.killpg(process.pid, signal.SIGKILL)


def _submit(bin_dir: Path, app: Path, run: FlowerRun, times: Path) -> None:
    sizes = "+".join(map(str, run.sizes))
    config = f'clients={run.clients} rounds={run.rounds} sizes="{sizes}" times="{times}"'
    command = [str(bin_dir / "flwr"), "run", str(app), "bench", "--run-config", config]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=START_SECONDS_MAX)


def _summary(times: Path, run: FlowerRun) -> dict[str, object]:
    rounds, submits = [], []
    for server in sorted(_notes(times, "server"), key=lambda note: note["round"]):
        answered = [note["answered"] for note in _notes(times, "client") if note["round"] == server["round"]]
        rounds.append(round(server["ended"] - server["began"], 3))
        submits.append(round(server["ended"] - min(answered), 3))
    return {
        "rounds": run.rounds,
        "round_seconds": round(median(rounds), 3),
        "round_seconds_all": rounds,
        "submit_to_model_seconds": round(median(submits), 3),
        "submit_to_model_seconds_all": submits,
    }


def _notes(times: Path, who: str) -> list[dict[str, float]]:
    if not times.exists():
        return []
    notes = [json.loads(line) for line in times.read_text().splitlines()]
    return [note for note in notes if note["who"] == who]
