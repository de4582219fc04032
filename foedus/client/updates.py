"""From trained arrays to an update. One law: the same training gives the same bytes.

So submitting again is no second update. Everything here is pure. The payload's salt, which keeps others from guessing a
small update from its digest, is derived from the participant's secret key, the round and the words: unknown to all
others, equal when the work is repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from fl.grid import CHUNK_WORDS, UPDATE_FRACTION_BITS, UPDATE_WORD_BYTES, quantise_values
from fl.records import METRIC_UNIT, METRICS_MAX, Metrics, RoundState
from fl.schema import ModelSchema, TensorSpec
from foedus.client.errors import ClientError
from ledger.digest import digest
from ledger.identity import SigningKey
from ledger.payload import SALT_BYTES, PayloadDescriptor, describe

Flat = NDArray[np.generic]
Arrays = Mapping[str, Flat]


class InvalidUpdateError(ClientError):
    """What was trained cannot be written as an update; the message says which tensor and why."""


@dataclass(frozen=True, slots=True)
class PreparedUpdate:
    """An update's bytes."""

    payload: bytes
    """Salt and int16 words."""

    descriptor: PayloadDescriptor
    saturated: int
    """Words that were cut off at the end of the grid's range."""

    norm: float
    """L2 length of the difference before it was rounded, after it was clipped."""


def prepare_update(
    key: SigningKey, schema: ModelSchema, current: RoundState, base: Arrays, new: Arrays, *, clip: float | None = None
) -> PreparedUpdate:
    """Return the difference between trained and base model on the round's grid.

    Args:
        key: the participant's.
        schema: the task's.
        current: the round.
        base: the round's model.
        new: the trained model, of the same names and shapes.
        clip: longest L2 norm of the difference; longer ones are scaled down. None for no such bound.

    Raises:
        InvalidUpdateError: names, shapes or dtypes differ, or an entry is NaN or infinite.
    """
    pairs = _pairs(schema, base, new)
    norm = sqrt(sum(_squared_norm(name, *pair) for name, pair in pairs.items()))
    factor = clip / norm if clip is not None and norm > clip else 1.0
    payload = bytearray(SALT_BYTES + UPDATE_WORD_BYTES * schema.size)
    words = np.frombuffer(payload, "<i2", offset=SALT_BYTES)
    saturated = 0
    for (trained, start), segment in zip(pairs.values(), schema.segments(current.exponents), strict=True):
        shift = UPDATE_FRACTION_BITS - segment.exponent
        target = words[segment.start : segment.stop]
        for place, difference in _differences(trained, start):
            if factor != 1.0:
                np.multiply(difference, factor, out=difference)
            saturated += quantise_values(difference, shift, target[place])
    named = f"{current.task}/{current.number}".encode()
    payload[:SALT_BYTES] = digest("update-salt", key.seed, named, sha256(memoryview(payload)[SALT_BYTES:]).digest())
    return PreparedUpdate(bytes(payload), describe(payload), saturated, min(norm, clip) if clip is not None else norm)


def metrics_of(figures: Mapping[str, float] | None) -> Metrics:
    """Return figures as they stand in a transaction: by name, in millionths.

    Raises:
        InvalidUpdateError: too many, or one that is no number.
    """
    given = dict(figures or {})
    if len(given) > METRICS_MAX:
        raise InvalidUpdateError(f"at most {METRICS_MAX} metrics are possible, got {len(given)}")
    for name, value in given.items():
        if not isfinite(value) or abs(value) > 1e12:
            raise InvalidUpdateError(f"metric {name} must be a finite number, got {value}")
    return tuple((name, round(float(value) * METRIC_UNIT)) for name, value in sorted(given.items()))


def _pairs(schema: ModelSchema, base: Arrays, new: Arrays) -> dict[str, tuple[Flat, Flat]]:
    """Return each tensor's trained and base entries, flat, in schema order."""
    expected = {tensor.name for tensor in schema.tensors}
    for name in new:
        if name not in expected:
            raise InvalidUpdateError(f"the model has no tensor {name!r}: it has {sorted(expected)}")
    if len(new) != len(expected):
        raise InvalidUpdateError(f"all of the model's tensors are needed; missing: {sorted(expected - set(new))}")
    return {
        tensor.name: (_flat(tensor, new[tensor.name]), _flat(tensor, base[tensor.name])) for tensor in schema.tensors
    }


def _flat(tensor: TensorSpec, given: Flat) -> Flat:
    array = np.asarray(given)
    if array.shape != tensor.shape:
        raise InvalidUpdateError(f"{tensor.name}: shape {tensor.shape} is needed, got {array.shape}")
    if array.dtype.kind not in "fiu":
        raise InvalidUpdateError(f"{tensor.name}: real numbers are needed, got {array.dtype}")
    return array.reshape(-1)


def _differences(trained: Flat, start: Flat) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield trained minus base piece by piece, so that no float64 copy of a model is made."""
    for begin in range(0, len(trained), CHUNK_WORDS):
        place = slice(begin, begin + CHUNK_WORDS)
        yield place, trained[place].astype(np.float64) - start[place].astype(np.float64)


def _squared_norm(name: str, trained: Flat, start: Flat) -> float:
    """Return the squared L2 length of a tensor's difference.

    Raises:
        InvalidUpdateError: an entry is NaN or infinite.
    """
    total = 0.0
    for place, difference in _differences(trained, start):
        with np.errstate(over="ignore"):
            part = float(np.square(difference).sum())
        if not isfinite(part):
            bad = difference.size - int(np.count_nonzero(np.isfinite(difference)))
            if bad:
                message = f"{name}: every entry must be finite, got {bad} NaN or infinite near entry {place.start}; "
                raise InvalidUpdateError(message + "is the training stable?")
        total += part
    return total
