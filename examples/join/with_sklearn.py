"""Join with a model of scikit-learn: a linear classifier trained by its own `partial_fit`."""

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from sklearn.linear_model import SGDClassifier

import foedus
from examples import Model
from examples.join.data import FEATURES, load
from examples.join.options import Options, options

CLASSES = np.array([0, 1])


def arrays(classifier: SGDClassifier) -> Model:
    """Give the classifier's numbers as the chain carries them."""
    return {"coef": classifier.coef_.astype(np.float32), "intercept": classifier.intercept_.astype(np.float32)}


def classifier(model: Model) -> SGDClassifier:
    """Give a classifier with these numbers."""
    made = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.05, random_state=0)
    made.classes_ = CLASSES
    made.coef_ = model["coef"].astype(np.float64)
    made.intercept_ = model["intercept"].astype(np.float64)
    return made


def initial() -> Model:
    """Give the model that round 1 starts from."""
    return {"coef": np.zeros((1, FEATURES), np.float32), "intercept": np.zeros(1, np.float32)}


def train(model: Model, features: NDArray[np.float32], sick: NDArray[np.int64]) -> Model:
    """Go over the patients once, from the round's model."""
    return arrays(classifier(model).partial_fit(features.astype(np.float64), sick, classes=CLASSES))


def join(told: Options) -> None:
    """Take part in every round until the task is finished."""
    features, sick = load(told.hospital)
    with foedus.connect(told.url, key=told.key, task=told.task) as session:
        for current in session.rounds():
            before = float(classifier(current.model).score(features, sick))
            try:
                current.submit(train(current.model, features, sick), samples=len(sick), metrics={"accuracy": before})
            except foedus.RoundOverError:  # the others were faster
                continue
            print(f"round {current.number}: the model gets {before:.0%} of our patients right")


if __name__ == "__main__":
    given = options("with_sklearn")
    if given.initial is not None:
        save_file(initial(), given.initial)
    else:
        join(given)
