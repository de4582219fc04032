"""Key files by commands: sealed unless somebody asks otherwise, and a passphrase never on the command line."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from genesis import keys
from genesis.keys import read_key
from tests.foedus.commands import Shell


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Derive keys with the least work that there is."""
    monkeypatch.setattr(keys, "_OPS", 1)
    monkeypatch.setattr(keys, "_MEMORY_BYTES", 8192)
    for name in ("FOEDUS_PASSPHRASE", "FOEDUS_NEW_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)


def secret(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(f"{text}\n")
    return path


def test_a_new_key_is_sealed_by_the_passphrase_of_a_file(foedus: Shell, tmp_path: Path) -> None:
    made = foedus("keys", "new", tmp_path / "k", "--passphrase-file", secret(tmp_path / "p", "horse"), "--json")
    assert (made.code, made.answer["sealed"], made.answer["owner"]) == (0, True, "k")
    assert read_key(tmp_path / "k", passphrase="horse").public_key.hex() == made.answer["public_key"]


def test_a_new_key_is_sealed_by_the_passphrase_of_the_environment(
    foedus: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOEDUS_PASSPHRASE", "battery")
    assert foedus("keys", "new", tmp_path / "k", "--owner", "ward 7", "--json").answer["sealed"] is True
    assert len(read_key(tmp_path / "k", passphrase="battery").seed) == 32


def test_without_a_passphrase_and_a_person_no_key_is_made(foedus: Shell, tmp_path: Path) -> None:
    done = foedus("keys", "new", tmp_path / "k")
    assert (done.code, "--passphrase-file" in done.err, (tmp_path / "k").exists()) == (1, True, False)


def test_a_key_in_clear_has_to_be_asked_for(foedus: Shell, tmp_path: Path) -> None:
    assert foedus("keys", "new", tmp_path / "k", "--in-clear", "--json").answer["sealed"] is False
    assert "Contradict" not in foedus("keys", "show", tmp_path / "k").out
    again = foedus("keys", "new", tmp_path / "k", "--in-clear")
    assert (again.code, "never overwritten" in again.err) == (1, True)


def test_a_key_is_sealed_opened_and_sealed_anew_without_changing(foedus: Shell, tmp_path: Path) -> None:
    path, first, second = tmp_path / "k", secret(tmp_path / "1", "one"), secret(tmp_path / "2", "two")
    public = foedus("keys", "new", path, "--in-clear", "--owner", "me", "--json").answer["public_key"]
    seed = read_key(path).seed
    assert foedus("keys", "encrypt", path, "--passphrase-file", first, "--json").answer["sealed"] is True
    assert seed.hex() not in path.read_text()
    fresh = ("--passphrase-file", first, "--new-passphrase-file", second)
    assert foedus("keys", "change-passphrase", path, *fresh).code == 0
    wrong = foedus("keys", "decrypt", path, "--passphrase-file", first)
    assert (wrong.code, "does not open" in wrong.err) == (1, True)
    opened = foedus("keys", "decrypt", path, "--passphrase-file", second, "--json").answer
    assert (opened["sealed"], opened["public_key"], opened["owner"]) == (False, public, "me")
    assert (read_key(path).seed, path.stat().st_mode & 0o777) == (seed, 0o600)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["1", "2", "k"]


def test_what_a_command_cannot_do_it_says_with_the_one_that_can(foedus: Shell, tmp_path: Path) -> None:
    path = tmp_path / "k"
    foedus("keys", "new", path, "--in-clear")
    for command in ("decrypt", "change-passphrase"):
        assert "`foedus keys encrypt" in foedus("keys", command, path).err
    foedus("keys", "encrypt", path, "--passphrase-file", secret(tmp_path / "p", "x"))
    assert "change-passphrase" in foedus("keys", "encrypt", path).err


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_files_that_others_may_read_are_refused_with_what_to_do(foedus: Shell, tmp_path: Path, mode: int) -> None:
    path, passphrase = tmp_path / "k", secret(tmp_path / "p", "x")
    foedus("keys", "new", path, "--in-clear")
    passphrase.chmod(mode)
    done = foedus("keys", "encrypt", path, "--passphrase-file", passphrase)
    assert (done.code, f"chmod 600 {passphrase}" in done.err) == (1, True)
    path.chmod(mode)
    done = foedus("keys", "show", path)
    assert (done.code, f"chmod 600 {path}" in done.err) == (1, True)


def test_an_empty_passphrase_is_none(foedus: Shell, tmp_path: Path) -> None:
    done = foedus("keys", "new", tmp_path / "k", "--passphrase-file", secret(tmp_path / "p", ""))
    assert (done.code, "empty" in done.err, (tmp_path / "k").exists()) == (1, True, False)


def test_no_secret_is_printed(foedus: Shell, tmp_path: Path) -> None:
    path = tmp_path / "k"
    outcomes = [foedus("keys", "new", path, "--in-clear", "--json"), foedus("keys", "show", path, "--json")]
    assert not any(read_key(path).seed.hex() in one.out + one.err for one in outcomes)


def test_a_person_is_asked_twice_for_a_new_passphrase_and_once_for_an_old_one(tmp_path: Path) -> None:
    assert ask(tmp_path, ["keys", "new", "k"], ["horse", "horse"]) == 0
    assert ask(tmp_path, ["keys", "new", "other"], ["horse", "house"]) == 1
    assert not (tmp_path / "other").exists()
    assert ask(tmp_path, ["keys", "decrypt", "k"], ["horse"]) == 0
    assert len(read_key(tmp_path / "k").seed) == 32


def ask(directory: Path, arguments: list[str], answers: list[str]) -> int:
    """Run a command on a terminal of its own, answer each question when it comes, and return the exit code."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FOEDUS_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "foedus", *arguments],
        cwd=directory,
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    with process:
        for answer in answers:
            seen += until_asked(ours)
            os.write(ours, f"{answer}\n".encode())
        out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert not any(answer.encode() in out + seen for answer in answers)
    return process.returncode


def until_asked(terminal: int) -> bytes:
    """Return what a terminal shows, up to the next question."""
    shown = b""
    while not shown.endswith(b": "):
        ready, _, _ = select.select([terminal], [], [], 30)
        assert ready, shown
        shown += os.read(terminal, 1024)
    return shown
