"""A model in memory with what its optimiser remembers. One law: a piece of the model depends on no other piece.

Layout of a model's payload: 32 bytes of salt, then d model words (int32), then for momentum d words M (int32), for Adam
and Yogi d words M (int32) and d words V (int64), all little-endian.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.grid import (
    CHUNK_WORDS,
    MODEL_WORD_BYTES,
    MODEL_WORD_MAX,
    MODEL_WORD_MIN,
    GridError,
    add_aggregate,
    model_shift,
)
from fl.optimisers import adaptive, momentum
from fl.optimisers.spec import OptimiserSpec, memory_bytes
from fl.rounding import add_quotient_half_even
from fl.schema import ModelSchema, TensorSpec
from ledger.payload import SALT_BYTES

Sums = NDArray[np.int32] | NDArray[np.int64]


def model_bytes(schema: ModelSchema, spec: OptimiserSpec | None) -> int:
    """Return the size of a certified model's payload, salt and memory included."""
    return SALT_BYTES + (MODEL_WORD_BYTES + memory_bytes(spec)) * schema.size


def model_body(payload: bytes | bytearray | memoryview, schema: ModelSchema, spec: OptimiserSpec | None) -> memoryview:
    """Return the bytes of the words of a model, certified or initial, without salt and memory.

    Raises:
        GridError: the payload has another length than both.
    """
    initial = SALT_BYTES + MODEL_WORD_BYTES * schema.size
    certified = model_bytes(schema, spec)
    if len(payload) not in {initial, certified}:
        raise GridError(f"a model payload of {certified} bytes is needed, got {len(payload)}")
    return memoryview(payload)[SALT_BYTES:initial]


class Server:
    """Moves a model by aggregates, piece by piece, in place."""

    def __init__(self, payload: memoryview, schema: ModelSchema, spec: OptimiserSpec | None) -> None:
        """Look at a payload of `model_bytes`."""
        size, start = schema.size, SALT_BYTES + MODEL_WORD_BYTES * schema.size
        self._spec: Final = spec
        self._model = np.frombuffer(payload, "<i4", size, SALT_BYTES)
        self._memory = np.frombuffer(payload, "<i4", size, start) if spec is not None else self._model[:0]
        is_adaptive = spec is not None and spec.is_adaptive
        behind = start + MODEL_WORD_BYTES * size
        self._squares = np.frombuffer(payload, "<i8", size, behind) if is_adaptive else np.empty(0, "<i8")

    def advance(self, tensor: TensorSpec, exponent: int, place: slice, sums: Sums, denominator: int) -> int:
        """Move some words of one tensor; return how many had to be saturated.

        Args:
            tensor: to which all of them belong.
            exponent: e_t of the round.
            place: where they lie in the model.
            sums: shape (c,), the rule's numerators, |N| <= 8191 D.
            denominator: D.
        """
        stored, shift = self._model[place], model_shift(tensor, exponent)
        model = stored.astype(np.int32, copy=False)
        if self._spec is None:
            saturated = add_aggregate(model, sums, denominator, shift)
        else:
            saturated = sum(
                self._step(tensor, model[part], slice(place.start + part.start, place.start + part.stop), update)
                for part, update in _updates(sums, denominator, shift)
            )
        if model is not stored:  # a big-endian machine worked on a copy
            stored[:] = model
        return saturated

    def _step(self, tensor: TensorSpec, model: NDArray[np.int32], place: slice, update: NDArray[np.int64]) -> int:
        assert self._spec is not None
        before = model.astype(np.int64)
        memory = self._memory[place].astype(np.int32)
        if self._spec.is_adaptive:
            squares = self._squares[place].astype(np.int64)
            words = adaptive.step(self._spec, tensor, before, update, memory, squares)
            self._squares[place] = squares
        else:
            words = momentum.step(self._spec, before, update, memory)
        self._memory[place] = memory
        saturated = int(np.count_nonzero((words > MODEL_WORD_MAX) | (words < MODEL_WORD_MIN)))
        model[:] = np.clip(words, MODEL_WORD_MIN, MODEL_WORD_MAX)
        return saturated


def _updates(sums: Sums, denominator: int, shift: int) -> Iterator[tuple[slice, NDArray[np.int64]]]:
    """Yield the aggregate in words of the model's grid, rounded half-even, a chunk at a time."""
    divisor = denominator << max(-shift, 0)
    for start in range(0, len(sums), CHUNK_WORDS):
        part = slice(start, min(start + CHUNK_WORDS, len(sums)))
        share = sums[part].astype(np.int64) << max(shift, 0)
        yield part, add_quotient_half_even(np.zeros_like(share), share, divisor)
