"""Join with a model of PyTorch: any module whose state is floats; here a small network."""

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

import foedus
from examples import Model
from examples.join.data import FEATURES, load
from examples.join.options import Options, options


def network() -> torch.nn.Sequential:
    """Give the network, with weights that everybody begins with."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(FEATURES, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))


def arrays(module: torch.nn.Module) -> Model:
    """Give the module's state as the chain carries it."""
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}


def loaded(model: Model) -> torch.nn.Sequential:
    """Give the network with these numbers."""
    made = network()
    made.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in model.items()})
    return made


def initial() -> Model:
    """Give the model that round 1 starts from."""
    return arrays(network())


def train(model: Model, features: NDArray[np.float32], sick: NDArray[np.int64]) -> Model:
    """Go over the patients five times, from the round's model."""
    module, loss = loaded(model), torch.nn.BCEWithLogitsLoss()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    inputs, wanted = torch.from_numpy(features), torch.from_numpy(sick).float()
    for _ in range(5):
        for rows in torch.arange(len(sick)).split(32):
            optimiser.zero_grad()
            loss(module(inputs[rows])[:, 0], wanted[rows]).backward()
            optimiser.step()
    return arrays(module)


def accuracy(model: Model, features: NDArray[np.float32], sick: NDArray[np.int64]) -> float:
    """Give the share of patients that the model gets right."""
    with torch.no_grad():
        right = (loaded(model)(torch.from_numpy(features))[:, 0] > 0) == torch.from_numpy(sick).bool()
    return float(right.float().mean())


def join(told: Options) -> None:
    """Take part in every round until the task is finished."""
    features, sick = load(told.hospital)
    with foedus.connect(told.url, key=told.key, task=told.task, progress=True) as session:
        for current in session.rounds():
            before = accuracy(current.model, features, sick)
            try:
                current.submit(train(current.model, features, sick), samples=len(sick), metrics={"accuracy": before})
            except foedus.RoundOverError:  # the others were faster
                continue
            print(f"round {current.number}: the model gets {before:.0%} of our patients right")


if __name__ == "__main__":
    given = options("with_torch")
    if given.initial is not None:
        save_file(initial(), given.initial)
    else:
        join(given)
