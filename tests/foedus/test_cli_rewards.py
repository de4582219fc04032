"""Credits by command and by SDK, against a real ledger behind a real API: issued, funded, earned, handed on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import foedus as sdk
from tests.foedus.commands import Shell
from tests.foedus.desk import Desk, serving_desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with serving_desk(tmp_path) as opened:
        yield opened


def speaking(desk: Desk, name: str) -> tuple[object, ...]:
    return ("--key", desk.key(f"{name}-officer"), "--url", desk.url, "--genesis", desk.genesis, "--json")


def issued(desk: Desk, foedus: Shell, to: str, amount: int) -> None:
    proposed = foedus("reward", "issue", to, amount, "--memo", "budget", *speaking(desk, "alpha"))
    assert proposed.code == 0, proposed.err
    for name in ("beta", "gamma"):
        assert foedus("proposal", "approve", proposed.answer["number"], *speaking(desk, name)).code == 0


def test_credits_are_issued_by_vote_funded_earned_and_handed_on(desk: Desk, foedus: Shell, tmp_path: Path) -> None:
    issued(desk, foedus, "gamma", 900)
    assert foedus("reward", "fund", 600, "--task", "toy", *speaking(desk, "gamma")).code == 0
    for name, value in (("alpha", 0.25), ("beta", 0.75)):
        model = desk.toy_model(name, value)
        said = ("--key", desk.key(name), "--url", desk.url, "--genesis", desk.genesis, "--samples", 10)
        done = foedus("submit", model, *said)
        assert done.code == 0, done.err
    desk.wait_for_round(2)

    paid = foedus("reward", "round", 1, "--task", "toy", "--url", desk.url, "--json").answer
    assert (paid["stake"], paid["paid"]) == (200, 0)  # both say the same, so neither has anybody to agree with
    pot = foedus("reward", "pot", "--url", desk.url, "--json").answer
    assert (pot["escrow"], pot["funded"], pot["returned"]) == (400, 600, 200)
    assert foedus("reward", "transfer", "beta", 100, "--memo", "labels", *speaking(desk, "gamma")).code == 0
    assert foedus("reward", "redeem", 50, *speaking(desk, "gamma")).code == 0

    lines = foedus("reward", "statement", "gamma", "--url", desk.url).out.splitlines()[1:]
    assert [line.split("\t")[2:5] for line in lines] == [
        ["redeemed", "-50", "150"],
        ["sent", "-100", "200"],
        ["funded", "-600", "300"],
        ["issued", "+900", "900"],
    ]
    shown = foedus("reward", "balance", "--url", desk.url).out
    assert "900 issued - 50 redeemed = 250 in accounts + 400 in pots + 200 in the treasury" in shown
    assert foedus("reward", "balance", "beta", "--url", desk.url, "--json").answer["balance"] == 100
    proven = foedus("query", "account/beta", "--url", desk.url, "--genesis", desk.genesis, "--json").answer
    assert proven["value"]["balance"] == 100  # type: ignore[index]


def test_what_cannot_be_paid_is_refused_with_the_reason(desk: Desk, foedus: Shell) -> None:
    poor = foedus("reward", "transfer", "beta", 1, *speaking(desk, "alpha"))
    assert (poor.code, "alpha has 0 credits, 1 are needed" in poor.err) == (1, True)
    assert "account.unknown" in foedus("reward", "statement", "alpha", "--url", desk.url).err
    assert "pot.unknown" in foedus("reward", "pot", "--url", desk.url).err
    assert "settlement.unknown" in foedus("reward", "round", "--url", desk.url).err
    assert foedus("reward", "balance", "--url", desk.url, "--json").answer["items"] == []
    grant = foedus("reward", "grant", "beta", 5, *speaking(desk, "alpha"))
    assert (grant.code, "the treasury has 0 credits" in grant.err) == (1, True)


def test_the_sdk_tells_and_moves_credits(desk: Desk, foedus: Shell) -> None:
    issued(desk, foedus, "alpha", 40)
    with sdk.connect(desk.url, key=desk.key("alpha-officer"), genesis=desk.genesis, task="toy") as session:
        session.fund(10)
        session.transfer("delta", 5, memo="thanks")
        own, theirs = session.account(), session.account("delta")
        kinds = [one.kind for one in session.statement().items]

    assert (own.balance, theirs.balance, theirs.organisation) == (25, 5, "delta")
    assert kinds == ["sent", "funded", "issued"]
