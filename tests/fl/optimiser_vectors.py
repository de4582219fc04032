"""Steps of server optimisers that another implementation can run. One law: the file is read as written by the tests.

`python -m tests.fl.optimiser_vectors > tests/vectors/optimisers/steps.json` writes it anew, for a new optimiser id.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from fl.optimisers import OptimiserSpec, Server, memory_bytes, model_bytes
from fl.schema import ModelSchema, TensorSpec

FILE: Final = Path(__file__).parents[1] / "vectors" / "optimisers" / "steps.json"
DESCRIPTION: Final = (
    "One step of a server optimiser. spec = [optimiser, rate in millionths, momentum and variance in thousandths, "
    "floor in millionths]. tensors: [words, x_t, e_t] in order. numerator / denominator: the aggregate in update "
    "words. body and next_body: the model's payload without its 32 bytes of salt, hexadecimal: int32 model words, then "
    "int32 M, then (Adam, Yogi) int64 V, little-endian. saturated: model words that were cut off at the end of int32."
)


class Vector(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step with its result."""

    spec: OptimiserSpec
    tensors: tuple[tuple[int, int, int], ...]
    numerator: tuple[int, ...]
    denominator: int
    body: str
    next_body: str
    saturated: int


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is published."""

    description: str
    steps: tuple[Vector, ...]


def read() -> File:
    """Return the published file."""
    return msgspec.json.decode(FILE.read_bytes(), type=File)


def stepped(
    spec: OptimiserSpec, tensors: tuple[tuple[int, int, int], ...], numerator: list[int], denominator: int, body: bytes
) -> tuple[bytes, int]:
    """Return what the optimiser makes of a body, and how many words were cut off."""
    schema = ModelSchema(tuple(TensorSpec(f"t{i}", (size,), x, e) for i, (size, x, e) in enumerate(tensors)))
    payload = bytearray(32) + bytearray(body)
    assert len(payload) == model_bytes(schema, spec)
    server, sums = Server(memoryview(payload), schema, spec), np.array(numerator, np.int64)
    saturated = sum(
        server.advance(tensor, tensor.update_exponent, place, sums[place], denominator)
        for tensor, place in schema.places()
    )
    return bytes(payload[32:]), saturated


def vector_of(old: Vector) -> Vector:
    """Return a vector with the result that this code has."""
    body, saturated = stepped(old.spec, old.tensors, list(old.numerator), old.denominator, bytes.fromhex(old.body))
    return msgspec.structs.replace(old, next_body=body.hex(), saturated=saturated)


def _made() -> list[Vector]:
    specs = (
        OptimiserSpec("momentum/1", 1_000_000, 900),
        OptimiserSpec("momentum/1", 300_000, 0),
        OptimiserSpec("adam/1", 10_000, 900, 990, 1_000),
        OptimiserSpec("adam/1", 1_000_000, 0, 0, 1),
        OptimiserSpec("yogi/1", 10_000, 900, 990, 1_000),
        OptimiserSpec("yogi/1", 1, 999, 999, 1_000_000_000),
    )
    chance, made = np.random.default_rng(11), []
    for spec in specs:
        for denominator in (1, 10, 1 << 15):
            tensors = ((3, 2, -4), (4, -1, 1), (1, -6, 1))
            numerator = chance.integers(-8191 * denominator, 8191 * denominator + 1, 8)
            words = chance.integers(-(2**31), 2**31, 8).astype("<i4").tobytes()
            memory = chance.integers(-(2**26) + 1, 2**26, 8).astype("<i4").tobytes()
            squares = (chance.integers(0, 2**26, 8) ** 2).astype("<i8").tobytes()
            body = (words + memory + squares)[: 8 * (4 + memory_bytes(spec))]
            made.append(vector_of(Vector(spec, tensors, tuple(numerator.tolist()), denominator, body.hex(), "", 0)))
    return made


if __name__ == "__main__":
    steps = ",\n".join(msgspec.json.encode(one).decode() for one in _made())
    sys.stdout.write(f'{{"description": {msgspec.json.encode(DESCRIPTION).decode()}, "steps": [\n{steps}\n]}}\n')
