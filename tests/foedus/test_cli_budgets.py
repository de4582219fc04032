"""Privacy budgets on the command line and over HTTP, against a real ledger behind a real API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import foedus as sdk
from tests.foedus.commands import Outcome, Shell
from tests.foedus.desk import Desk, serving_desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with serving_desk(tmp_path) as opened:
        yield opened


def speaking(desk: Desk, name: str) -> tuple[object, ...]:
    return ("--key", desk.key(f"{name}-officer"), "--url", desk.url, "--genesis", desk.genesis, "--json")


def agreed(desk: Desk, foedus: Shell, proposed: Outcome) -> None:
    assert proposed.code == 0, proposed.err
    foedus("proposal", "approve", proposed.answer["number"], *speaking(desk, "beta"))
    done = foedus("proposal", "approve", proposed.answer["number"], *speaking(desk, "gamma"))
    assert done.answer["status"] == "enacted", done.err


def test_a_site_is_charged_with_noise_that_it_adds_and_refused_beyond_its_budget(desk: Desk, foedus: Shell) -> None:
    terms = ("policy", "terms", "toy", "--data-set", "ecg", "--noise-micros", 1_000_000)
    agreed(desk, foedus, foedus(*terms, *speaking(desk, "alpha")))
    limits = ("--period-epsilon", 100, "--lifetime-epsilon", 6)
    proposed = foedus("budget", "propose", "alpha", "ecg", *limits, *speaking(desk, "alpha"))
    assert "6000000000" in foedus("proposal", "show", proposed.answer["number"], "--url", desk.url).out
    agreed(desk, foedus, proposed)
    for name in ("alpha", "beta"):
        with sdk.connect(desk.url, key=str(desk.key(name)), task="toy") as session:
            current = next(iter(session.rounds()))
            model = {tensor: np.asarray(array) + 0.25 for tensor, array in current.model.items()}
            current.submit(model, samples=10, clip=0.5, noise=1.0)
    desk.wait_for_round(2)

    shown = foedus("budget", "show", "alpha", "ecg", "--url", desk.url).out
    cost = foedus("budget", "cost", "--noise", 1.0, "--json").answer
    again = foedus(
        *("submit", desk.toy_model("m", 0.5), "--task", "toy", "--samples", 1),
        *("--key", desk.key("alpha"), "--url", desk.url, "--genesis", desk.genesis),
    )

    assert f"{int(str(cost['round_nanos'])) / 1e9:.4f} of 6.0000" in shown
    assert "enforced" in shown
    assert "that the site added the agreed noise" in shown
    assert (again.code, "with this round epsilon of alpha and ecg would be" in again.err) == (1, True)
    assert "attested" in foedus("budget", "list", "--url", desk.url).out.lower()
    tightened = foedus("budget", "tighten", "ecg", *limits[:2], "--lifetime-epsilon", 5, *speaking(desk, "alpha"))
    assert tightened.code == 0, tightened.err
    loosened = foedus("budget", "tighten", "ecg", *limits[:2], "--lifetime-epsilon", 7, *speaking(desk, "alpha"))
    assert (loosened.code, "budget.not_tighter" in loosened.err) == (1, True)


def test_what_a_mechanism_costs_is_said_without_a_node(foedus: Shell) -> None:
    done = foedus("budget", "cost", "--noise", 1.1, "--sampling", 0.02, "--steps", 200, "--rounds", 25)
    assert "25 rounds" in done.out
    assert "without bound" in foedus("budget", "cost", "--noise", 0).out
    unknown = foedus("budget", "show", "nobody", "ecg", "--url", "http://127.0.0.1:1")
    assert unknown.code == 1
