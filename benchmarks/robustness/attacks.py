"""What liars do to a run. One law: they know everything of the honest, and the rule, and stay on the grid.

Attacks on data poison what liars train on; attacks on words replace what they send (`tests/attacks.py` has those that
need no rule); the adaptive ones try what the rule makes of several strengths and take the worst.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.robustness.data import Features, Samples
from fl.grid import check_words
from tests.attacks import (
    Rows,
    a_little_is_enough,
    gaussian,
    inner_product_manipulation,
    mimic,
    min_max,
    min_sum,
    saturated,
    scaled,
)

Outcome: TypeAlias = Callable[[Rows], NDArray[np.float64]]
"""What the rule makes of all rows, in words: liars who know the rule may ask it."""

BACKDOOR_CLASS: Final = 0
BACKDOOR_SHARE: Final = 0.5
"""Of a liar's samples that carry the trigger: the rest keeps its model useful, and its update ordinary."""

STRENGTHS: Final = (0.5, 1.0, 1.5, 2.5, 5.0, 10.0)
SEARCH_EVERY: Final = 5
"""Rounds between two searches for the strength; in between the last one is used."""


@dataclass(frozen=True, slots=True)
class View:
    """What liars know in a round."""

    honest: Rows
    """Shape (n - f, d): what the honest send."""

    own: Rows
    """Shape (f, d): what the liars would send after training on their data, poisoned if the attack does that."""

    outcome: Outcome
    """Given what they would send."""

    number: int
    """Of the round."""

    random: np.random.Generator


Words: TypeAlias = Callable[[View], Rows]


@dataclass(frozen=True, slots=True)
class Attack:
    """One way of lying."""

    words: Callable[[], Words] | None = None
    """Makes what replaces the liars' updates in one run; None sends what they trained."""

    poison: Callable[[Samples, int], Samples] | None = None
    """Turns what a liar holds into what it trains on; also given the number of classes."""

    targeted: bool = False
    """Whether success is told by the share of triggered test samples that get the liars' class."""


def flipped_labels(samples: Samples, classes: int) -> Samples:
    """Train on class c - 1 - y (Tolpegin et al., ESORICS 2020)."""
    return Samples(samples.features, classes - 1 - samples.labels)


def backdoored(samples: Samples, _classes: int) -> Samples:
    """Train half of the samples with the trigger and the liars' class (Gu et al., "BadNets", 2017)."""
    features, labels = samples.features.copy(), samples.labels.copy()
    count = int(len(labels) * BACKDOOR_SHARE)
    features[:count] = triggered(features[:count])
    labels[:count] = BACKDOOR_CLASS
    return Samples(features, labels)


def triggered(features: Features) -> Features:
    """Set the first entries to the brightest: a bar in the corner of an image, impossible values in a record."""
    marked = features.copy()
    marked[:, : max(3, features.shape[1] // 40)] = max(float(features.max()), 1.0) if features.size else 1.0
    return marked


def _borrowed(attack: Callable[[Rows, int, np.random.Generator], Rows]) -> Callable[[], Words]:
    """Make an attack of `tests/attacks.py`, which looks at the honest rows alone, one of a run."""
    return lambda: lambda view: attack(view.honest, len(view.own), view.random)


def _sign_flip(view: View) -> Rows:
    """Send minus the honest mean, as ByzFL's `SignFlipping`: as long as an honest update, and the other way."""
    return inner_product_manipulation(view.honest, len(view.own), view.random, epsilon=1.0)


def _own_sign_flip(view: View) -> Rows:
    """Send ten times minus what was trained, as the demo's liar."""
    return scaled(view.own, -10.0)


def _not_a_number(view: View) -> Rows:
    """Send the bytes of float32 NaN: words beyond the grid, which no validator acknowledges."""
    count, size = view.own.shape
    words = np.full((count * size + 1) // 2, np.nan, "<f4").view("<i2")[: count * size].reshape(count, size)
    assert check_words(words) == "out_of_range"
    return words.astype(np.int16)


class _Adaptive:
    """Try directions and strengths on the rule itself, and send what moves its result farthest against the honest.

    Source: Shejwalkar & Houmansadr, NDSS 2021, section IV, tailored attacks; Xu et al. ("ByzFL", 2025) search the
    strength of ALIE and IPM likewise.
    """

    def __init__(self, directions: tuple[str, ...]) -> None:
        self._directions = directions
        self._best = (directions[0], STRENGTHS[0])

    def __call__(self, view: View) -> Rows:
        centre = view.honest.mean(axis=0)
        if view.number % SEARCH_EVERY == 1:
            tried = [(name, strength) for name in self._directions for strength in STRENGTHS]
            self._best = max(tried, key=lambda one: self._harm(view, centre, *one))
        return self._rows(view, centre, *self._best)

    def _harm(self, view: View, centre: NDArray[np.float64], direction: str, strength: float) -> float:
        """Return how far along the liars' way the result goes, or how far it is from the honest mean where it hides."""
        moved = view.outcome(self._rows(view, centre, direction, strength)) - centre
        return float(np.linalg.norm(moved))

    @staticmethod
    def _rows(view: View, centre: NDArray[np.float64], direction: str, strength: float) -> Rows:
        match direction:
            case "deviation":
                row = centre - strength * view.honest.std(axis=0)
            case "mean":
                row = centre - strength * centre
            case _:
                row = centre - strength * np.sign(centre) * np.abs(view.honest).mean()
        return np.repeat(saturated(row)[None, :], len(view.own), axis=0)


ATTACKS: Final[Mapping[str, Attack]] = {
    "none": Attack(),
    "sign flip": Attack(lambda: _sign_flip),
    "sign flip x10": Attack(lambda: _own_sign_flip),
    "label flip": Attack(poison=flipped_labels),
    "gaussian": Attack(_borrowed(gaussian)),
    "scale x1000": Attack(lambda: lambda view: scaled(view.own, 1000.0)),
    "ALIE": Attack(_borrowed(a_little_is_enough)),
    "FOE x10": Attack(_borrowed(inner_product_manipulation)),
    "mimic": Attack(_borrowed(mimic)),
    "min-max": Attack(_borrowed(min_max)),
    "min-sum": Attack(_borrowed(min_sum)),
    "backdoor": Attack(poison=backdoored, targeted=True),
    "backdoor x10": Attack(lambda: lambda view: scaled(view.own, 10.0), backdoored, targeted=True),
    "NaN bytes": Attack(lambda: _not_a_number),
    "adaptive ALIE": Attack(partial(_Adaptive, ("deviation",))),
    "adaptive any": Attack(partial(_Adaptive, ("deviation", "mean", "sign"))),
}
