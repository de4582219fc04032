"""docker compose as a test drives it: a project of its own, on free ports, removed with its volumes at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import foedus
from foedus import Session
from genesis.ports import free_ports
from genesis.presets import HOSPITALS
from node.view import NodeStatus
from tests.project.tree import ROOT

LOOK_SECONDS: Final = 0.25
COMMAND_SECONDS_MAX: Final = 180.0
BUILD_SECONDS_MAX: Final = 900.0
PAGE: Final = 200


def reason_to_skip() -> str:
    """Return why nothing can be tried here; empty when it can."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    for command, lacks in (
        (["docker", "compose", "version"], "docker has no compose command"),
        (["docker", "info"], "no Docker engine answers"),
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        except subprocess.TimeoutExpired:
            return f"{' '.join(command)} does not answer"
        if done.returncode:
            return f"{lacks}: {done.stderr.strip().partition(chr(10))[0]}"
    return ""


def docker(*arguments: str, seconds_max: float = COMMAND_SECONDS_MAX) -> str:
    """Run a docker command and return what it prints; fail with what it complains of."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False, timeout=seconds_max, cwd=ROOT
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


def build_network() -> str:
    """Return the network for builds: the engine's own, or the host's where the engine has none."""
    named = os.environ.get("FOEDUS_BUILD_NETWORK")
    return named or ("default" if docker("network", "ls", "--quiet", "--filter", "name=^bridge$").strip() else "host")


def until(condition: Callable[[], bool], seconds_max: float, what: str) -> float:
    """Wait; return how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds_max, f"not within {seconds_max:.0f} s: {what}"
        time.sleep(LOOK_SECONDS)  # between two looks at other processes; what counts is the condition
    return time.monotonic() - began


class Stack:
    """A consortium in containers."""

    def __init__(self, project: str, directory: Path, *, rounds: int) -> None:
        """Build the image; nothing runs yet.

        Args:
            project: name of the compose project.
            directory: for copies of what is public, and of trainers' keys.
            rounds: of the task.
        """
        self.project: Final = project
        self.ports: Final = dict(zip(HOSPITALS, free_ports(len(HOSPITALS)), strict=True))
        self._directory = directory
        self._environment = {**os.environ, "FOEDUS_ROUNDS": str(rounds), "FOEDUS_BUILD_NETWORK": build_network()}
        self._environment |= {f"FOEDUS_PORT_{number}": str(port) for number, port in enumerate(self.ports.values(), 1)}
        self.compose("build", "init", seconds_max=BUILD_SECONDS_MAX)

    def compose(self, *arguments: str, seconds_max: float = COMMAND_SECONDS_MAX) -> str:
        """Run `docker compose` on this project, trainers included, and return what it prints."""
        command = ["docker", "compose", "--project-name", self.project, "--profile", "trainers", *arguments]
        done = subprocess.run(
            command, env=self._environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds_max
        )
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def container(self, service: str) -> str:
        """Return the id of a service's container, whether it runs or not."""
        labels = (f"com.docker.compose.{name}" for name in (f"project={self.project}", f"service={service}"))
        filters = [word for label in labels for word in ("--filter", f"label={label}")]
        return docker("ps", "--all", "--quiet", *filters).strip()

    def read(self, service: str, path: str) -> Path:
        """Return a copy of a file that a container sees, whether it runs or not."""
        copy = self._directory / f"{service}-{Path(path).name}"
        docker("cp", f"{self.container(service)}:{path}", str(copy))
        return copy

    @contextmanager
    def session(self, hospital: str, *, key: Path | None = None, patience: float = 30.0) -> Iterator[Session]:
        """Connect to a node from the host as anybody does; each fact is checked against the genesis document."""
        genesis, authority = self._directory / "genesis.json", self._directory / "api-ca.pem"
        if not genesis.exists():
            for path in (genesis, authority):
                self.read(hospital, f"/consortium/{path.name}").rename(path)
        url = f"https://127.0.0.1:{self.ports[hospital]}"
        with foedus.connect(
            url, key=key, task="heart", genesis=genesis, tls_ca=str(authority), timeout=patience
        ) as opened:
            yield opened

    def status(self, hospital: str) -> NodeStatus:
        """Return how a node is doing."""
        with self.session(hospital) as session:
            return session.status()

    def chain(self, hospital: str) -> list[str]:
        """Return the ids of all blocks, oldest first."""
        ids: list[str] = []
        with self.session(hospital) as session:
            before: int | None = None
            while True:
                page = session.blocks(before=before, limit=PAGE)
                ids += [item.id for item in page.items]
                before = page.next
                if before is None:
                    return ids[::-1]

    def remove(self) -> None:
        """Stop everything and remove it with its volumes."""
        with suppress(subprocess.TimeoutExpired):
            self.compose("down", "--volumes", "--timeout", "5")
