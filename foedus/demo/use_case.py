"""What a demo learns: tasks with their data, trainers and baselines. One law: only judging needs everybody's data.

Trainers see their own site alone; the demo itself holds all test splits, to judge models on them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from foedus.demo.fraud import FraudStory

Model = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Score:
    """How good a model is on held-out data; shares of 1."""

    accuracy: float
    auc: float | None
    """None where it means nothing (more than two classes)."""

    recall: float | None = None
    """At 1 % false positives, where that is what counts."""

    @property
    def figure(self) -> float:
        """The figure that use case is judged by."""
        if self.recall is not None:
            return self.recall
        return self.accuracy if self.auc is None else self.auc


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the same training reaches without a ledger, over everybody's test data."""

    alone: Mapping[str, Score]
    pooled: Score
    mean_under_attack: Score


@dataclass(frozen=True, slots=True)
class UseCase:
    """A task and everything around it."""

    name: str
    """Preset of the task, and its id."""

    figure: str
    """Name of the figure it is judged by."""

    organisations: tuple[str, ...]
    """One node each."""

    trainers: tuple[str, ...]
    malicious: tuple[str, ...]
    """Trainers that attack."""

    command: Callable[[str], list[str]]
    """Trainer's name to the command that a site runs, without url, key and attack."""

    score: Callable[[Model], tuple[dict[str, Score], Score]]
    """Model to its score at each site (empty where sites share one test split) and over all."""

    compare: Callable[[int, int], Comparison]
    """Rounds and first malicious round to the baselines."""

    story: FraudStory | None = None
    """What its members decide; None when nothing is voted on."""


def heart() -> UseCase:
    """Return four hospitals, one of which turns malicious."""
    from examples.heart import baselines
    from examples.heart.data import SITES, load_sites

    sites = load_sites()
    by_trainer = {_slug(site): site for site in SITES}

    def score(model: Model) -> tuple[dict[str, Score], Score]:
        each = {_slug(site.name): _score(baselines.score(model, [site])) for site in sites}
        return each, _score(baselines.score(model, sites))

    def compare(rounds: int, malicious_from: int) -> Comparison:
        measured = baselines.measure(sites, rounds=rounds, malicious_from=malicious_from)
        alone = {_slug(name): _score(value) for name, value in measured.alone.items()}
        return Comparison(alone, _score(measured.pooled), _score(measured.mean_under_attack))

    return UseCase(
        name="heart",
        figure="auc",
        organisations=tuple(by_trainer),
        trainers=tuple(by_trainer),
        malicious=(_slug(baselines.MALICIOUS),),
        command=lambda trainer: [sys.executable, "-m", "examples.heart.trainer", "--site", by_trainer[trainer]],
        score=score,
        compare=compare,
    )


def digits() -> UseCase:
    """Return ten participants at four nodes, three of whom turn malicious."""
    from examples.digits import baselines
    from examples.digits.data import PARTICIPANTS, load_split
    from examples.digits.model import accuracy

    split = load_split()
    trainers = tuple(f"participant-{number + 1:02d}" for number in range(PARTICIPANTS))

    def score(model: Model) -> tuple[dict[str, Score], Score]:
        return {}, Score(accuracy(model, split.test), None)

    def compare(rounds: int, malicious_from: int) -> Comparison:
        measured = baselines.measure(split, rounds=rounds, malicious_from=malicious_from)
        alone = {name: Score(value, None) for name, value in zip(trainers, measured.alone, strict=True)}
        return Comparison(alone, Score(measured.pooled, None), Score(measured.mean_under_attack, None))

    def command(trainer: str) -> list[str]:
        return [sys.executable, "-m", "examples.digits.trainer", "--participant", str(trainers.index(trainer))]

    return UseCase(
        name="digits",
        figure="accuracy",
        organisations=tuple(f"site-{number}" for number in range(1, 5)),
        trainers=trainers,
        malicious=tuple(trainers[index] for index in baselines.MALICIOUS),
        command=command,
        score=score,
        compare=compare,
    )


def fraud() -> UseCase:
    """Return four banks and a free rider, who vote on policies, budgets, pay and rules."""
    from examples.fraud import baselines
    from examples.fraud.data import load_test
    from examples.fraud.model import NOISE, SAMPLING, STEPS, accuracy, recall
    from fl.privacy.records import Mechanism
    from fl.privacy.renyi import MICRO
    from foedus.demo.fraud import ABSENT, ABSENT_ROUND, FraudStory
    from genesis.presets import BANKS, FREE_RIDER

    test = load_test()
    absent = ["--absent", str(ABSENT_ROUND)]

    def judged(model: Model) -> Score:
        return Score(accuracy(model, test), None, recall(model, test))

    def compare(rounds: int, _malicious_from: int) -> Comparison:
        measured = baselines.measure(rounds)
        alone = {name: judged(model) for name, model in zip(BANKS, measured.alone, strict=True)}
        return Comparison(alone, judged(measured.pooled), judged(measured.mean))

    def command(trainer: str) -> list[str]:
        who = ["--free-rider"] if trainer == FREE_RIDER else ["--bank", trainer]
        return [sys.executable, "-m", "examples.fraud.trainer", *who, *(absent if trainer in ABSENT else [])]

    return UseCase(
        name="fraud",
        figure="recall at 1 % false positives",
        organisations=BANKS,
        trainers=(*BANKS, FREE_RIDER),
        malicious=(),
        command=command,
        score=lambda model: ({}, judged(model)),
        compare=compare,
        story=FraudStory(Mechanism(round(NOISE * MICRO), round(SAMPLING * MICRO), STEPS)),
    )


USE_CASES: Final[Mapping[str, Callable[[], UseCase]]] = {"heart": heart, "digits": digits, "fraud": fraud}


def _score(value: object) -> Score:
    return Score(value.accuracy, value.auc)  # type: ignore[attr-defined]


def _slug(site: str) -> str:
    return site.lower().replace(" ", "-")
