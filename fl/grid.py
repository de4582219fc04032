"""The fixed-point grids of updates and models. One law: after the participant's rounding there is no float.

An update is the difference between the trained model and the round's base, as int16 words |q| <= 8191 worth q
2^(e_t - 13). A model is int32 words m worth m 2^(x_t - 24). All tensors are concatenated in schema order. Floats
appear only where a person's arrays enter (`quantise_update`, `model_from_float`) and leave (`dequantise_update`,
`model_to_float`), never in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.kernels import EXACT_MAX, library
from fl.rounding import add_quotient_half_even
from fl.schema import ModelSchema, TensorSpec
from ledger.payload import Verdict

WORD_MAX: Final = 8191
"""Largest magnitude of an update word: 14 bits with the sign, symmetric."""

UPDATE_WORD_BYTES: Final = 2
MODEL_WORD_BYTES: Final = 4
UPDATE_FRACTION_BITS: Final = 13
MODEL_FRACTION_BITS: Final = 24
MODEL_WORD_MAX: Final = 2**31 - 1
MODEL_WORD_MIN: Final = -(2**31)
DENOMINATOR_MAX: Final = 1 << 25
"""Weights sum to 2^15 and a neighbourhood to at most 2^10 rows: no rule's denominator is larger."""

_EXACT_SHIFT_MAX: Final = 512
"""2^shift is a normal float64, so that multiplying by it is what `ldexp` does."""

PEAK_HIGH: Final = 4096
"""Half of the range: an honest peak from here on widens the grid."""

PEAK_LOW: Final = 1024
"""An eighth of the range: an honest peak below it narrows the grid."""

CHUNK_WORDS: Final = 1 << 15
"""Words handled at a time, so that temporaries stay in cache and memory stays bounded."""


class GridError(ValueError):
    """Arrays, words or bytes do not fit the schema; the message says what was needed and what came."""


class NonFiniteError(GridError):
    """A tensor holds NaN or infinity, of which no grid has a word."""

    def __init__(self, *, tensor: str, count: int) -> None:
        super().__init__(f"{tensor}: every entry must be finite, got {count} NaN or infinite; is the training stable?")
        self.tensor = tensor
        self.count = count


class ModelRangeError(GridError):
    """A model's entry is too large for its tensor's grid."""

    def __init__(self, *, tensor: str, largest: float, exponent: int) -> None:
        bound = 2.0 ** (exponent + 31 - MODEL_FRACTION_BITS)
        super().__init__(f"{tensor}: entries must stay below {bound:g} with exponent {exponent}, got {largest:g}")
        self.tensor = tensor
        self.largest = largest
        self.exponent = exponent


def quantise_update(
    delta: Mapping[str, NDArray[np.generic]], schema: ModelSchema, exponents: Sequence[int]
) -> tuple[NDArray[np.int16], int]:
    """Return an update's words, and how many of them had to be saturated.

    Args:
        delta: trained minus base, one real array a tensor, of exactly the schema's names and shapes.
        schema: the task's schema.
        exponents: e_t of the round, one a tensor.

    Returns:
        Shape (d,), |word| <= `WORD_MAX`, each entry rounded half-even; and the number of entries beyond the range.

    Raises:
        NonFiniteError: an entry is NaN or infinite.
        GridError: names, shapes or dtypes are not the schema's.
        SchemaError: the exponents are not possible for the schema.
    """
    words = np.empty(schema.size, np.int16)
    arrays = [array.reshape(-1) for array in _arrays(delta, schema)]
    saturated = 0
    for array, segment in zip(arrays, schema.segments(exponents), strict=True):
        shift = UPDATE_FRACTION_BITS - segment.exponent
        for place in _chunks(0, len(array)):
            target = words[segment.start + place.start : segment.start + place.stop]
            saturated += quantise_values(array[place].astype(np.float64), shift, target)
    return words, saturated


def quantise_values(values: NDArray[np.float64], shift: int, words: NDArray[np.int16]) -> int:
    """Write values * 2^shift, rounded half-even, to `words`; return how many were beyond the range and saturated.

    Args:
        values: shape (c,), finite; overwritten.
        shift: 13 - e_t.
        words: shape (c,).
    """
    with np.errstate(over="ignore", under="ignore"):  # a product beyond float64 is infinite: beyond every grid too
        if abs(shift) <= _EXACT_SHIFT_MAX:
            values *= 2.0**shift
        else:
            np.ldexp(values, shift, out=values)
    np.rint(values, out=values)
    beyond = 0
    if values.size and (values.max() > WORD_MAX or values.min() < -WORD_MAX):
        beyond = int(np.count_nonzero(np.abs(values) > WORD_MAX))
        np.clip(values, -WORD_MAX, WORD_MAX, out=values)
    np.copyto(words, values, casting="unsafe")
    return beyond


def dequantise_update(
    words: NDArray[np.int16], schema: ModelSchema, exponents: Sequence[int]
) -> dict[str, NDArray[np.float32]]:
    """Return an update's values, exactly: 14 bits fit a float32.

    Raises:
        GridError: not d int16 words.
        SchemaError: the exponents are not possible for the schema.
    """
    _require_words(words, schema, np.dtype(np.int16))
    segments = schema.segments(exponents)
    return {
        tensor.name: _values(words[segment.start : segment.stop], segment.exponent - UPDATE_FRACTION_BITS, tensor)
        for tensor, segment in zip(schema.tensors, segments, strict=True)
    }


def model_from_float(model: Mapping[str, NDArray[np.generic]], schema: ModelSchema) -> NDArray[np.int32]:
    """Return a model's words, each entry rounded half-even.

    Raises:
        ModelRangeError: an entry leaves int32; the tensor needs a larger exponent.
        NonFiniteError: an entry is NaN or infinite.
        GridError: names, shapes or dtypes are not the schema's.
    """
    words = np.empty(schema.size, np.int32)
    for values, (tensor, place) in zip(_arrays(model, schema), schema.places(), strict=True):
        scaled = _scaled(values, MODEL_FRACTION_BITS - tensor.exponent)
        np.rint(scaled, out=scaled)
        if scaled.max() > MODEL_WORD_MAX or scaled.min() < MODEL_WORD_MIN:
            largest = float(np.abs(values.astype(np.float64)).max())
            raise ModelRangeError(tensor=tensor.name, largest=largest, exponent=tensor.exponent)
        words[place] = scaled
    return words


def model_to_float(words: NDArray[np.int32], schema: ModelSchema) -> dict[str, NDArray[np.float32]]:
    """Return a model's values: exactly while |value| <= 2^x_t, else the nearest float32 (half-even).

    Raises:
        GridError: not d int32 words.
    """
    _require_words(words, schema, np.dtype(np.int32))
    return {
        tensor.name: _values(words[place], tensor.exponent - MODEL_FRACTION_BITS, tensor)
        for tensor, place in schema.places()
    }


def check_words(words: NDArray[np.int16]) -> Verdict:
    """Say whether all words of an update are within `WORD_MAX`: the content check that validators sign."""
    if words.size and (int(words.max()) > WORD_MAX or int(words.min()) < -WORD_MAX):
        return "out_of_range"
    return "ok"


def update_to_bytes(words: NDArray[np.int16]) -> bytes:
    """Return an update's body: int16 little-endian."""
    return words.astype("<i2", copy=False).tobytes()


def update_from_bytes(body: bytes | memoryview, schema: ModelSchema) -> NDArray[np.int16]:
    """Return an update body's words, shape (d,), not range-checked (`check_words` does that).

    Raises:
        GridError: the body is not `UPDATE_WORD_BYTES` * d bytes long.
    """
    return _from_bytes(body, schema, "<i2").astype(np.int16, copy=False)


def model_to_bytes(words: NDArray[np.int32]) -> bytes:
    """Return a model's body: int32 little-endian."""
    return words.astype("<i4", copy=False).tobytes()


def model_from_bytes(body: bytes | memoryview, schema: ModelSchema) -> NDArray[np.int32]:
    """Return a model body's words, shape (d,).

    Raises:
        GridError: the body is not `MODEL_WORD_BYTES` * d bytes long.
    """
    return _from_bytes(body, schema, "<i4").astype(np.int32, copy=False)


def apply_aggregate(
    model: NDArray[np.int32],
    numerator: NDArray[np.int64],
    denominator: int,
    exponents: Sequence[int],
    schema: ModelSchema,
) -> tuple[NDArray[np.int32], int]:
    """Return the next model, and how many of its words had to be saturated.

    The next word is the integer nearest to the exact m + N / D * 2^(e_t - x_t + 11), ties to even: one division a
    word, after all sums. The power of two goes into the numerator or into the denominator, whichever is exact.

    Args:
        model: shape (d,), the round's base.
        numerator: shape (d,), |N| <= `WORD_MAX` * D, as every rule gives it.
        denominator: D, 1..`DENOMINATOR_MAX`.
        exponents: e_t of the round, one a tensor.
        schema: the task's schema.

    Raises:
        GridError: a shape, dtype, the denominator or a numerator's magnitude is not as above.
        SchemaError: the exponents are not possible for the schema.

    Overflow: |N| < 2^38, shifts lie in -13..18, so |N 2^s| < 2^56 and D 2^-s <= 2^38: int64 always suffices.
    """
    _require_words(model, schema, np.dtype(np.int32))
    _require_words(numerator, schema, np.dtype(np.int64))
    if not 1 <= denominator <= DENOMINATOR_MAX:
        raise GridError(f"a denominator of 1..{DENOMINATOR_MAX} is needed, got {denominator}")
    result = model.copy()
    saturated = 0
    for tensor, segment in zip(schema.tensors, schema.segments(exponents), strict=True):
        part = numerator[segment.start : segment.stop]
        if max(int(part.max()), -int(part.min())) > WORD_MAX * denominator:
            raise GridError(f"{tensor.name}: |numerator| must be at most {WORD_MAX} x {denominator}, got a larger one")
        shift = model_shift(tensor, segment.exponent)
        saturated += add_aggregate(result[segment.start : segment.stop], part, denominator, shift)
    return result, saturated


def model_shift(tensor: TensorSpec, exponent: int) -> int:
    """Return s, for which an update word of exponent e_t is worth 2^s words of the tensor's model grid; -13..18."""
    return exponent - UPDATE_FRACTION_BITS - tensor.exponent + MODEL_FRACTION_BITS


def add_aggregate(
    model: NDArray[np.int32], numerator: NDArray[np.int32] | NDArray[np.int64], denominator: int, shift: int
) -> int:
    """Replace some words of one tensor's model by the next model's; return how many had to be saturated.

    As `apply_aggregate`, in place and for any part of a tensor.

    Args:
        model: shape (c,).
        numerator: shape (c,), |N| <= `WORD_MAX` * D.
        denominator: D, 1..`DENOMINATOR_MAX`.
        shift: `model_shift` of the tensor.
    """
    saturated = 0
    compiled = library()
    scale, divisor = 1 << max(shift, 0), denominator << max(-shift, 0)
    if compiled is not None and model.data.contiguous and max(WORD_MAX * denominator * scale, divisor) < EXACT_MAX:
        return compiled.add(model, numerator, scale, divisor, MODEL_WORD_MIN, MODEL_WORD_MAX)
    for place in _chunks(0, len(model)):
        share = numerator[place].astype(np.int64)
        if shift > 0:
            share <<= shift
        words = add_quotient_half_even(model[place].astype(np.int64), share, divisor)
        if words.max() > MODEL_WORD_MAX or words.min() < MODEL_WORD_MIN:
            saturated += int(np.count_nonzero((words > MODEL_WORD_MAX) | (words < MODEL_WORD_MIN)))
            np.clip(words, MODEL_WORD_MIN, MODEL_WORD_MAX, out=words)
        model[place] = words
    return saturated


def next_exponents(exponents: Sequence[int], peaks: Sequence[int], schema: ModelSchema) -> tuple[int, ...]:
    """Return the update exponents of the round after one whose updates had these honest peaks.

    A tensor whose peak is `PEAK_HIGH` or more gets e + 1, one below `PEAK_LOW` e - 1, within the schema's bounds. A
    peak of 0 says nothing about scale and changes nothing.

    Args:
        exponents: e_t of the round that was aggregated.
        peaks: one a tensor, 0..`WORD_MAX`: the (f+1)-th largest of the participants' largest magnitudes
            (`Aggregation.peaks`).
        schema: the task's schema.

    Raises:
        SchemaError: the exponents are not possible for the schema.
        GridError: peaks of another number or out of their range.

    Why not the aggregate's own magnitude (e + 1 above 1/8 of the range, e - 1 below 1/64): it says nothing about
    the words that must fit. Participants that disagree by more than a factor of 64 give an aggregate below 1/64
    even when they saturate; saturated words shrink with the grid, so that ratio never recovers and the grid falls
    until updates are signs. The order statistic of the participants' peaks has a restoring force at every scale:
    saturated peaks always widen the grid. f liars cannot move it beyond what some honest participant sent, in
    either direction, because n > 2f: the (f+1)-th largest is at most the largest and at least the smallest honest
    peak. One step halves or doubles a peak and the band is a factor of 4 wide, so a constant peak settles and never
    oscillates. It depends on committed updates of the round *before* alone, never on current ones.
    """
    segments = schema.segments(exponents)
    if len(peaks) != len(segments) or any(not 0 <= peak <= WORD_MAX for peak in peaks):
        raise GridError(f"{len(segments)} peaks of 0..{WORD_MAX} are needed, got {list(peaks)[:8]} ({len(peaks)})")
    return tuple(
        min(max(exponent + _step(peak), tensor.update_exponents[0]), tensor.update_exponents[-1])
        for tensor, exponent, peak in zip(schema.tensors, exponents, peaks, strict=True)
    )


def _step(peak: int) -> int:
    return (peak >= PEAK_HIGH) - (0 < peak < PEAK_LOW)


def _arrays(arrays: Mapping[str, NDArray[np.generic]], schema: ModelSchema) -> Iterator[NDArray[np.generic]]:
    """Yield each tensor's array in schema order, checked."""
    expected = {tensor.name for tensor in schema.tensors}
    if set(arrays) != expected:
        missing, unknown = sorted(expected - set(arrays)), sorted(set(arrays) - expected)
        raise GridError(f"exactly the schema's tensors are needed; missing: {missing}, unknown: {unknown}")
    for tensor in schema.tensors:
        array = np.asarray(arrays[tensor.name])
        if array.shape != tensor.shape:
            raise GridError(f"{tensor.name}: shape {tensor.shape} is needed, got {array.shape}")
        if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
            raise GridError(f"{tensor.name}: a real dtype of at most 64 bits is needed, got {array.dtype}")
        bad = array.size - int(np.count_nonzero(np.isfinite(array)))
        if bad:
            raise NonFiniteError(tensor=tensor.name, count=bad)
        yield array


def _scaled(values: NDArray[np.generic], shift: int) -> NDArray[np.float64]:
    """Return values * 2^shift, flat; a product beyond float64 becomes infinite, which is beyond every grid too."""
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(values.astype(np.float64).reshape(-1), shift)


def _values(words: NDArray[np.integer], shift: int, tensor: TensorSpec) -> NDArray[np.float32]:
    """Return words * 2^shift: the product of an int32 and a power of two within 2^+-101 is exact in float64."""
    values = np.empty(len(words), np.float32)
    unit = np.float64(2.0**shift)
    for place in _chunks(0, len(words)):
        np.multiply(words[place], unit, out=values[place], dtype=np.float64, casting="same_kind")
    return values.reshape(tensor.shape)


def _require_words(words: NDArray[np.integer], schema: ModelSchema, dtype: np.dtype[np.integer]) -> None:
    if words.dtype != dtype or words.shape != (schema.size,):
        raise GridError(f"{schema.size} words of {dtype} are needed, got shape {words.shape} of {words.dtype}")


def _from_bytes(body: bytes | memoryview, schema: ModelSchema, dtype: str) -> NDArray[np.integer]:
    needed = schema.size * np.dtype(dtype).itemsize
    if len(body) != needed:
        raise GridError(f"a body of {needed} bytes is needed for {schema.size} words, got {len(body)}")
    return np.frombuffer(body, dtype)


def _chunks(start: int, stop: int) -> Iterator[slice]:
    for begin in range(start, stop, CHUNK_WORDS):
        yield slice(begin, min(begin + CHUNK_WORDS, stop))
