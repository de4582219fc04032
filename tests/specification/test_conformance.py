"""Every step of the replicas is one that the specification allows, and broken replicas are told apart by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consensus import SafetyRecordError, view_change
from consensus.events import Effect, Persist
from consensus.messages import PreparedClaim, ViewChange, ViewChangeCertificate, ViewChangeClaim
from consensus.outbox import Outbox
from consensus.safety import EnteredRecord, OwnWords
from consensus.voter import Voter
from ledger.fields import View
from ledger.validators import ValidatorSet
from tests.specification import quint
from tests.specification.cores import HEIGHTS, Recording
from tests.specification.driving import DifferenceError, Stage, runs
from tests.specification.replay import first_difference
from tests.specification.words import Move

pytestmark = [
    pytest.mark.xdist_group("specification"),
    pytest.mark.skipif(not quint.is_installed(), reason="needs the simulator that `make spec` installs with npm"),
]
NOBODY: frozenset[int] = frozenset()
ONE = frozenset({1})
STEPS = 3_000


@pytest.mark.parametrize(
    "liars, seed", [pytest.param(NOBODY, 3, id="nobody lies"), pytest.param(ONE, 2, id="one lies")]
)
def test_what_replicas_do_is_what_the_specification_allows(liars: frozenset[int], seed: int, tmp_path: Path) -> None:
    """`make spec` replays more."""
    assert first_difference([Recording(seed, liars).run(STEPS)], liars, tmp_path) == ""


def test_the_recordings_contain_every_kind_of_step_and_a_new_set() -> None:
    recordings = [Recording(seed, ONE).run(STEPS) for seed in range(8)]
    moves = [entry.what for recording in recordings for entry in recording.entries if isinstance(entry.what, Move)]

    assert {move.kind for move in moves} == {"enter", "propose", "prepare", "commit", "ask", "decide"}
    assert any(move.who == 4 and move.kind != "decide" for move in moves), "the new member takes part"
    assert any(move.demanded.block and move.kind == "prepare" for move in moves), "a prepared block is proposed again"
    assert any(len(core.chain) == HEIGHTS for recording in recordings for core in recording._cores.values())


def _forget_what_was_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Voter, "can_vote", property(lambda voter: voter.can_sign))
    monkeypatch.setattr(OwnWords, "_require_not_left", lambda *_: None)


def _send_first(monkeypatch: pytest.MonkeyPatch) -> None:
    take = Outbox.take

    def take_persisting_last(outbox: Outbox) -> list[Effect]:
        return sorted(take(outbox), key=lambda effect: isinstance(effect, Persist))

    monkeypatch.setattr(Outbox, "take", take_persisting_last)


def _count_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ValidatorSet, "quorum", property(lambda members: members.faulty_max + 1))


@pytest.mark.parametrize(
    "break_it, liars, seed",
    [
        pytest.param(_forget_what_was_left, ONE, 0, id="votes in a view that was left"),
        pytest.param(_send_first, NOBODY, 3, id="sends before it has persisted", marks=pytest.mark.soak),
        pytest.param(_count_too_few, NOBODY, 0, id="takes f + 1 for a quorum", marks=pytest.mark.soak),
    ],
)
def test_a_broken_replica_is_told_apart(
    break_it: Callable[[pytest.MonkeyPatch], None],
    liars: frozenset[int],
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    break_it(monkeypatch)
    recording = Recording(seed, liars)
    recording.run(STEPS)

    assert "is no step of the specification" in first_difference([recording], liars, tmp_path)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    return runs(30, 22, 7, tmp_path_factory.mktemp("runs"))


def play_all(played: list[list[dict[str, Any]]]) -> None:
    for states in played:
        Stage().play(states)


def test_what_the_specification_does_replicas_can_do(played: list[list[dict[str, Any]]]) -> None:
    play_all(played)

    moves = {state["last"]["move"]["kind"] for states in played for state in states[1:]}
    assert moves == {"enter", "propose", "prepare", "commit", "ask", "decide"}
    assert any(state["last"]["dies"] for states in played for state in states)


def _take_the_lowest(monkeypatch: pytest.MonkeyPatch) -> None:
    def lowest(claims: tuple[ViewChangeClaim, ...]) -> PreparedClaim | None:
        return min(claims, key=lambda claim: claim.prepared.view if claim.prepared else -1).prepared

    monkeypatch.setattr(view_change, "_highest_claim", lowest)


def _forget_what_was_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    def enter(voter: Voter, certificate: ViewChangeCertificate) -> None:
        voter.words.add(EnteredRecord(certificate))

    monkeypatch.setattr(Voter, "enter", enter)


def _hide_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Voter.ask

    def ask_forgetting(voter: Voter, view: View) -> ViewChange | None:
        commit, voter.words.commit = voter.words.commit, None
        try:
            return ask(voter, view)
        finally:
            voter.words.commit = commit

    monkeypatch.setattr(Voter, "ask", ask_forgetting)


@pytest.mark.parametrize(
    "break_it",
    [
        pytest.param(_take_the_lowest, id="takes the lowest certificate"),
        pytest.param(_forget_what_was_entered, id="does not write down what it entered"),
        pytest.param(_hide_the_lock, id="does not tell what it committed to"),
    ],
)
def test_a_broken_replica_cannot_follow(
    break_it: Callable[[pytest.MonkeyPatch], None],
    played: list[list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_it(monkeypatch)

    with pytest.raises((DifferenceError, SafetyRecordError)):
        play_all(played)
