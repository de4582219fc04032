"""From trained arrays to an update. One law: the same training gives the same bytes.

So submitting again is no second update. Everything here is pure. The payload's salt, which keeps others from guessing a
small update from its digest, is derived from the participant's secret key and the round: unknown to all others, equal
when the work is repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.grid import CHUNK_WORDS, UPDATE_FRACTION_BITS, UPDATE_WORD_BYTES, WORD_MAX, quantise_values
from fl.kernels import library
from fl.records import METRIC_UNIT, METRICS_MAX, Metrics, RoundState
from fl.schema import ModelSchema, TensorSpec
from foedus.client.errors import ClientError
from ledger.digest import Digest, digest
from ledger.identity import SigningKey
from ledger.merkle import root_of_hashes
from ledger.payload import SALT_BYTES, PayloadDescriptor, chunk_hashes

Flat = NDArray[np.generic]
Arrays = Mapping[str, Flat]

_SHIFT_MAX: Final = 512
"""Differences of float32 times 2 to this power are within float64: the product is exact or beyond every grid."""


class InvalidUpdateError(ClientError):
    """What was trained cannot be written as an update; the message says which tensor and why."""


@dataclass(frozen=True, slots=True)
class PreparedUpdate:
    """An update's bytes."""

    payload: bytearray
    """Salt and int16 words."""

    descriptor: PayloadDescriptor
    chunk_hashes: tuple[Digest, ...]
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
    factor, norm = 1.0, None
    if clip is not None:
        norm = sqrt(sum(_squared_norm(name, *pair) for name, pair in pairs.items()))
        factor, norm = (clip / norm, clip) if norm > clip else (1.0, norm)
    payload = bytearray(SALT_BYTES + UPDATE_WORD_BYTES * schema.size)
    payload[:SALT_BYTES] = digest("update-salt", key.seed, f"{current.task}/{current.number}".encode())
    words = np.frombuffer(payload, "<i2", offset=SALT_BYTES)
    saturated, squares = 0, 0.0
    for (name, pair), segment in zip(pairs.items(), schema.segments(current.exponents), strict=True):
        target = words[segment.start : segment.stop]
        cut, length = _quantise(name, *pair, UPDATE_FRACTION_BITS - segment.exponent, factor, target)
        saturated += cut
        squares += length
    hashes = tuple(chunk_hashes(payload))
    descriptor = PayloadDescriptor(len(payload), root_of_hashes(hashes))
    return PreparedUpdate(payload, descriptor, hashes, saturated, sqrt(squares) if norm is None else norm)


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


def _quantise(
    name: str, trained: Flat, start: Flat, shift: int, factor: float, words: NDArray[np.int16]
) -> tuple[int, float]:
    """Write one tensor's words; return how many were cut off, and the squared length of the whole difference.

    Raises:
        InvalidUpdateError: an entry is NaN or infinite.
    """
    compiled = library()
    if compiled is not None and factor == 1.0 and _is_plain(trained, start, words) and abs(shift) <= _SHIFT_MAX:
        cut, squares = compiled.quantise(trained, start, 2.0**shift, WORD_MAX, words)  # type: ignore[arg-type]
        if isfinite(squares):
            return cut, squares
    squares, cut = _squared_norm(name, trained, start), 0
    for place, difference in _differences(trained, start):
        if factor != 1.0:
            np.multiply(difference, factor, out=difference)
        cut += quantise_values(difference, shift, words[place])
    return cut, squares


def _is_plain(trained: Flat, start: Flat, words: Flat) -> bool:
    """Tell whether these are arrays that the compiled code reads."""
    floats = all(array.dtype == np.float32 and array.dtype.isnative for array in (trained, start))
    return floats and words.dtype.isnative and trained.flags.c_contiguous and start.flags.c_contiguous


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
