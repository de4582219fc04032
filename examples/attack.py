"""What a malicious participant of the examples sends instead of what it trained."""

from typing import Final

import numpy as np

from examples import Model

FACTOR: Final = 10.0


def sign_flip(base: Model, new: Model) -> Model:
    """Turn the step from `base` to `new` around and make it `FACTOR` times as long.

    Source: Li et al., "RSA: Byzantine-Robust Stochastic Aggregation Methods", AAAI 2019, sign-flipping attack.
    """
    return {name: (base[name] - FACTOR * (new[name] - base[name])).astype(np.float32) for name in base}


ATTACKS: Final = {"sign-flip": sign_flip}
"""Attacks by the name that a trainer's `--attack` takes."""
