"""What a malicious participant of the examples sends instead of what it trained."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

FACTOR: Final = 10.0


def sign_flip(
    base: Mapping[str, NDArray[np.float32]], new: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """Turn the step from `base` to `new` around and make it `FACTOR` times as long.

    Source: Li et al., "RSA: Byzantine-Robust Stochastic Aggregation Methods", AAAI 2019, sign-flipping attack.
    """
    return {name: (base[name] - FACTOR * (new[name] - base[name])).astype(np.float32) for name in base}


ATTACKS: Final = {"sign-flip": sign_flip}
"""Attacks by the name that a trainer's `--attack` takes."""
