"""Logistic regression by DP-SGD in numpy. One law: each payment's gradient is clipped before any noise is added.

A model is `{"weight": (45,), "bias": (1,)}` in float32.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from examples import Model
from examples.fraud.data import FEATURES, Payments

STEPS: Final = 10
"""Noisy steps in a round."""

SAMPLING: Final = 0.05
"""How likely a payment takes part in a step."""

NOISE: Final = 1.0
"""Standard deviation of a step's noise over the clipping bound."""

CLIP: Final = 1.0
"""Longest gradient of one payment."""

RATE: Final = 0.5
FALSE_POSITIVES: Final = 0.01


def initial_model() -> Model:
    """Give the model round 1 starts from: zeros."""
    return {"weight": np.zeros(FEATURES, np.float32), "bias": np.zeros(1, np.float32)}


def train(model: Model, payments: Payments, random: np.random.Generator, *, steps: int = STEPS) -> Model:
    """Take `steps` steps of DP-SGD from `model` on the mean log loss.

    Source: Abadi et al., "Deep Learning with Differential Privacy", CCS 2016.
    """
    weight, bias = model["weight"].astype(np.float64), float(model["bias"][0])
    expected = SAMPLING * len(payments)
    for _ in range(steps):
        drawn = random.random(len(payments)) < SAMPLING
        features = payments.features[drawn]
        error = 0.5 * (1.0 + np.tanh(0.5 * (features @ weight + bias))) - payments.labels[drawn]
        lengths = np.abs(error) * np.sqrt((features**2).sum(axis=1) + 1.0)
        error *= np.minimum(1.0, CLIP / np.maximum(lengths, CLIP * 1e-9))
        noise = random.normal(0.0, NOISE * CLIP, FEATURES + 1)
        weight -= RATE * (features.T @ error + noise[:-1]) / expected
        bias -= RATE * (float(error.sum()) + float(noise[-1])) / expected
    return {"weight": weight.astype(np.float32), "bias": np.array([bias], np.float32)}


def recall(model: Model, payments: Payments) -> float:
    """Give the share of frauds that are found while one honest payment in a hundred is stopped."""
    odds = _log_odds(model, payments)
    threshold = np.quantile(odds[payments.labels == 0], 1 - FALSE_POSITIVES)
    return float(np.mean(odds[payments.labels == 1] > threshold))


def accuracy(model: Model, payments: Payments) -> float:
    """Give the share of payments that are told right when log-odds above 0 mean fraud."""
    return float(np.mean((_log_odds(model, payments) > 0) == (payments.labels == 1)))


def _log_odds(model: Model, payments: Payments) -> NDArray[np.float64]:
    odds: NDArray[np.float64] = payments.features @ model["weight"].astype(np.float64) + float(model["bias"][0])
    return odds
