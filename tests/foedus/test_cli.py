"""The command line: quick, clear in words and in JSON, and never a traceback for what a person can mend."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from foedus.cli import app
from genesis.document import load_document
from genesis.presets import rule_named
from tests.foedus.commands import Shell

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
HEAVY = ("numpy", "aiohttp", "rich", "cryptography", "msgspec", "nacl", "structlog", "urllib.request", "sqlite3")


def test_help_needs_nothing_heavy() -> None:
    """That is why it answers in a sixth of a second."""
    code = f"import sys, foedus.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert loaded.strip() == "[]"


def commands() -> dict[str, list[str]]:
    """Return every command with its long options."""
    found = {}
    waiting = [("foedus", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        below = getattr(command, "commands", None)
        if below is None:
            options = [option for one in command.params for option in one.opts if option.startswith("--")]
            found[name] = options
        else:
            waiting += [(f"{name} {child}", one) for child, one in below.items()]
    return found


def test_every_command_has_its_section_and_every_option_is_named_there() -> None:
    heading = r"^### `(foedus [a-z -]+?)(?: [A-Z\[][^`]*)?`\n(.*?)(?=^###? |\Z)"
    found = re.findall(heading, PAGE.read_text(), re.MULTILINE | re.DOTALL)
    sections = dict(found)
    assert set(sections) == set(commands())
    assert len(found) == len(sections), "a command is explained twice"
    for name, options in commands().items():
        assert [option for option in options if f"`{option}" not in sections[name]] == [], name


def test_every_command_that_prints_a_result_does_so_in_json() -> None:
    without = {name for name, options in commands().items() if "--json" not in options}
    assert without == {"foedus completion", "foedus node run"}


def test_a_consortium_is_made_in_one_step(foedus: Shell, tmp_path: Path) -> None:
    done = foedus("local", "init", tmp_path / "c", "--task", "heart", "--json")
    assert done.code == 0
    document = load_document(tmp_path / "c" / "genesis.json")
    assert done.answer["chain_id"] == document.chain_id.hex()
    nodes = done.answer["nodes"]
    assert isinstance(nodes, list)
    assert [node["name"] for node in nodes] == ["cleveland", "hungary", "switzerland", "va-long-beach"]
    assert all(Path(node["config"]).is_file() for node in nodes)


def test_numbers_and_the_rule_are_as_asked(foedus: Shell, tmp_path: Path) -> None:
    done = foedus(
        *("local", "init", tmp_path / "c", "--nodes", 7, "--participants", 5, "--base-port", 9000),
        *("--task", "heart", "--rule", "median", "--rounds", 3, "--chain-name", "seven"),
    )
    assert done.code == 0, done.err
    document = load_document(tmp_path / "c" / "genesis.json")
    assert (document.chain_name, len(document.validators), len(document.learning.participants)) == ("seven", 7, 5 + 7)
    (task,) = document.learning.tasks
    assert (task.rule, task.rounds, task.updates_max) == (rule_named("median", 1), 3, 5)


@pytest.mark.parametrize(
    "options,hint",
    [
        (("--task", "hart"), "did you mean heart?"),
        (("--task", "heart", "--rule", "krumm"), "did you mean krum?"),
        (("--rule", "krum"), "--task"),
        (("--base-port", "65534"), "65535"),
        (("--task", "heart", "--participants", "2"), "updates"),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(
    foedus: Shell, tmp_path: Path, options: tuple[str, ...], hint: str
) -> None:
    done = foedus("local", "init", tmp_path / "c", *options)
    assert (done.code, done.out) == (1, "")
    assert hint in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "c").exists()


def test_an_existing_directory_is_left_alone(foedus: Shell, tmp_path: Path) -> None:
    assert foedus("local", "init", tmp_path / "c").code == 0
    done = foedus("local", "init", tmp_path / "c")
    assert (done.code, "is not empty" in done.err) == (1, True)


def test_settings_are_shown_with_their_sources(foedus: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foedus("local", "init", tmp_path / "c", "--nodes", 1)
    monkeypatch.setenv("FOEDUS_API__PORT", "8123")
    path = tmp_path / "c" / "nodes" / "site-1" / "node.toml"
    assert foedus("config", "--config", path, "--json").answer["api.port"] == {"value": 8123, "source": "environment"}
    assert "api.port\t8123\tenvironment" in foedus("config", "--config", path).out


def test_a_node_with_faulty_settings_does_not_start(foedus: Shell, tmp_path: Path) -> None:
    foedus("local", "init", tmp_path / "c", "--nodes", 1)
    path = tmp_path / "c" / "nodes" / "site-1" / "node.toml"
    path.write_text(path.read_text().replace("[api]", "[apy]"))
    done = foedus("node", "run", "--config", path)
    assert done.code == 1
    assert "apy: is not known; did you mean api?" in done.err


def test_a_traceback_is_there_for_who_asks(foedus: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOEDUS_DEBUG", "1")
    with pytest.raises(Exception, match="cannot be read"):
        foedus("config", "--config", tmp_path / "gone.toml")


def test_wrong_usage_has_its_own_code(foedus: Shell) -> None:
    assert foedus("local", "init").code == 2
    assert foedus("nonsense").code == 2


def test_bash_finishes_words_with_the_script_that_is_printed(tmp_path: Path) -> None:
    program = tmp_path / "foedus"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m foedus "$@"\n')
    program.chmod(0o755)
    script = """
        set -eu
        eval "$(foedus completion bash)"
        COMP_WORDS=(foedus genesis ver); COMP_CWORD=2
        _foedus_completion foedus
        echo "${COMPREPLY[@]}"
    """
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["verify"]


@pytest.mark.parametrize("shell,mark", [("zsh", "#compdef foedus"), ("fish", "complete --command foedus")])
def test_other_shells_have_their_script_too(foedus: Shell, shell: str, mark: str) -> None:
    assert foedus("completion", shell).out.startswith(mark)
    assert "known are bash" in foedus("completion", f"{shell}x").err


def test_the_version_is_printed(foedus: Shell) -> None:
    assert foedus("version").out.strip() == foedus("version", "--json").answer["version"]
