"""The tutorial and the how-tos do what they say: their blocks are run."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import typer

from fl.schema import ModelSchema, TensorSpec
from foedus import aio
from foedus.cli import app
from genesis.document import document_text
from genesis.keys import write_key
from genesis.ports import free_ports, is_free
from tests.node.single_node import TRAINER_KEYS, served, toy_task

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
SECONDS_MAX = 150


def blocks(page: Path, language: str) -> list[str]:
    """Return a page's fenced blocks of a language; one marked `skip` is another language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(group: typer.Typer) -> set[str]:
    """Return the names of all commands, with their groups'."""
    tree = typer.main.get_command(group)
    found, waiting = set(), [("", tree)]
    while waiting:
        name, command = waiting.pop()
        found.add(name)
        inner = getattr(command, "commands", {})
        waiting += [(f"{name} {one}".strip(), inner[one]) for one in inner]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    known = commands(app)
    groups = {name.split()[0] for name in known if " " in name}

    text = page.read_text(encoding="utf-8")
    for said in re.findall(r"(?:`|^ *|until )foedus ([a-z-]+(?: [a-z-]+)?)", text, re.MULTILINE):
        first = said.split()[0]
        assert (said if first in groups else first) in known, said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_python_block_of_a_page_parses_and_uses_names_that_exist(page: Path) -> None:
    for block in blocks(page, "python"):
        for one in ast.walk(ast.parse(block)):
            if (
                isinstance(one, ast.ImportFrom)
                and one.module
                and one.module.split(".")[0] in {"fl", "genesis", "ledger"}
            ):
                module = __import__(one.module, fromlist=[alias.name for alias in one.names])
                assert all(hasattr(module, alias.name) for alias in one.names), one.module


async def run_script(directory: Path, source: str) -> tuple[int, str]:
    """Run a script in a directory; return its exit code and what it said."""
    (directory / "script.py").write_text(source)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "script.py"),
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_the_loop_of_the_how_to_joins_and_ends_with_the_task(tmp_path: Path) -> None:
    spec = msgspec.structs.replace(
        toy_task(updates_max=1, rounds=2),
        schema=ModelSchema((TensorSpec("weight", (3,), 0, 0),)),
        participants=("alpha",),
    )
    source = blocks(DOCS / "how-to" / "join.md", "python")[0]
    write_key(tmp_path / "hospital.key", TRAINER_KEYS["alpha"], owner="alpha")
    async with served(tmp_path / "node", spec) as node:
        code, said = await run_script(
            tmp_path, source.replace("http://127.0.0.1:8001", node.url).replace('task="join"', 'task="toy"')
        )

    assert (code, said.count("values were cut off")) == (0, 2), said


@pytest.mark.parametrize("honest", [True, False])
async def test_thirty_lines_tell_a_certified_model_from_another(tmp_path: Path, honest: bool) -> None:
    source = blocks(DOCS / "how-to" / "verify.md", "python")[0]
    assert len([line for line in source.splitlines() if line.strip()]) <= 32
    async with served(tmp_path / "node", toy_task(updates_max=1)) as node:
        async with aio.connect(node.url, key=TRAINER_KEYS["alpha"], task="toy") as session:
            current = await anext(session.rounds())
            await current.submit({name: array + 0.25 for name, array in current.model.items()}, samples=1)
        genesis = node.node.genesis
        if not honest:  # the same validators, and another agreement
            genesis = msgspec.structs.replace(genesis, chain_name="another")
        (tmp_path / "genesis.json").write_text(document_text(genesis))
        script = source.replace("http://127.0.0.1:8001", node.url).replace('"heart"', '"toy"')
        code, said = await run_script(tmp_path, script)

    assert (code == 0) == honest, said
    assert ("is certified at height" in said) == honest


def free_base_port() -> int:
    """Return a multiple of ten after which eight ports are free, below those that outgoing connections take."""
    for (port,) in iter(lambda: free_ports(1), ()):
        base = port - port % 10
        if all(is_free(base + offset) for offset in range(1, 9)):
            return base
    raise AssertionError


@pytest.mark.processes
@pytest.mark.xdist_group("processes")
@pytest.mark.skipif(shutil.which("bash") is None, reason="the tutorial is written for a shell")
def test_the_tutorial_runs_from_its_first_line_to_its_last(tmp_path: Path) -> None:
    """Every block, one after another, in one shell, as somebody would type them."""
    base = free_base_port()
    script = "\n".join(blocks(DOCS / "tutorial.md", "sh"))
    script = script.replace("--base-port 8001", f"--base-port {base + 1}")
    script = re.sub(r"127\.0\.0\.1:800", f"127.0.0.1:{base // 10}", script)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, module in (("foedus", "-m foedus "), ("python", "")):
        (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable} {module}"$@"\n')
        (tools / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "FOEDUS_URL": f"http://127.0.0.1:{base + 1}",
    }
    place = tmp_path / "here"
    place.mkdir()

    with (tmp_path / "said").open("wb") as said:
        shell = subprocess.Popen(
            ["bash", "-ec", script], cwd=place, env=environment, stdout=said, stderr=said, start_new_session=True
        )
        try:
            code = shell.wait(SECONDS_MAX)
        finally:
            with suppress(ProcessLookupError):  # whatever it left behind
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()

    text = (tmp_path / "said").read_text()
    assert code == 0, text
    assert "round 5: the model gets" in text, text
    assert "verified  yes" in text, text
    assert re.search(r"differences\s+0", text), text
