"""What the participants reach without a ledger: alone, pooled, and averaging while three of the ten lie."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from examples import Model
from examples.averaging import averaged
from examples.digits.data import Samples, Split, load_split
from examples.digits.model import EPOCHS, accuracy, initial_model, train

ROUNDS: Final = 25
MALICIOUS: Final = (4, 5, 6)
MALICIOUS_FROM: Final = 5


@dataclass(frozen=True, slots=True)
class Baselines:
    """The accuracies a federation is judged against; shares of 1 over the common test split."""

    alone: tuple[float, ...]
    pooled: float
    mean: float
    mean_under_attack: float


def measure(
    split: Split,
    *,
    rounds: int = ROUNDS,
    malicious: Collection[int] = MALICIOUS,
    malicious_from: int = MALICIOUS_FROM,
) -> Baselines:
    """Train every baseline for as many gradient steps as the federation takes; a few seconds."""
    steps = EPOCHS * rounds
    return Baselines(
        alone=tuple(accuracy(train(initial_model(), own, epochs=steps), split.test) for own in split.participants),
        pooled=accuracy(train(initial_model(), pooled(split), epochs=steps), split.test),
        mean=accuracy(averaged_model(split, rounds), split.test),
        mean_under_attack=accuracy(averaged_model(split, rounds, malicious, malicious_from), split.test),
    )


def pooled(split: Split) -> Samples:
    """Put every participant's training images in one."""
    return Samples(
        ids=tuple(image for part in split.participants for image in part.ids),
        features=np.concatenate([part.features for part in split.participants]),
        labels=np.concatenate([part.labels for part in split.participants]),
    )


def averaged_model(split: Split, rounds: int, malicious: Collection[int] = (), malicious_from: int = 1) -> Model:
    """Average the participants' models by their numbers of images, trusting everyone."""
    return averaged(
        initial_model(),
        [partial(train, samples=own) for own in split.participants],
        [len(own) for own in split.participants],
        rounds=rounds,
        malicious=malicious,
        malicious_from=malicious_from,
    )


def main() -> None:
    """Print the baselines."""
    result = measure(load_split())
    print(f"{'':24}accuracy")
    print(f"{'best participant alone':24}{max(result.alone):.3f}")
    print(f"{'worst participant alone':24}{min(result.alone):.3f}")
    print(f"{'pooled':24}{result.pooled:.3f}")
    print(f"{'mean':24}{result.mean:.3f}")
    print(f"{'mean under attack':24}{result.mean_under_attack:.3f}")


if __name__ == "__main__":
    main()
