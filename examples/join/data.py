"""Patients that do not exist. One law: everybody's are drawn from one world, each hospital sees its own part of it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

FEATURES: Final = 8
PATIENTS: Final = 300


def load(hospital: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Give one hospital's patients: features of shape (300, 8), and whether each is sick, shape (300,)."""
    world = np.random.default_rng(0)
    weight = world.normal(size=FEATURES)
    own = np.random.default_rng([1, hospital])
    features = own.normal(own.normal(scale=0.3, size=FEATURES), 1.0, (PATIENTS, FEATURES))
    sick = features @ weight + own.normal(scale=0.5, size=PATIENTS) > 0
    return features.astype(np.float32), sick.astype(np.int64)
