"""A model's schema: what it allows, and that what is not valid cannot exist."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from fl.schema import (
    DIMENSIONS_MAX,
    MODEL_EXPONENT_MAX,
    MODEL_WORDS_MAX,
    NAME_CHARACTERS_MAX,
    TENSORS_MAX,
    ModelSchema,
    SchemaError,
    Segment,
    TensorSpec,
    schema_for,
)
from ledger.codec import CodecError, decode, encode

SCHEMA = ModelSchema((TensorSpec("a", (2, 3), 0, -5), TensorSpec("b", (), 1, 0), TensorSpec("c", (4,), -2, -9)))


def test_tensors_lie_one_after_the_other_in_schema_order() -> None:
    assert SCHEMA.size == 11
    assert SCHEMA.initial_exponents == (-5, 0, -9)
    assert SCHEMA.segments((1, 2, 3)) == (Segment(0, 6, 1), Segment(6, 7, 2), Segment(7, 11, 3))


def test_a_schema_survives_its_canonical_bytes() -> None:
    assert decode(encode(SCHEMA), ModelSchema, bytes_max=10_000) == SCHEMA


@pytest.mark.parametrize(
    "fields",
    [
        ("", (1,), 0, 0),
        ("x" * (NAME_CHARACTERS_MAX + 1), (1,), 0, 0),
        ("line\nbreak", (1,), 0, 0),
        ("__metadata__", (1,), 0, 0),
        ("x", (0,), 0, 0),
        ("x", (2, -1), 0, 0),
        ("x", (1,) * (DIMENSIONS_MAX + 1), 0, 0),
        ("x", (MODEL_WORDS_MAX + 1,), 0, 0),
        ("x", (2**20, 2**20), 0, 0),
        ("x", (1,), MODEL_EXPONENT_MAX + 1, MODEL_EXPONENT_MAX),
        ("x", (1,), -MODEL_EXPONENT_MAX - 1, -MODEL_EXPONENT_MAX),
        ("x", (1,), 0, 8),
        ("x", (1,), 0, -25),
    ],
)
def test_a_tensor_beyond_a_bound_cannot_be_built_or_decoded(fields: tuple[str, tuple[int, ...], int, int]) -> None:
    with pytest.raises(SchemaError):
        TensorSpec(*fields)
    with pytest.raises(CodecError):
        decode(msgspec.msgpack.encode([[fields]]), ModelSchema, bytes_max=10_000)


@pytest.mark.parametrize(
    "tensors",
    [
        (),
        (TensorSpec("x", (1,), 0), TensorSpec("x", (2,), 0)),
        (TensorSpec("x", (MODEL_WORDS_MAX,), 0), TensorSpec("y", (1,), 0)),
        tuple(TensorSpec(str(place), (1,), 0) for place in range(TENSORS_MAX + 1)),
    ],
    ids=["none", "twice", "too large", "too many"],
)
def test_tensors_that_make_no_model_are_refused(tensors: tuple[TensorSpec, ...]) -> None:
    with pytest.raises(SchemaError):
        ModelSchema(tensors)


def test_the_schema_of_a_model_in_memory_keeps_its_order_and_shapes() -> None:
    schema = schema_for({"w": np.zeros((3, 2)), "b": np.array(1.0)}, exponent=2, update_exponent=1)

    assert schema == ModelSchema((TensorSpec("w", (3, 2), 2, 1), TensorSpec("b", (), 2, 1)))
