"""What the hospitals reach without a ledger: alone, with their records pooled, and averaging while one of them lies.

Everything takes as many gradient steps as the federation does, from the same initial model, with the same `train`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from examples import Model
from examples.averaging import averaged
from examples.heart.data import Samples, Site, load_sites
from examples.heart.model import EPOCHS, accuracy, auc, initial_model, log_odds, train

ROUNDS: Final = 25
MALICIOUS: Final = "VA Long Beach"
MALICIOUS_FROM: Final = 5


@dataclass(frozen=True, slots=True)
class Score:
    """How well a model tells the sick from the healthy on test patients; shares of 1."""

    auc: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Baselines:
    """The scores a federation is judged against, each over the test patients of all hospitals together."""

    alone: Mapping[str, Score]
    pooled: Score
    mean: Score
    mean_under_attack: Score


def measure(
    sites: Sequence[Site],
    *,
    rounds: int = ROUNDS,
    malicious: str = MALICIOUS,
    malicious_from: int = MALICIOUS_FROM,
) -> Baselines:
    """Train every baseline; takes well under a second."""
    everyone = pooled([site.train for site in sites])
    steps = EPOCHS * rounds
    return Baselines(
        alone={site.name: score(train(initial_model(), site.train, epochs=steps), sites) for site in sites},
        pooled=score(train(initial_model(), everyone, epochs=steps), sites),
        mean=score(averaged_model(sites, rounds), sites),
        mean_under_attack=score(averaged_model(sites, rounds, malicious, malicious_from), sites),
    )


def score(model: Model, sites: Sequence[Site]) -> Score:
    """Judge a model on the test patients of `sites` together, each standardised by its own site."""
    test = pooled([site.test for site in sites])
    odds = log_odds(model, test.features)
    return Score(auc(odds, test.labels), accuracy(odds, test.labels))


def pooled(parts: Sequence[Samples]) -> Samples:
    """Put the patients of several splits in one, which real hospitals may not do."""
    return Samples(
        ids=tuple(patient for part in parts for patient in part.ids),
        features=np.concatenate([part.features for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
    )


def averaged_model(sites: Sequence[Site], rounds: int, malicious: str = "", malicious_from: int = 1) -> Model:
    """Average the sites' models by their numbers of patients, trusting everyone."""
    return averaged(
        initial_model(),
        [partial(train, samples=site.train) for site in sites],
        [len(site.train) for site in sites],
        rounds=rounds,
        malicious=[index for index, site in enumerate(sites) if site.name == malicious],
        malicious_from=malicious_from,
    )


def main() -> None:
    """Print the baselines."""
    result = measure(load_sites())
    rows = [(f"{name} alone", value) for name, value in result.alone.items()]
    rows += [("pooled", result.pooled), ("mean", result.mean), ("mean under attack", result.mean_under_attack)]
    print(f"{'':24}    AUC  accuracy")
    for name, value in rows:
        print(f"{name:24}  {value.auc:.3f}     {value.accuracy:.3f}")


if __name__ == "__main__":
    main()
