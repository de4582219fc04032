"""What the banks reach without a ledger: alone, with their payments pooled, and averaging with a member that has none.

Everything takes as many steps of DP-SGD as the federation does, from the same initial model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from examples import Model
from examples.averaging import averaged
from examples.fraud.data import BANKS, TRAIN, Payments, load_bank, load_test, together
from examples.fraud.model import STEPS, initial_model, recall, train

ROUNDS: Final = 25
NOISE_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Baselines:
    """The models that a federation is judged against."""

    alone: tuple[Model, ...]
    pooled: Model
    mean: Model
    """Of the banks and the free rider."""


class FreeRider:
    """A member without payments: it sends the last global update again, as if it had trained."""

    def __init__(self) -> None:
        """Begin with nothing to repeat."""
        self._before: Model | None = None

    def __call__(self, model: Model) -> Model:
        """Return the model, moved once more by what moved it last."""
        before, self._before = self._before, model
        if before is None:
            return model
        return {name: values + (values - before[name]) for name, values in model.items()}


def measure(rounds: int = ROUNDS) -> Baselines:
    """Train every baseline; about a second."""
    banks = [load_bank(bank) for bank in range(len(BANKS))]
    steps = rounds * STEPS
    return Baselines(
        alone=tuple(
            train(initial_model(), own, np.random.default_rng([NOISE_SEED, bank]), steps=steps)
            for bank, own in enumerate(banks)
        ),
        pooled=train(initial_model(), together(banks), np.random.default_rng(NOISE_SEED), steps=steps),
        mean=averaged(initial_model(), [*trainings(banks), FreeRider()], [TRAIN] * (len(banks) + 1), rounds=rounds),
    )


def trainings(banks: list[Payments]) -> list[Callable[[Model], Model]]:
    """Return what each bank does in a round."""
    return [
        partial(train, payments=own, random=np.random.default_rng([NOISE_SEED, bank])) for bank, own in enumerate(banks)
    ]


def main() -> None:
    """Print the baselines."""
    result, test = measure(), load_test()
    print(f"{'':28}recall at 1 % false positives")
    for name, model in zip(BANKS, result.alone, strict=True):
        print(f"{name + ' alone':28}{recall(model, test):.3f}")
    print(f"{'pooled':28}{recall(result.pooled, test):.3f}")
    print(f"{'mean, with a free rider':28}{recall(result.mean, test):.3f}")


if __name__ == "__main__":
    main()
