"""Join with DP-SGD: what one patient can show in the model is bounded in every step, by Opacus.

Noise, probability and number of steps are what a quorum agreed in the terms of the task (`foedus policy terms`), and
what the chain charges the hospital's budget with. That they are kept to is this script's word.

Source: Abadi et al., "Deep Learning with Differential Privacy", CCS 2016; docs/privacy.md.
"""

import warnings
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import PrivacyEngine
from opacus.validators import ModuleValidator
from safetensors.numpy import save_file
from torch.utils.data import DataLoader, TensorDataset

import foedus
from examples import Model
from examples.join.data import load
from examples.join.options import Options, options
from examples.join.with_torch import accuracy, initial, loaded

NOISE = 1.1
CLIP = 1.0
BATCH = 32
PASSES = 5


def train(model: Model, features: NDArray[np.float32], sick: NDArray[np.int64]) -> Model:
    """Take noisy steps on patients that are drawn by lot, each on its own and in secret."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # Opacus warns of PyTorch's uses of itself, and that its randomness is PyTorch's
        return _train(model, features, sick)


def _train(model: Model, features: NDArray[np.float32], sick: NDArray[np.int64]) -> Model:
    module, loss = loaded(model), torch.nn.BCEWithLogitsLoss()
    torch.seed()  # everybody knows the seed that the first weights came from; noise and lots must be nobody else's
    assert not ModuleValidator.validate(module), "every layer knows what one patient does to it"
    patients = TensorDataset(torch.from_numpy(features), torch.from_numpy(sick).float())
    private, optimiser, drawn = PrivacyEngine(secure_mode=False).make_private(
        module=module,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
        data_loader=DataLoader(patients, batch_size=BATCH),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        poisson_sampling=True,
    )
    for _ in range(PASSES):
        for inputs, wanted in drawn:
            optimiser.zero_grad()
            loss(private(inputs)[:, 0], wanted).backward()
            optimiser.step()
    state = private._module.state_dict()  # noqa: SLF001 - Opacus wraps the module and gives no other way to it
    return {name: value.detach().numpy().copy() for name, value in state.items()}


def mechanism(patients: int) -> dict[str, int]:
    """Say the training as the terms of a task do, rounded so that it costs no less than it did."""
    batches = ceil(patients / BATCH)
    return {
        "noise_micros": int(NOISE * 1_000_000),
        "sampling_micros": ceil(1_000_000 / batches),
        "steps": PASSES * batches,
    }


def join(told: Options) -> None:
    """Take part in every round until the task is finished."""
    features, sick = load(told.hospital)
    print("this training costs, in the terms of a task:", mechanism(len(sick)))
    with foedus.connect(told.url, key=told.key, task=told.task, progress=True) as session:
        for current in session.rounds():
            before = accuracy(current.model, features, sick)
            try:
                current.submit(train(current.model, features, sick), samples=len(sick), metrics={"accuracy": before})
            except foedus.RoundOverError:  # the others were faster
                continue
            print(f"round {current.number}: the model gets {before:.0%} of our patients right")


if __name__ == "__main__":
    given = options("with_opacus")
    if given.initial is not None:
        save_file(initial(), given.initial)
    else:
        join(given)
