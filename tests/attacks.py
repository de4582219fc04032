"""What Byzantine participants send. One law: every word is within the grid, since validation refuses all others.

Each attack takes the honest rows (n - f, d) that an omniscient attacker may look at and gives `attackers` rows on the
same grid. `corrupted` places them among the honest ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import floor
from statistics import NormalDist
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fl.grid import WORD_MAX

Rows: TypeAlias = NDArray[np.int16]
Attack: TypeAlias = Callable[[Rows, int, np.random.Generator], Rows]
"""(honest rows, how many attackers, randomness) -> the attackers' rows."""


def saturated(values: NDArray[np.float64]) -> Rows:
    """Return the values as words, as a participant's own rounding would."""
    return np.clip(np.rint(values), -WORD_MAX, WORD_MAX).astype(np.int16)


def scaled(row: NDArray[np.int16], factor: float) -> NDArray[np.int16]:
    """Return an update times a factor: -10 is the sign flip of the demo."""
    return saturated(row.astype(np.float64) * factor)


def sign_flip(honest: Rows, attackers: int, _random: np.random.Generator, *, factor: float = 10.0) -> Rows:
    """Send minus ten times an honest row (Li et al., "RSA", AAAI 2019, without the factor)."""
    return scaled(_borrowed(honest, attackers), -factor)


def scale(honest: Rows, attackers: int, _random: np.random.Generator, *, factor: float = 1000.0) -> Rows:
    """Send an honest row a thousand times as large: model replacement (Bagdasaryan et al., AISTATS 2020)."""
    return scaled(_borrowed(honest, attackers), factor)


def gaussian(honest: Rows, attackers: int, random: np.random.Generator, *, deviation: float = 3000.0) -> Rows:
    """Send noise (Blanchard et al., NIPS 2017, section 6)."""
    return saturated(random.normal(0.0, deviation, (attackers, honest.shape[1])))


def a_little_is_enough(honest: Rows, attackers: int, _random: np.random.Generator) -> Rows:
    """Send mean - z * deviation, z so small that some honest rows lie farther out (Baruch et al., NeurIPS 2019)."""
    count = len(honest) + attackers
    supporters = floor(count / 2 + 1) - attackers
    z = NormalDist().inv_cdf(min(max((len(honest) - supporters) / len(honest), 0.5), 0.999))
    return np.repeat(saturated(honest.mean(axis=0) - z * honest.std(axis=0))[None, :], attackers, axis=0)


def inner_product_manipulation(
    honest: Rows, attackers: int, _random: np.random.Generator, *, epsilon: float = 10.0
) -> Rows:
    """Send minus epsilon times the honest mean (Xie et al., "Fall of Empires", UAI 2019)."""
    return np.repeat(saturated(-epsilon * honest.mean(axis=0))[None, :], attackers, axis=0)


def mimic(honest: Rows, attackers: int, _random: np.random.Generator, *, victim: int = 0) -> Rows:
    """Send copies of one honest row, to make it the majority (Karimireddy et al., ICLR 2022)."""
    return np.repeat(honest[victim][None, :], attackers, axis=0)


def min_max(honest: Rows, attackers: int, _random: np.random.Generator) -> Rows:
    """Send mean - g * deviation, as far out as no farther from any honest row than two honest rows are from each other.

    Source: Shejwalkar & Houmansadr, "Manipulating the Byzantine", NDSS 2021, section IV, agnostic min-max, with the
    deviation as perturbation.
    """
    centre, out, apart = _perturbed(honest)
    length = max(float(out @ out), 1e-12)
    across = (centre - honest) @ out
    room = apart.max() - np.square(centre - honest).sum(axis=1)
    reach = (np.sqrt(np.square(across) + length * room) - across) / length
    return np.repeat(saturated(centre + reach.min() * out)[None, :], attackers, axis=0)


def min_sum(honest: Rows, attackers: int, _random: np.random.Generator) -> Rows:
    """As `min_max`, as far out as its squared distances add up to no more than those of some honest row.

    Source: as `min_max`, agnostic min-sum.
    """
    centre, out, apart = _perturbed(honest)
    room = apart.sum(axis=1).max() - np.square(centre - honest).sum()
    reach = np.sqrt(room / max(len(honest) * float(out @ out), 1e-12))
    return np.repeat(saturated(centre + reach * out)[None, :], attackers, axis=0)


ATTACKS: Final[Mapping[str, Attack]] = {
    "sign-flip": sign_flip,
    "scale": scale,
    "gaussian": gaussian,
    "alie": a_little_is_enough,
    "ipm": inner_product_manipulation,
    "mimic": mimic,
    "min-max": min_max,
    "min-sum": min_sum,
}


def corrupted(honest: Rows, attack: Attack, places: Sequence[int], random: np.random.Generator) -> Rows:
    """Return honest rows with the attackers' rows put at `places` of the result, shape (n, d)."""
    count = len(honest) + len(places)
    rows = np.empty((count, honest.shape[1]), np.int16)
    rows[list(places)] = attack(honest, len(places), random)
    rows[[place for place in range(count) if place not in places]] = honest
    return rows


def _borrowed(honest: Rows, attackers: int) -> Rows:
    """Return as many honest rows as there are attackers, in turn."""
    return honest[np.arange(attackers) % len(honest)]


def _perturbed(honest: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the honest mean, minus their deviation, and their squared distances from each other."""
    rows = honest.astype(np.float64)
    norms = np.square(rows).sum(axis=1)
    apart = np.maximum(norms[:, None] + norms[None, :] - 2 * rows @ rows.T, 0)
    return rows.mean(axis=0), -rows.std(axis=0), apart
