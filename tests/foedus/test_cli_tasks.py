"""Officers and trainers on the command line, against a real ledger behind a real API."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.foedus.commands import Shell
from tests.foedus.desk import Desk, serving_desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with serving_desk(tmp_path) as opened:
        yield opened


def plan(desk: Desk, foedus: Shell, *options: object, name: str = "second") -> Path:
    done = foedus("task", "template", "--id", name, "--rule", "median", "--rounds", 2, *options)
    assert done.code == 0, done.err
    path = desk.directory / f"{name}.toml"
    path.write_text(done.out)
    return path


def test_a_task_becomes_active_when_a_quorum_of_organisations_agreed(desk: Desk, foedus: Shell) -> None:
    path = plan(desk, foedus)
    where = ("--url", desk.url, "--genesis", desk.genesis, "--json")
    proposed = foedus("task", "propose", path, "--key", desk.key("alpha-officer"), *where)
    assert (proposed.code, proposed.answer["status"], proposed.answer["approvals"]) == (0, "proposed", ["alpha"])
    digest = proposed.answer["digest"]
    again = foedus("task", "approve", "second", "--key", desk.key("beta-officer"), "--digest", digest, *where)
    assert (again.code, again.answer["approvals"]) == (0, ["alpha", "beta"])
    last = foedus("task", "approve", "second", "--key", desk.key("gamma-officer"), *where)
    assert (last.answer["status"], last.answer["approvals"]) == ("active", ["alpha", "beta", "gamma"])
    late = foedus("task", "approve", "second", "--key", desk.key("delta-officer"), "--url", desk.url)
    assert (late.code, "task.decided" in late.err) == (1, True)
    shown = foedus("task", "show", "second", "--url", desk.url).out
    assert "approved by   alpha, beta, gamma" in shown


def test_an_officer_agrees_to_what_he_has_read_and_to_nothing_else(desk: Desk, foedus: Shell) -> None:
    foedus("task", "propose", plan(desk, foedus), "--key", desk.key("alpha-officer"), "--url", desk.url)
    done = foedus(
        "task", "approve", "second", "--key", desk.key("beta-officer"), "--digest", "ab" * 32, "--url", desk.url
    )
    assert (done.code, "read it again" in done.err) == (1, True)
    assert json.loads(foedus("task", "show", "second", "--url", desk.url, "--json").out)["approvals"] == ["alpha"]


def test_a_task_begins_with_the_model_that_was_proposed(desk: Desk, foedus: Shell) -> None:
    model = desk.model("first", layer=np.array([[100.0, -0.5]]), bias=np.array([0.25]))
    path = plan(desk, foedus, "--model", model)
    assert [tensor["name"] for tensor in tomllib.loads(path.read_text())["tensors"]] == ["bias", "layer"]
    officer = ("--key", desk.key("alpha-officer"), "--url", desk.url)
    assert foedus("task", "propose", path, "--initial-model", model, *officer).code == 0
    for name in ("beta", "gamma"):
        foedus("task", "approve", "second", "--key", desk.key(f"{name}-officer"), "--url", desk.url)
    made = foedus("model", "import", model, desk.directory / "m.payload", "--task-file", path, "--json").answer
    shown = foedus("model", "show", "0", "--task", "second", "--url", desk.url, "--json").answer
    assert shown["payload"] == made["payload"]
    out = desk.directory / "out.safetensors"
    foedus("model", "export", out, "0", "--task", "second", "--url", desk.url)
    exported, given = load_file(out), load_file(model)
    assert all(np.array_equal(exported[name], given[name]) for name in given)
    for file in (out, model, desk.directory / "m.payload"):
        checked = foedus(
            "verify", file, "--genesis", desk.genesis, "--task", "second", "--version", 0, "--url", desk.url
        )
        assert (checked.code, "verified  yes" in checked.out) == (0, True), file


@pytest.mark.parametrize(
    "old,new,hint",
    [
        ("updates_min = 3", "updates_mim = 3", "did you mean updates_min?"),
        ("updates_min = 3", "updates_min = 30", "task.unsound"),
        ('rule = "median/1"', 'rule = "median"', "did you mean median/1?"),
        ("[[tensors]]", "[tensors]", "tensors: needs a list"),
        ("rounds = 2", "rounds = ", "not TOML"),
    ],
)
def test_a_faulty_task_file_is_answered_with_what_is_wrong(
    desk: Desk, foedus: Shell, old: str, new: str, hint: str
) -> None:
    path = plan(desk, foedus)
    text = path.read_text()
    assert old in text
    path.write_text(text.split("[[tensors]]")[0] + "[tensors]\n" if new == "[tensors]" else text.replace(old, new))
    done = foedus("task", "propose", path, "--key", desk.key("alpha-officer"), "--url", desk.url)
    assert (done.code, done.out) == (1, "")
    assert hint in done.err


def test_a_trainer_is_no_officer(desk: Desk, foedus: Shell) -> None:
    done = foedus("task", "propose", plan(desk, foedus), "--key", desk.key("alpha"), "--url", desk.url)
    assert (done.code, "task.not_officer" in done.err) == (1, True)


def test_a_round_is_trained_from_files_alone(desk: Desk, foedus: Shell) -> None:
    trained = desk.toy_model("trained", 0.5)
    options = ("--samples", 10, "--metric", "auc=0.75", "--url", desk.url, "--genesis", desk.genesis, "--json")
    first = foedus("submit", trained, "--key", desk.key("alpha"), "--base", 0, *options)
    assert (first.code, first.answer["round"], first.answer["saturated"]) == (0, 1, 0), first.err
    waiting = foedus("submit", trained, "--key", desk.key("alpha"), "--wait", 0.5, *options)
    assert (waiting.code, "no round of toy was open for you" in waiting.err) == (1, True)
    assert foedus("submit", trained, "--key", desk.key("beta"), *options).code == 0
    desk.wait_for_round(2)
    out = desk.directory / "model.safetensors"
    assert foedus("model", "export", out, "1", "--url", desk.url).code == 0
    assert np.array_equal(load_file(out)["weight"], np.full((2, 3), 0.5, np.float32))
    shown = foedus("round", "show", "1", "--url", desk.url).out
    assert "auc=0.75" in shown
    stale = foedus("submit", trained, "--key", desk.key("alpha"), "--base", 0, *options)
    assert (stale.code, "round 2 starts from model 1" in stale.err) == (1, True)


def test_only_a_model_of_the_task_is_submitted(desk: Desk, foedus: Shell) -> None:
    options = ("--samples", 10, "--key", desk.key("alpha"), "--url", desk.url)
    other = foedus("submit", desk.model("other", weight=np.zeros((2, 3))), *options)
    assert (other.code, "missing: bias" in other.err) == (1, True)
    broken = desk.directory / "broken.safetensors"
    broken.write_bytes(b"no tensors")
    assert "no safetensors file" in foedus("submit", broken, *options).err
    nan = foedus("submit", desk.toy_model("nan", float("nan")), *options)
    assert (nan.code, "NaN" in nan.err) == (1, True)


def test_a_facts_proof_is_checked_and_travels(desk: Desk, foedus: Shell) -> None:
    foedus("submit", desk.toy_model("m", 0.5), "--samples", 1, "--key", desk.key("alpha"), "--url", desk.url)
    proof = desk.directory / "round.proof"
    asked = foedus("query", "round/toy/1", "--genesis", desk.genesis, "--proof", proof, "--url", desk.url, "--json")
    value = asked.answer["value"]
    assert isinstance(value, dict)
    assert (asked.answer["verified"], value["participants"]) == (True, ["alpha"])
    assert foedus("verify", proof, "--genesis", desk.genesis, "--json").answer["verified"] is True
    damaged = bytearray(proof.read_bytes())
    damaged[damaged.index(b"alpha")] ^= 1
    proof.write_bytes(bytes(damaged))
    done = foedus("verify", proof, "--genesis", desk.genesis, "--json")
    assert (done.code, done.answer["verified"]) == (3, False)
    assert "does not lead" in str(done.answer["reason"])


def test_absence_is_proven_too(desk: Desk, foedus: Shell) -> None:
    foedus("submit", desk.toy_model("m", 0.5), "--samples", 1, "--key", desk.key("alpha"), "--url", desk.url)
    done = foedus("query", "task/none", "--genesis", desk.genesis, "--url", desk.url)
    assert (done.code, "that is proven" in done.err) == (1, True)


@pytest.mark.parametrize(
    "name,hint",
    [
        ("rounds/toy/1", "did you mean round?"),
        ("round/toy", "round/TASK/NUMBER is needed"),
        ("round/toy/x", "a number is needed"),
        ("0xzz", "hexadecimal"),
        ("participant/alpha", "a public key in hexadecimal"),
    ],
)
def test_a_name_of_no_fact_is_answered_with_what_is_needed(desk: Desk, foedus: Shell, name: str, hint: str) -> None:
    done = foedus("query", name, "--url", desk.url)
    assert (done.code, hint in done.err) == (1, True), done.err


def test_every_kind_of_fact_can_be_asked_for(desk: Desk, foedus: Shell) -> None:
    for name in ("alpha", "beta"):
        foedus("submit", desk.toy_model("m", 0.5), "--samples", 1, "--key", desk.key(name), "--url", desk.url)
    desk.wait_for_round(2)
    key = desk.document.learning.participants[0].public_key.hex()
    names = [
        "validators",
        "parameters",
        "active-tasks",
        f"participant/{key}",
        f"nonce/{key}",
        "task/toy",
        "round/toy/1",
    ]
    names += ["result/toy/1", "update/toy/1/alpha", "model/toy/1", f"0x{b'ledger/validators'.hex()}"]
    for name in names:
        done = foedus("query", name, "--genesis", desk.genesis, "--url", desk.url, "--json")
        assert (done.code, done.answer["found"]) == (0, True), name


def test_a_model_that_the_chain_does_not_certify_is_told_from_one_that_it_does(desk: Desk, foedus: Shell) -> None:
    for name in ("alpha", "beta"):
        foedus("submit", desk.toy_model("m", 0.5), "--samples", 1, "--key", desk.key(name), "--url", desk.url)
    desk.wait_for_round(2)
    trusted = ("--genesis", desk.genesis, "--url", desk.url, "--json")
    assert foedus("verify", desk.toy_model("same", 0.5), *trusted).answer["version"] == 1
    almost = desk.model("almost", weight=np.full((2, 3), 0.5), bias=np.nextafter(np.float32(0.5), np.float32(1)))
    done = foedus("verify", almost, *trusted)
    assert (done.code, done.answer["reason"]) == (3, "1 of 1 values of tensor bias differ from model 1 of toy")


def test_participants_are_shown_by_name_and_by_key(desk: Desk, foedus: Shell) -> None:
    assert len(foedus("participant", "list", "--url", desk.url).out.splitlines()) == 9
    one = foedus("participant", "show", "alpha", "--url", desk.url, "--json").answer
    assert (one["organisation"], one["roles"], one["transactions"]) == ("alpha", ["trainer"], 0)
    assert foedus("participant", "show", one["public_key"], "--url", desk.url, "--json").answer == one
    assert "did you mean alpha?" in foedus("participant", "show", "alfa", "--url", desk.url).err
