"""Data dealt to sites. One law: who holds which sample follows from the seed alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits

TEST_PERCENT: Final = 25
SAMPLES_MIN: Final = 12
FOURIER_FEATURES: Final = 128


@dataclass(frozen=True, slots=True)
class Samples:
    """Examples as numbers."""

    features: NDArray[np.float64]
    """Shape (n, p)."""

    labels: NDArray[np.int64]
    """Shape (n,), 0..classes - 1."""

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, places: NDArray[np.int64]) -> Samples:
        """Return some of them."""
        return Samples(self.features[places], self.labels[places])


@dataclass(frozen=True, slots=True)
class Data:
    """A data set, cut in two."""

    name: str
    train: Samples
    test: Samples
    classes: int


def digits(seed: int) -> Data:
    """Return handwritten digits: 64 grey values, ten classes."""
    pixels, labels = load_digits(return_X_y=True)
    return _cut("digits", pixels / 16.0, labels.astype(np.int64), 10, seed)


def breast_cancer(seed: int) -> Data:
    """Return breast cancer cytology: 30 measurements as 128 random Fourier features, two classes.

    Source: Rahimi & Recht, "Random Features for Large-Scale Kernel Machines", NIPS 2007.
    """
    raw, labels = load_breast_cancer(return_X_y=True)
    scaled = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    random = np.random.RandomState(7)
    directions = random.normal(0.0, 0.12, (raw.shape[1], FOURIER_FEATURES))
    offsets = random.uniform(0.0, 2 * np.pi, FOURIER_FEATURES)
    features = np.sqrt(2.0 / FOURIER_FEATURES) * np.cos(scaled @ directions + offsets) * 3.0
    return _cut("breast-cancer", features, labels.astype(np.int64), 2, seed)


def deal(data: Data, count: int, alpha: float | None, seed: int) -> list[Samples]:
    """Deal the training samples to sites.

    Args:
        data: what is dealt.
        count: how many sites.
        alpha: of the Dirichlet distribution that each class is dealt by; None for equal parts at random.
        seed: of the deal.

    Source: Hsu, Qi & Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
    Classification", 2019.
    """
    random = np.random.RandomState(seed)
    order = random.permutation(len(data.train))
    if alpha is None:
        return [data.train.part(np.sort(part)) for part in np.array_split(order, count)]
    while True:
        hands: list[list[NDArray[np.int64]]] = [[] for _ in range(count)]
        for label in range(data.classes):
            held = order[data.train.labels[order] == label]
            cuts = (np.cumsum(random.dirichlet([alpha] * count))[:-1] * len(held)).astype(np.int64)
            for hand, part in zip(hands, np.split(held, cuts), strict=True):
                hand.append(part)
        whole = [np.sort(np.concatenate(hand)) for hand in hands]
        if min(len(hand) for hand in whole) >= SAMPLES_MIN:
            return [data.train.part(hand) for hand in whole]


def with_flipped_labels(samples: Samples, part: float, classes: int, seed: int) -> Samples:
    """Return samples of which some have another label than their own, drawn at random."""
    random = np.random.RandomState(seed)
    labels = samples.labels.copy()
    wrong = random.rand(len(labels)) < part
    labels[wrong] = (labels[wrong] + random.randint(1, classes, int(wrong.sum()))) % classes
    return Samples(samples.features, labels)


def with_random_labels(samples: Samples, part: float, classes: int, seed: int) -> Samples:
    """Return samples of which some have a label that says nothing: each class is as likely, its own among them."""
    return with_flipped_labels(samples, part * (classes - 1) / classes, classes, seed)


def _cut(name: str, features: NDArray[np.float64], labels: NDArray[np.int64], classes: int, seed: int) -> Data:
    order = np.random.RandomState(seed).permutation(len(labels))
    cut = len(labels) * TEST_PERCENT // 100
    whole = Samples(features, labels)
    return Data(name, whole.part(order[cut:]), whole.part(order[:cut]), classes)
