"""Handwritten digits dealt unevenly to ten participants. One law: who holds an image follows from the seed alone."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

PARTICIPANTS: Final = 10
CLASSES: Final = 10
PIXELS: Final = 64
PIXEL_MAX: Final = 16.0
TEST_PERCENT: Final = 20
ALPHA: Final = 0.3
SPLIT_SEED: Final = 1
SAMPLES_MIN: Final = 20
"""A deal that leaves a participant with fewer images is dealt again."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Images as numbers."""

    ids: tuple[int, ...]
    features: NDArray[np.float64]
    """Shape (n, 64): grey values from 0 to 1."""
    labels: NDArray[np.int64]
    """Shape (n,): the digits."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Split:
    """Every participant's training images, and the test images nobody trains on."""

    participants: tuple[Samples, ...]
    test: Samples


def load_split(seed: int = SPLIT_SEED) -> Split:
    """Deal the digits to the participants.

    Source: Hsu, Qi & Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
    Classification", 2019: shares of each class from a Dirichlet distribution.
    """
    pixels, digits = load_digits(return_X_y=True)
    features = pixels / PIXEL_MAX
    labels = digits.astype(np.int64)
    random = np.random.RandomState(seed)  # unlike default_rng's, its streams are frozen: one deal under every numpy
    order = random.permutation(len(labels))
    cut = len(labels) * TEST_PERCENT // 100
    hands = _deal(labels, order[cut:], random)
    return Split(tuple(_samples(features, labels, hand) for hand in hands), _samples(features, labels, order[:cut]))


def _deal(labels: NDArray[np.int64], ids: NDArray[np.int64], random: np.random.RandomState) -> list[NDArray[np.int64]]:
    while True:
        hands: list[list[NDArray[np.int64]]] = [[] for _ in range(PARTICIPANTS)]
        for digit in range(CLASSES):
            images = ids[labels[ids] == digit]
            shares = random.dirichlet([ALPHA] * PARTICIPANTS)
            cuts = (np.cumsum(shares)[:-1] * len(images)).astype(np.int64)
            for hand, part in zip(hands, np.split(images, cuts), strict=True):
                hand.append(part)
        whole = [np.concatenate(hand) for hand in hands]
        if min(len(hand) for hand in whole) >= SAMPLES_MIN:
            return whole


def _samples(features: NDArray[np.float64], labels: NDArray[np.int64], ids: NDArray[np.int64]) -> Samples:
    ids = np.sort(ids)
    return Samples(tuple(ids.tolist()), features[ids], labels[ids])
