"""Join with a model in numpy: logistic regression by gradient descent."""

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

import foedus
from examples import Model
from examples.join.data import FEATURES, load
from examples.join.options import Options, options


def initial() -> Model:
    """Give the model that round 1 starts from."""
    return {"weight": np.zeros(FEATURES, np.float32), "bias": np.zeros(1, np.float32)}


def train(model: Model, features: NDArray[np.float32], sick: NDArray[np.int64]) -> Model:
    """Take ten steps from the round's model."""
    weight, bias = model["weight"], model["bias"]
    for _ in range(10):
        error = 1 / (1 + np.exp(-(features @ weight + bias))) - sick
        weight = weight - 0.5 * features.T @ error / len(sick)
        bias = bias - 0.5 * error.mean()
    return {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}


def accuracy(model: Model, features: NDArray[np.float32], sick: NDArray[np.int64]) -> float:
    """Give the share of patients that the model gets right."""
    return float(np.mean((features @ model["weight"] + model["bias"] > 0) == sick))


def join(told: Options) -> None:
    """Take part in every round until the task is finished."""
    features, sick = load(told.hospital)
    with foedus.connect(told.url, key=told.key, task=told.task) as session:
        for current in session.rounds():
            before = accuracy(current.model, features, sick)
            try:
                current.submit(train(current.model, features, sick), samples=len(sick), metrics={"accuracy": before})
            except foedus.RoundOverError:  # the others were faster
                continue
            print(f"round {current.number}: the model gets {before:.0%} of our patients right")


if __name__ == "__main__":
    given = options("with_numpy")
    if given.initial is not None:
        save_file(initial(), given.initial)
    else:
        join(given)
