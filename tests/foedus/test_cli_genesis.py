"""The ceremony's commands one by one; `tests/genesis/test_ceremony.py` does the whole of it in separate processes."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from genesis.document import load_document
from node.config import load_config
from tests.foedus.commands import Outcome, Shell

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def papers(foedus: Shell, tmp_path: Path) -> Path:
    """Keys, cards, document and signatures of four institutions."""
    for place, name in enumerate(NAMES):
        make_card(foedus, tmp_path, name, f"127.0.0.1:{7001 + place}")
    built = foedus("genesis", "build", *cards(tmp_path), "--task", "heart", "--out", tmp_path / "genesis.json")
    assert built.code == 0, built.err
    for name in NAMES:
        key, out = tmp_path / name / "validator.key", tmp_path / f"{name}.signature.json"
        signed = foedus("genesis", "sign", tmp_path / "genesis.json", *cards(tmp_path), "--key", key, "--out", out)
        assert signed.code == 0, signed.err
    return tmp_path


def make_card(foedus: Shell, directory: Path, name: str, address: str) -> None:
    home = directory / name
    for use in ("validator", "transport", "trainer", "officer"):
        foedus("keys", "new", home / f"{use}.key", "--in-clear")
    node = ("--validator", home / "validator.key", "--transport", home / "transport.key", "--address", address)
    people = ("--trainer", f"{name}={home / 'trainer.key'}", "--officer", f"{name}-officer={home / 'officer.key'}")
    done = foedus("genesis", "card", name, *node, *people, "--out", directory / f"{name}.card.json")
    assert done.code == 0, done.err


def cards(directory: Path) -> list[Path]:
    return [directory / f"{name}.card.json" for name in NAMES]


def signatures(directory: Path) -> list[Path]:
    return [directory / f"{name}.signature.json" for name in NAMES]


def init(foedus: Shell, papers: Path, name: str, *more: object) -> Outcome:
    keys = ("--validator", papers / name / "validator.key", "--transport", papers / name / "transport.key")
    return foedus("node", "init", papers / name, "--genesis", papers / "genesis.json", *keys, *more)


def test_the_same_cards_give_the_same_bytes_whoever_assembles_them(foedus: Shell, papers: Path) -> None:
    again = foedus("genesis", "build", *reversed(cards(papers)), "--task", "heart", "--out", papers / "again.json")
    assert again.code == 0
    assert (papers / "again.json").read_bytes() == (papers / "genesis.json").read_bytes()


def test_an_existing_document_is_not_overwritten(foedus: Shell, papers: Path) -> None:
    before = (papers / "genesis.json").read_bytes()
    done = foedus("genesis", "build", *cards(papers), "--out", papers / "genesis.json")
    assert (done.code, "exists" in done.err) == (1, True)
    assert (papers / "genesis.json").read_bytes() == before


def test_one_person_may_be_trainer_and_officer(foedus: Shell, tmp_path: Path) -> None:
    for use in ("v", "t", "p"):
        foedus("keys", "new", tmp_path / use, "--in-clear")
    both = ("--trainer", f"x={tmp_path / 'p'}", "--officer", f"x={tmp_path / 'p'}")
    keys = ("--validator", tmp_path / "v", "--transport", tmp_path / "t")
    assert foedus("genesis", "card", "x", *keys, *both, "--out", tmp_path / "card").code == 0
    people = json.loads((tmp_path / "card").read_text())["membership"]["participants"]
    assert [(one["name"], one["roles"]) for one in people] == [("x", ["trainer", "officer"])]


@pytest.mark.parametrize(
    "options,hint",
    [
        (("--validator", "v"), "both --validator and --transport"),
        (("--trainer", "x"), "NAME=FILE"),
        (("--trainer", "x=gone.key"), "no such key file"),
        ((), "brings neither"),
    ],
)
def test_a_card_that_cannot_be_made_is_answered_with_what_is_needed(
    foedus: Shell, tmp_path: Path, options: tuple[str, ...], hint: str
) -> None:
    done = foedus("genesis", "card", "x", *options, "--out", tmp_path / "card")
    assert (done.code, done.out, (tmp_path / "card").exists()) == (1, "", False)
    assert hint in done.err


def test_nothing_is_signed_when_the_document_differs_from_a_card(foedus: Shell, papers: Path) -> None:
    make_card(foedus, papers, "e", "127.0.0.1:7009")
    (papers / "a.card.json").unlink()
    tree = json.loads((papers / "genesis.json").read_text())
    tree["validators"]["members"][1]["address"] = "mallory.example:7002"
    (papers / "changed.json").write_text(json.dumps(tree))
    key, out = papers / "a" / "validator.key", papers / "out"
    done = foedus("genesis", "sign", papers / "changed.json", cards(papers)[1], "--key", key, "--out", out)
    assert (done.code, out.exists()) == (1, False)
    assert "nothing was signed" in done.err
    assert "b: the document has another node" in done.err


def test_who_is_missing_is_named(foedus: Shell, papers: Path) -> None:
    done = foedus("genesis", "verify", papers / "genesis.json", *signatures(papers)[1:], "--json")
    assert (done.code, done.answer["complete"], done.answer["missing"]) == (1, False, ["a"])
    assert "1 of 4 members have not signed the genesis document: a" in done.err
    assert "gave no card of theirs: a, b, c, d" in done.err
    collect = ("--collect", papers / "all.json")
    assert foedus("genesis", "verify", papers / "genesis.json", *signatures(papers)[1:], *collect).code == 1
    assert not (papers / "all.json").exists()
    assert foedus("genesis", "verify", papers / "genesis.json", *signatures(papers), *cards(papers), *collect).code == 0


def test_a_signature_under_another_document_does_not_count(foedus: Shell, papers: Path) -> None:
    foedus("genesis", "build", *cards(papers), "--chain-name", "other", "--out", papers / "other.json")
    done = foedus("genesis", "verify", papers / "other.json", *signatures(papers))
    assert (done.code, "this document is chain" in done.err) == (1, True)
    assert "neither a card" in foedus("genesis", "verify", papers / "other.json", papers / "genesis.json").err


def test_a_task_file_and_parameters_are_part_of_the_agreement(foedus: Shell, papers: Path) -> None:
    (papers / "task.toml").write_text(foedus("task", "template", "--id", "mine", "--rounds", 7).out)
    (papers / "p.toml").write_text("view_timeout_ms = 900\n")
    options = ("--task", papers / "task.toml", "--parameters", papers / "p.toml", "--out", papers / "g.json")
    assert foedus("genesis", "build", *cards(papers), *options).code == 0
    document = load_document(papers / "g.json")
    assert (document.learning.tasks[0].id, document.learning.tasks[0].rounds) == ("mine", 7)
    assert document.parameters.view_timeout_ms == 900
    (papers / "p.toml").write_text("view_timeout = 900\n")
    done = foedus("genesis", "build", *cards(papers), "--parameters", papers / "p.toml", "--out", papers / "h.json")
    assert (done.code, "did you mean view_timeout_ms" in done.err) == (1, True)
    assert "did you mean heart?" in foedus("genesis", "build", *cards(papers), "--task", "hart").err


def test_settings_follow_from_document_and_keys(foedus: Shell, papers: Path) -> None:
    assert init(foedus, papers, "b", "--api-port", 9001).code == 0
    config = load_config(papers / "b" / "node.toml", {}).config
    assert (config.node.name, config.peer.port, config.api.port) == ("b", 7002, 9001)
    written = tomllib.loads((papers / "b" / "node.toml").read_text())
    assert written["keys"]["validator"] == "validator.key"
    assert written["genesis"] == {"path": str(papers / "genesis.json")}
    assert init(foedus, papers, "b").code == 1


def test_settings_are_made_with_ones_own_keys_and_every_signature_or_not_at_all(foedus: Shell, papers: Path) -> None:
    keys = ("--validator", papers / "a" / "validator.key", "--transport", papers / "b" / "transport.key")
    mixed = foedus("node", "init", papers / "a", "--genesis", papers / "genesis.json", *keys)
    assert (mixed.code, "names transport key" in mixed.err) == (1, True)
    some = papers / "some.json"
    some.write_text(signatures(papers)[0].read_text())
    assert "3 of 4 members have not signed" in init(foedus, papers, "a", "--signatures", some).err
    assert not (papers / "a" / "node.toml").exists()
    assert "needs HTTPS" in init(foedus, papers, "a", "--api-host", "192.0.2.1").err
    assert not (papers / "a" / "node.toml").exists()


def test_a_node_does_not_start_with_a_document_that_somebody_has_not_signed(foedus: Shell, papers: Path) -> None:
    everybody = papers / "all.json"
    foedus("genesis", "verify", papers / "genesis.json", *signatures(papers), "--collect", everybody)
    assert init(foedus, papers, "a", "--signatures", everybody).code == 0
    tree = json.loads(everybody.read_text())
    tree["signatures"] = tree["signatures"][:3]
    everybody.write_text(json.dumps(tree))
    command = [sys.executable, "-m", "foedus", "node", "run", "--config", str(papers / "a" / "node.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "1 of 4 members have not signed" in done.stderr) == (1, True)
