"""What enters the image, what leaves the host's loopback, and what the init service gives to whom."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from genesis.document import load_document
from genesis.keys import public_key_in
from genesis.presets import HOSPITALS
from tests.project.tree import PACKAGES, ROOT

COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


class Volumes:
    """Directories in place of volumes, and the init service's script."""

    def __init__(self, root: Path) -> None:
        self.root = root / "volumes"
        for name in (
            "consortium",
            "officers",
            *(f"{kind}/{one}" for kind in ("nodes", "trainers") for one in HOSPITALS),
        ):
            (self.root / name).mkdir(parents=True)
        program = root / "bin" / "foedus"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m foedus "$@"\n')
        program.chmod(0o755)
        self._memory = root / "memory"
        self._memory.mkdir()
        self._environment = {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "VOLUMES": str(self.root),
            "TMPDIR": str(self._memory),
        }

    def init(self, *options: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(ROOT / "docker" / "init.sh"), "--task", "heart", *options]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        assert list(self._memory.iterdir()) == []
        return done

    def files(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.root)): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


def test_every_variable_of_the_stack_is_documented() -> None:
    page = (ROOT / "docs" / "docker.md").read_text(encoding="utf-8")
    used = dict(re.findall(r"\$\{(FOEDUS_[A-Z_]+)(?:_\d)?:-([^}]*)\}", COMPOSE))
    assert set(used) == {"FOEDUS_ROUNDS", "FOEDUS_PORT", "FOEDUS_NODE_MEMORY", "FOEDUS_TAG", "FOEDUS_BUILD_NETWORK"}
    for name, default in used.items():
        assert re.search(rf"\| `{name}(_\d)?`.* \|.*{default}`? \|", page), name


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    return Volumes(tmp_path)


def test_only_what_the_wheel_is_made_of_enters_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    admitted = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert admitted == {*PACKAGES, "LICENSE", "README.md", "docker/init.sh", "hatch_build.py", "pyproject.toml"}


def test_ports_are_published_on_loopback_only() -> None:
    published = re.findall(r"^    ports: \[(.*)\]$", COMPOSE, re.MULTILINE)
    assert len(published) == COMPOSE.count("ports:") == len(HOSPITALS)
    assert all(re.fullmatch(r'"127\.0\.0\.1:\$\{FOEDUS_PORT_\d:-\d+\}:8001"', one) for one in published)


def test_every_hospital_has_a_node_a_trainer_and_a_volume_in_the_image() -> None:
    services = re.findall(r"^  ([a-z-]+):$", COMPOSE.partition("\nnetworks:")[0], re.MULTILINE)
    assert {*HOSPITALS, *(f"{name}-trainer" for name in HOSPITALS)} <= set(services)
    (named,) = re.findall(r'^ARG NODES="(.*)"$', (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert tuple(named.split()) == HOSPITALS


def test_each_volume_gets_the_keys_of_its_owner_alone(volumes: Volumes) -> None:
    done = volumes.init()
    assert done.returncode == 0, done.stderr
    document = load_document(volumes.root / "consortium" / "genesis.json")
    for member in document.validators.members:
        node = volumes.root / "nodes" / member.name
        held = {path.name for path in node.rglob("*.key")}
        assert held == {"validator.key", "transport.key", "api.key"}
        assert public_key_in(node / "keys" / "validator.key") == member.public_key
        assert [path.name for path in (volumes.root / "trainers" / member.name).iterdir()] == [f"{member.name}.key"]
    assert {path.name for path in (volumes.root / "officers").iterdir()} == {f"{one}-officer.key" for one in HOSPITALS}
    assert {path.name for path in (volumes.root / "consortium").iterdir()} == {"genesis.json", "api-ca.pem"}


def test_a_consortium_is_made_once(volumes: Volumes) -> None:
    volumes.init()
    before = volumes.files()
    again = volumes.init("--rounds", "7")
    assert (again.returncode, volumes.files()) == (0, before)
    assert "already" in again.stdout


def test_what_an_interrupted_start_left_is_made_anew(volumes: Volumes) -> None:
    volumes.init()
    (volumes.root / "consortium" / "genesis.json").unlink()
    assert volumes.init().returncode == 0
    document = load_document(volumes.root / "consortium" / "genesis.json")
    for member in document.validators.members:
        path = volumes.root / "nodes" / member.name / "keys" / "validator.key"
        assert public_key_in(path) == member.public_key


def test_the_keys_of_a_chain_that_has_begun_are_never_replaced(volumes: Volumes) -> None:
    volumes.init()
    (volumes.root / "consortium" / "genesis.json").unlink()
    (volumes.root / "nodes" / "hungary" / "data").mkdir()
    before = volumes.files()
    refused = volumes.init()
    assert (refused.returncode, volumes.files()) == (1, before)
    assert "restore it" in refused.stderr


def test_more_nodes_than_volumes_are_refused(volumes: Volumes) -> None:
    refused = volumes.init("--nodes", "5")
    assert refused.returncode == 1
    assert "no volume for node site-1" in refused.stderr
    assert not (volumes.root / "consortium" / "genesis.json").exists()
