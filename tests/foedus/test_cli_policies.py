"""Policies on the command line and over HTTP, against a real ledger behind a real API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.foedus.commands import Outcome, Shell
from tests.foedus.desk import Desk, serving_desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with serving_desk(tmp_path) as opened:
        yield opened


def speaking(desk: Desk, name: str) -> tuple[object, ...]:
    return ("--key", desk.key(f"{name}-officer"), "--url", desk.url, "--genesis", desk.genesis, "--json")


def written(desk: Desk, foedus: Shell, name: str, *changes: tuple[str, str]) -> Path:
    text = foedus("policy", "template", name).out
    for before, after in changes:
        text = text.replace(before, after)
    path = desk.directory / f"{name}.toml"
    path.write_text(text)
    return path


def agreed(desk: Desk, foedus: Shell, proposed: Outcome) -> Outcome:
    """Have two more institutions approve a proposal; return what the last one was told."""
    assert proposed.code == 0, proposed.err
    foedus("proposal", "approve", proposed.answer["number"], *speaking(desk, "beta"))
    return foedus("proposal", "approve", proposed.answer["number"], *speaking(desk, "gamma"))


def submit(desk: Desk, foedus: Shell, samples: int) -> Outcome:
    model = desk.toy_model(f"m{samples}", 0.5)
    key = ("--key", desk.key("alpha"), "--url", desk.url, "--genesis", desk.genesis)
    return foedus("submit", model, "--task", "toy", "--samples", samples, *key)


def test_a_policy_that_a_quorum_adopted_refuses_an_update_by_name_clause_and_values(desk: Desk, foedus: Shell) -> None:
    path = written(desk, foedus, "minimum-samples")
    proposed = foedus("policy", "propose", path, *speaking(desk, "alpha"))
    shown = foedus("proposal", "show", 1, "--url", desk.url).out
    assert "clause 1" in shown
    assert "update.samples >= 50" in shown
    assert agreed(desk, foedus, proposed).answer["status"] == "enacted"

    denied = submit(desk, foedus, 49)

    assert denied.code == 1
    assert "policy minimum-samples, clause 1: update.samples >= 50; update.samples = 49" in denied.err
    assert submit(desk, foedus, 50).code == 0
    listed = json.loads(foedus("policy", "list", "--url", desk.url, "--json").out)["items"]
    checked = foedus("policy", "check", path, "--json").answer
    assert [(one["name"], one["tree"]) for one in listed] == [("minimum-samples", checked["tree"])]
    assert "in force" in foedus("policy", "show", "minimum-samples", "--url", desk.url).out
    assert foedus("query", "policy/minimum-samples", "--url", desk.url, "--genesis", desk.genesis).code == 0
    assert foedus("query", "policies-in-force", "--url", desk.url, "--genesis", desk.genesis).code == 0

    repealed = agreed(desk, foedus, foedus("policy", "repeal", "minimum-samples", *speaking(desk, "alpha")))
    assert repealed.answer["status"] == "enacted"
    assert "repealed in" in foedus("policy", "list", "--url", desk.url).out


def test_terms_and_a_sites_declaration_are_what_a_policy_sees(desk: Desk, foedus: Shell) -> None:
    policy = written(desk, foedus, "allowed-purposes")
    agreed(desk, foedus, foedus("policy", "propose", policy, *speaking(desk, "alpha")))
    assert 'task.purpose = ""' in submit(desk, foedus, 10).err

    terms = foedus("policy", "terms", "toy", "--purpose", "research", *speaking(desk, "alpha"))
    assert "research" in foedus("proposal", "show", terms.answer["number"], "--url", desk.url).out
    assert agreed(desk, foedus, terms).answer["status"] == "enacted"
    assert "clause 2" in submit(desk, foedus, 10).err
    said = foedus("site", "declare", "--purpose", "research", "--region", "eu", *speaking(desk, "alpha"))

    assert said.code == 0, said.err
    assert submit(desk, foedus, 10).code == 0
    assert "eu" in foedus("site", "list", "--url", desk.url).out
    assert foedus("query", "site/alpha", "--url", desk.url, "--genesis", desk.genesis).code == 0


def test_a_proposal_waits_for_second_officers_and_says_so(desk: Desk, foedus: Shell) -> None:
    policy = written(desk, foedus, "dual-control")
    agreed(desk, foedus, foedus("policy", "propose", policy, *speaking(desk, "alpha")))

    held = agreed(desk, foedus, foedus("policy", "terms", "toy", "--purpose", "care", *speaking(desk, "alpha")))

    assert held.answer["status"] == "waiting"
    shown = foedus("proposal", "show", held.answer["number"], "--url", desk.url).out
    assert "held by" in shown
    assert "policy dual-control, clause 1" in shown


def test_a_policy_file_whose_tests_fail_is_not_proposed(desk: Desk, foedus: Shell) -> None:
    path = written(desk, foedus, "minimum-samples", (">= 50", ">= 60"))

    tried = foedus("policy", "test", path)
    refused = foedus("policy", "propose", path, *speaking(desk, "alpha"))

    assert (tried.code, "FAILED" in tried.out) == (1, True)
    assert (refused.code, "wants allow, got deny by clause 1" in refused.err) == (1, True)


@pytest.mark.parametrize(
    "command,hint",
    [
        (("template", "minimum-sample"), "did you mean minimum-samples?"),
        (("check", "nothing.toml"), "nothing.toml"),
        (("show", "nothing", "--url", "URL"), "policy.unknown"),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(desk: Desk, foedus: Shell, command: tuple[str, ...], hint: str) -> None:
    done = foedus("policy", *(desk.url if part == "URL" else part for part in command))
    assert done.code == 1
    assert hint in done.err
    assert "Traceback" not in done.err


def test_all_policies_that_come_with_it_are_listed(foedus: Shell) -> None:
    items = foedus("policy", "template", "--json").answer["items"]
    assert isinstance(items, list)
    assert len(items) == 22
    assert "minimum-participants" in foedus("policy", "template").out
