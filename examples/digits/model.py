"""Softmax regression in numpy. One law: the same model and samples give the same new model; nothing here is random.

A model is `{"weight": (64, 10), "bias": (10,)}` in float32.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from examples import Model
from examples.digits.data import CLASSES, PIXELS, Samples

EPOCHS: Final = 10
RATE: Final = 0.5
L2: Final = 0.0001


def initial_model() -> Model:
    """Give the model round 1 starts from: zeros, which calls every digit equally likely."""
    return {"weight": np.zeros((PIXELS, CLASSES), np.float32), "bias": np.zeros(CLASSES, np.float32)}


def train(model: Model, samples: Samples, *, epochs: int = EPOCHS, rate: float = RATE, l2: float = L2) -> Model:
    """Take `epochs` full-batch gradient steps from `model` on the mean cross-entropy plus l2/2 |weight|^2.

    Returns:
        The new model, float32; the steps themselves are taken in float64.
    """
    weight, bias = model["weight"].astype(np.float64), model["bias"].astype(np.float64)
    target = np.eye(CLASSES)[samples.labels]
    for _ in range(epochs):
        error = _softmax(samples.features @ weight + bias) - target
        weight -= rate * (samples.features.T @ error / len(samples) + l2 * weight)
        bias -= rate * error.mean(axis=0)
    return {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}


def predict(model: Model, features: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give the likeliest digit for each row of `features`; shape (n,)."""
    digits: NDArray[np.int64] = np.argmax(features @ model["weight"].astype(np.float64) + model["bias"], axis=1)
    return digits


def accuracy(model: Model, samples: Samples) -> float:
    """Give the share of `samples` whose digit is right."""
    return float(np.mean(predict(model, samples.features) == samples.labels))


def _softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    share: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return share
