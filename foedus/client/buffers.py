"""A module's state and what of it the chain carries. One law: what is no average is never averaged.

A state holds weights, and buffers that training moves along: float statistics (BatchNorm's running mean and variance)
and integers or flags (its counter of batches, masks). Floats are tensors of the task like weights: rules keep each word
within what participants sent. Integers and flags stay with each participant: on the grid of updates a counter would be
cut off at its end, and half a batch means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foedus.client.updates import Arrays, InvalidUpdateError

NEVER_NEGATIVE: Final = "running_var"
"""Last part of the name of variances, in PyTorch's modules: rounded on a grid, a tiny one may come out below 0."""


def carried_state(state: Arrays) -> dict[str, NDArray[np.generic]]:
    """Return the entries of a module's state that a task carries: all of floats.

    Args:
        state: name to array, such as a `state_dict` whose tensors were turned into numpy arrays.

    Raises:
        InvalidUpdateError: an entry is of complex numbers or of what are no numbers, or nothing is left.
    """
    kinds = {name: np.asarray(array).dtype for name, array in state.items()}
    for name, dtype in kinds.items():
        if dtype.kind not in "fiub":
            raise InvalidUpdateError(f"{name}: floats, integers or flags are needed, got {dtype}")
    carried = {name: np.asarray(state[name]) for name, dtype in kinds.items() if dtype.kind == "f"}
    if not carried:
        raise InvalidUpdateError(f"a model needs a tensor of floats, got {sorted(kinds)[:8]}")
    return carried


def restored_state(model: Arrays, state: Arrays) -> dict[str, NDArray[np.generic]]:
    """Return a whole state: the chain's model, and the participant's own buffers that are no floats.

    Args:
        model: the round's, as `Round.model`.
        state: the participant's own, of the same module; its dtypes are kept. It is not changed.

    Raises:
        InvalidUpdateError: the model has not exactly the state's floats, or another shape.
    """
    carried = carried_state(state)
    if set(model) != set(carried):
        missing, unknown = sorted(set(carried) - set(model)), sorted(set(model) - set(carried))
        raise InvalidUpdateError(f"the model must have the state's floats; missing: {missing}, unknown: {unknown}")
    return {name: _entry(name, model, np.asarray(array)) for name, array in state.items()}


def _entry(name: str, model: Mapping[str, NDArray[np.generic]], own: NDArray[np.generic]) -> NDArray[np.generic]:
    if name not in model:
        return own.copy()
    values = np.asarray(model[name])
    if values.shape != own.shape:
        raise InvalidUpdateError(f"{name}: shape {own.shape} is needed, got {values.shape}")
    found = values.astype(own.dtype)
    return np.maximum(found, 0) if name.rpartition(".")[2] == NEVER_NEGATIVE else found
