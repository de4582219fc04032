"""Models as files that people have. One law: what cannot be read exactly is refused with the tensor's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import frexp
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fl.grid import GridError, model_from_float, model_to_bytes
from fl.results import MODEL_SALT
from fl.schema import ModelSchema, SchemaError, TensorSpec
from foedus.cli.output import CommandError
from ledger.payload import describe

if TYPE_CHECKING:
    from ledger.payload import PayloadDescriptor

Arrays: TypeAlias = Mapping[str, NDArray[np.generic]]

SPARE_BITS = 6
"""Grids chosen here hold values up to 64 * 2^exponent, half of their range: a model may grow while it learns."""


@dataclass(frozen=True, slots=True)
class InitialModel:
    """A model as a task's beginning."""

    schema: ModelSchema
    payload: bytes
    """Salt and int32 words."""

    descriptor: PayloadDescriptor


def load_safetensors(path: Path) -> dict[str, NDArray[np.generic]]:
    """Return a file's tensors, by name ascending.

    Raises:
        CommandError: it cannot be read, is no safetensors file, or holds numbers that are not real.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not path.is_file():
        raise CommandError(f"{path}: no such file; a safetensors file is needed")
    try:
        tensors = load_file(path)
    except (SafetensorError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(f"{path} is no safetensors file that can be read here: {error}") from error
    if not tensors:
        raise CommandError(f"{path} holds no tensor")
    for name, array in tensors.items():
        if array.dtype.kind not in "fiu":
            raise CommandError(f"{path}, {name}: real numbers are needed, got {array.dtype}; save it as float32")
    return dict(sorted(tensors.items()))


def schema_of(arrays: Arrays) -> ModelSchema:
    """Return a schema on whose grids these values fit, with room to grow.

    Raises:
        CommandError: no schema holds them, or some are integers: a counter is no weight.
    """
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            reason = f"{name}: a task carries floats, got {array.dtype}; leave counters and flags out of the file"
            raise CommandError(f"{reason} (foedus.carried_state), or save it as float32 if it is a weight")
    try:
        return ModelSchema(tuple(TensorSpec(name, array.shape, _exponent(array)) for name, array in arrays.items()))
    except SchemaError as error:
        raise CommandError(f"no task can have this model: {error}") from error


def initial_model(arrays: Arrays, schema: ModelSchema) -> InitialModel:
    """Return the payload that a task begins with; the same values give the same bytes.

    Raises:
        CommandError: names, shapes or values do not fit the schema.
    """
    try:
        words = model_from_float(arrays, schema)
    except GridError as error:
        raise CommandError(f"the model does not fit the task: {error}") from error
    payload = MODEL_SALT + model_to_bytes(words)
    return InitialModel(schema, payload, describe(payload))


def _exponent(array: NDArray[np.generic]) -> int:
    largest = float(np.abs(array.astype(np.float64)).max(initial=0.0))
    return max(0, frexp(largest)[1] - SPARE_BITS) if np.isfinite(largest) else 0
