"""Logistic regression in numpy. One law: the same model and samples give the same new model; nothing here is random.

A model is `{"weight": (d,), "bias": (1,)}` in float32, which is what `foedus` carries.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from examples import Model
from examples.heart.data import FEATURES, Samples

EPOCHS: Final = 2
RATE: Final = 0.3
L2: Final = 0.01


def initial_model() -> Model:
    """Give the model every round 1 starts from: zeros, which calls each patient a coin toss."""
    return {"weight": np.zeros(len(FEATURES), np.float32), "bias": np.zeros(1, np.float32)}


def train(model: Model, samples: Samples, *, epochs: int = EPOCHS, rate: float = RATE, l2: float = L2) -> Model:
    """Take `epochs` full-batch gradient steps from `model` on the mean log loss plus l2/2 |weight|^2.

    Returns:
        The new model, float32; the steps themselves are taken in float64.
    """
    weight = model["weight"].astype(np.float64)
    bias = float(model["bias"][0])
    features, labels = samples.features, samples.labels
    for _ in range(epochs):
        error = _sigmoid(features @ weight + bias) - labels
        weight -= rate * (features.T @ error / len(samples) + l2 * weight)
        bias -= rate * float(error.mean())
    return {"weight": weight.astype(np.float32), "bias": np.array([bias], np.float32)}


def log_odds(model: Model, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the log-odds of disease for each row of `features`; shape (n,); they never saturate."""
    odds: NDArray[np.float64] = features @ model["weight"].astype(np.float64) + float(model["bias"][0])
    return odds


def predict(model: Model, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the probability of disease for each row of `features`; shape (n,)."""
    return _sigmoid(log_odds(model, features))


def auc(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """Give the chance that a sick patient scores above a healthy one, ties counting half.

    Raises:
        ValueError: all labels are equal, so that there is no pair to compare.

    Source: Mann & Whitney 1947: U / (sick x healthy), with U from the mean ranks of tied scores.
    Cost: O(n log n).
    """
    sick = int(labels.sum())
    healthy = len(labels) - sick
    if not sick or not healthy:
        raise ValueError(f"the AUC needs both classes, got {sick} sick and {healthy} healthy")
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(count) - (count - 1) / 2
    u = float(mean_rank[place][labels == 1].sum()) - sick * (sick + 1) / 2
    return u / (sick * healthy)


def accuracy(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """Give the share of patients whose class is right when log-odds above 0 mean disease."""
    return float(np.mean((scores > 0) == (labels == 1)))


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    half: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * z))
    return half
