"""The shape of a model: named tensors in a fixed order. One law: a schema that exists is valid.

A task's schema is part of the chain. It says where in the flat vector of words each tensor lies and on which
fixed-point grid its words are: a model word of tensor t is worth 2^(x_t - 24), an update word 2^(e_t - 13). x_t
never changes; e_t starts at `update_exponent` and moves with the rounds (`fl.grid.next_exponents`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ledger.codec import Record

TENSORS_MAX: Final = 4096
DIMENSIONS_MAX: Final = 8
NAME_CHARACTERS_MAX: Final = 256
MODEL_WORDS_MAX: Final = 2**30 - 8
"""A model body of 4 bytes a word and its 32-byte salt then stay within a payload of 4 GiB."""

MODEL_EXPONENT_MAX: Final = 64
"""|x_t| is at most this, so that every word is a normal float32."""

UPDATE_EXPONENT_BELOW_MAX: Final = 24
"""e_t >= x_t - 24: there a whole update is worth one unit of the model's grid."""

UPDATE_EXPONENT_ABOVE_MAX: Final = 7
"""e_t <= x_t + 7: there one update spans the whole range of the model's grid."""

UPDATE_EXPONENT_DEFAULT: Final = -3
"""A first update's largest entry may be 1/8; the grid follows within a few rounds."""

RESERVED_NAMES: Final = frozenset({"__metadata__"})
"""Names that a safetensors file gives another meaning."""


class SchemaError(ValueError):
    """A schema, or exponents for one, break a bound; the message says which."""


class TensorSpec(Record):
    """One named tensor and its grids."""

    name: str
    """1..`NAME_CHARACTERS_MAX` printable ASCII characters, unique in the schema: what else is printable depends on the
    Unicode version of the machine."""

    shape: tuple[int, ...]
    """At most `DIMENSIONS_MAX` dimensions, each at least 1; () is a scalar."""

    exponent: int
    """x_t: a model word is worth 2^(x_t - 24), so the tensor's values lie within 128 * 2^x_t."""

    update_exponent: int = UPDATE_EXPONENT_DEFAULT
    """Initial e_t: an update word is worth 2^(e_t - 13), so the update's entries lie within 2^e_t."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= NAME_CHARACTERS_MAX or not (self.name.isascii() and self.name.isprintable()):
            message = f"a tensor's name needs 1 to {NAME_CHARACTERS_MAX} printable ASCII characters, got {self.name!r}"
            raise SchemaError(message)
        if self.name in RESERVED_NAMES:
            raise SchemaError(f"{self.name!r} has another meaning in model files; give the tensor another name")
        if len(self.shape) > DIMENSIONS_MAX or any(dimension < 1 for dimension in self.shape):
            message = f"{self.name}: at most {DIMENSIONS_MAX} dimensions of at least 1 are possible, got {self.shape}"
            raise SchemaError(message)
        if self.size > MODEL_WORDS_MAX:
            raise SchemaError(f"{self.name}: at most {MODEL_WORDS_MAX} words are possible, got {self.size}")
        if abs(self.exponent) > MODEL_EXPONENT_MAX:
            message = f"{self.name}: |exponent| is at most {MODEL_EXPONENT_MAX}, got {self.exponent}"
            raise SchemaError(message)
        self.require_update_exponent(self.update_exponent)

    @property
    def size(self) -> int:
        """How many words the tensor has."""
        return prod(self.shape)

    @property
    def update_exponents(self) -> range:
        """Every e_t that the tensor's updates may use."""
        return range(self.exponent - UPDATE_EXPONENT_BELOW_MAX, self.exponent + UPDATE_EXPONENT_ABOVE_MAX + 1)

    def require_update_exponent(self, exponent: int) -> None:
        """Check one e_t.

        Raises:
            SchemaError: it is outside `update_exponents`.
        """
        if exponent not in self.update_exponents:
            low, high = self.update_exponents[0], self.update_exponents[-1]
            raise SchemaError(f"{self.name}: an update's exponent lies in {low}..{high}, got {exponent}")


@dataclass(frozen=True, slots=True)
class Segment:
    """Where one tensor lies in the flat vector, and the exponent e_t of its update words."""

    start: int
    stop: int
    exponent: int


class ModelSchema(Record):
    """All tensors of a model, in the order in which their words are concatenated (each in C order)."""

    tensors: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.tensors) <= TENSORS_MAX:
            raise SchemaError(f"a model has 1 to {TENSORS_MAX} tensors, got {len(self.tensors)}")
        names = [tensor.name for tensor in self.tensors]
        if len(set(names)) != len(names):
            repeated = next(name for position, name in enumerate(names) if name in names[:position])
            raise SchemaError(f"tensor names must differ, got {repeated!r} twice")
        if self.size > MODEL_WORDS_MAX:
            raise SchemaError(f"a model has at most {MODEL_WORDS_MAX} words, got {self.size}")

    @property
    def size(self) -> int:
        """d: how many words the model has."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def initial_exponents(self) -> tuple[int, ...]:
        """e_t of the first round, one a tensor."""
        return tuple(tensor.update_exponent for tensor in self.tensors)

    def places(self) -> Iterator[tuple[TensorSpec, slice]]:
        """Yield each tensor with its place in the flat vector."""
        start = 0
        for tensor in self.tensors:
            yield tensor, slice(start, start + tensor.size)
            start += tensor.size

    def segments(self, exponents: Sequence[int]) -> tuple[Segment, ...]:
        """Return each tensor's place with its update exponent.

        Args:
            exponents: e_t, one a tensor.

        Raises:
            SchemaError: another number of exponents than of tensors, or one out of its bounds.
        """
        if len(exponents) != len(self.tensors):
            raise SchemaError(f"{len(self.tensors)} tensors need as many exponents, got {len(exponents)}")
        segments = []
        for (tensor, place), exponent in zip(self.places(), exponents, strict=True):
            tensor.require_update_exponent(exponent)
            segments.append(Segment(place.start, place.stop, exponent))
        return tuple(segments)


def schema_for(
    model: Mapping[str, NDArray[np.generic]], *, exponent: int = 0, update_exponent: int = UPDATE_EXPONENT_DEFAULT
) -> ModelSchema:
    """Return the schema of a model in memory: its tensors in the mapping's order, all on the same grids.

    Args:
        model: name to array of any shape.
        exponent: x_t of every tensor; 0 holds values up to 128 in steps of 2^-24.
        update_exponent: initial e_t of every tensor.

    Raises:
        SchemaError: a bound is broken.
    """
    return ModelSchema(
        tuple(TensorSpec(name, np.shape(array), exponent, update_exponent) for name, array in model.items())
    )
