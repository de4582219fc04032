"""Joining, leaving and new keys on the command line, against a real ledger behind a real API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from genesis.keys import new_key, write_key
from tests.foedus.commands import Shell
from tests.foedus.desk import Desk, serving_desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with serving_desk(tmp_path) as opened:
        yield opened


def speaking(desk: Desk, name: str) -> tuple[object, ...]:
    return ("--key", desk.key(f"{name}-officer"), "--url", desk.url, "--genesis", desk.genesis, "--json")


def keys(desk: Desk, name: str, *uses: str) -> list[Path]:
    paths = [desk.directory / f"{name}-{use}.key" for use in uses]
    for path in paths:
        write_key(path, new_key(), owner=name)
    return paths


def test_an_institution_is_put_out_by_the_votes_of_the_others(desk: Desk, foedus: Shell) -> None:
    proposed = foedus("validator", "remove", "delta", *speaking(desk, "alpha"))
    assert (proposed.code, proposed.answer["status"], proposed.answer["number"]) == (0, "open", 1), proposed.err
    own = foedus("proposal", "approve", 1, *speaking(desk, "delta"))
    assert (own.code, "governance.subject" in own.err) == (1, True)
    unread = foedus("proposal", "approve", 1, "--digest", "ab" * 32, *speaking(desk, "beta"))
    assert (unread.code, "read it again" in unread.err) == (1, True)
    unknown = foedus("proposal", "approve", 7, *speaking(desk, "beta"))
    assert (unknown.code, "foedus proposal list" in unknown.err) == (1, True)

    for name, status in (("beta", "open"), ("gamma", "enacted")):
        done = foedus("proposal", "approve", 1, "--digest", proposed.answer["digest"], *speaking(desk, name))
        assert (done.code, done.answer["status"]) == (0, status), done.err

    assert "remove-member" in foedus("proposal", "list", "--url", desk.url).out
    assert "delta" not in foedus("validator", "list", "--url", desk.url).out
    assert "delta" in foedus("validator", "list", "--height", 1, "--url", desk.url).out
    facts = ("--url", desk.url, "--genesis", desk.genesis)
    proof = desk.directory / "proposal.proof"
    assert foedus("query", "proposal/1", "--proof", proof, *facts).code == 0
    assert foedus("verify", proof, "--genesis", desk.genesis).code == 0, "the proof leads there from genesis"
    assert foedus("query", "reigns", *facts).code == 0
    again = foedus("validator", "remove", "nobody", *speaking(desk, "alpha"))
    assert (again.code, again.answer["status"]) == (0, "nothing to do")


def test_a_card_for_this_chain_is_put_to_the_vote_and_one_for_another_is_not(desk: Desk, foedus: Shell) -> None:
    voting, connecting, officer = keys(desk, "basel", "validator", "transport", "officer")
    card = ("genesis", "card", "basel", "--validator", voting, "--transport", connecting, "--address", "basel:7001")
    people = ("--officer", f"basel-officer={officer}")
    wrong, right = desk.directory / "wrong.json", desk.directory / "right.json"
    assert foedus(*card, *people, "--out", wrong).code == 0
    assert foedus(*card, *people, "--join", desk.genesis, "--out", right).code == 0

    refused = foedus("validator", "add", wrong, *speaking(desk, "alpha"))
    assert (refused.code, "does not match what the card says" in refused.err) == (1, True)
    done = foedus("validator", "add", right, *speaking(desk, "alpha"))
    assert (done.code, done.answer["status"], done.answer["approvals"]) == (0, "open", ["alpha"]), done.err

    where = desk.directory / "basel-node"
    made = foedus(
        *("node", "init", where, "--genesis", desk.genesis, "--card", right),
        *("--validator", voting, "--transport", connecting),
    )
    assert made.code == 0, made.err
    assert 'name = "basel"' in (where / "node.toml").read_text()


def test_lost_keys_are_asked_for_with_proof_and_voted_on(desk: Desk, foedus: Shell) -> None:
    voting, connecting = keys(desk, "delta", "validator", "transport")
    request = desk.directory / "replacement.bin"
    options = ("--validator", voting, "--transport", connecting, "--out", request, "--url", desk.url)
    assert foedus("validator", "replacement", "delta", *options, "--genesis", desk.genesis).code == 0
    unknown = foedus("validator", "replacement", "zeta", *options)
    assert (unknown.code, "knows no validator zeta" in unknown.err) == (1, True)

    done = foedus("validator", "replace-keys", request, *speaking(desk, "alpha"))

    assert (done.code, done.answer["status"]) == (0, "open"), done.err
    assert foedus("evidence", "list", "--url", desk.url, "--json").answer["items"] == []
    assert foedus("validator", "reinstate", "delta", *speaking(desk, "beta")).answer["status"] == "nothing to do"
