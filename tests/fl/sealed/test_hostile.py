"""One validator that posts anything at any time: the round ends as without it, and only it is named."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from fl.sealed.certificate import Certified, Violated
from fl.sealed.field import MERSENNE
from fl.sealed.messages import (
    Folds,
    Functionals,
    GramShares,
    Outcome,
    RoundMessage,
    SumCommitment,
    Suspicion,
    SuspicionVerdict,
    Update,
)
from fl.sealed.round import SealedRound
from ledger.digest import Digest
from tests.fl.sealed.consortium import phase_of, play
from tests.fl.sealed.test_rounds import sound_case

LIAR = 3


def garbage(dice: random.Random, rows: int) -> Iterator[RoundMessage]:
    """A message of each kind, of a length that may be right and with values that may be elements."""
    pairs, values = rows * (rows + 1) // 2, [0, 1, MERSENNE - 1, MERSENNE, 2**64, -1, dice.randrange(MERSENNE)]

    def some(count: int) -> tuple[int, ...]:
        length = max(0, count + dice.choice([-1, 0, 0, 0, 1]))
        return tuple(dice.choice(values if dice.random() < 0.2 else values[:3]) for _ in range(length))

    def root() -> Digest:
        return Digest(dice.randbytes(dice.choice([0, 31, 32, 32, 33])))

    verdicts: list[Certified | Violated] = [Certified(), Violated("length", 0), Violated("coordinate", 2**40)]
    yield Update(dice.choice([-1, 64, 10**9]), root(), dice.choice([0, 1]))
    yield Update(0, root(), dice.choice([-1, 0, 2**41]))
    yield GramShares(LIAR, some(pairs))
    yield SumCommitment(LIAR, root())
    yield Folds(LIAR, some(2))
    yield Suspicion(LIAR, dice.randrange(-1, 6))
    yield SuspicionVerdict(LIAR, dice.randrange(-1, 6), dice.random() < 0.5)
    yield Outcome(LIAR, root(), dice.choice(verdicts))
    yield Functionals(LIAR, dice.randrange(-1, 3), some(rows))
    yield GramShares(dice.choice([-1, 4, 10**6]), some(pairs))


@pytest.mark.parametrize("seed", range(6))
def test_a_validator_that_posts_anything_at_any_time_changes_nothing(seed: int) -> None:
    dice, played = random.Random(seed), play(sound_case())
    rows = len(played.running.participants)
    running = SealedRound(played.committee, played.task, played.slots[-1], seed=b"lots")

    def disturb() -> None:
        posts = list(garbage(dice, rows))
        for message in dice.sample(posts, dice.randint(0, len(posts))):
            running.handle(message)

    for message in played.log:
        disturb()
        if isinstance(message, GramShares) and phase_of(running) == "updates":
            running.close_updates()
        if isinstance(message, Folds) and phase_of(running) == "sums":
            assert running.close_sums(played.running.challenge)
        if isinstance(message, Update) or message.validator != LIAR:
            assert running.handle(message) is None
        disturb()

    assert phase_of(running) == "done"
    assert (running.gram, running.selection) == (played.running.gram, played.running.selection)
    assert running.outcome is not None
    assert played.running.outcome is not None
    assert running.outcome.root == played.running.outcome.root
    assert {(one.role, one.seat) for one in running.blamed} == {("validator", LIAR)}


def test_a_round_takes_nothing_before_its_phase() -> None:
    played = play(sound_case())
    running = SealedRound(played.committee, played.task, played.slots[-1])

    answers = [running.handle(message) for message in played.log if not isinstance(message, Update)]

    assert set(answers) <= {"not_now", "malformed"}
    assert running.blamed == []
    assert phase_of(running) == "updates"
