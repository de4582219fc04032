"""Server optimisers: how an aggregate moves the model, against the page's arithmetic in plain Python integers."""

from __future__ import annotations

import struct
from math import isqrt
from typing import Final, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.optimisers import OptimiserSpec, OptimiserSpecError, Server, memory_bytes, model_bytes
from fl.optimisers.adaptive import integer_roots
from fl.optimisers.spec import OptimiserId
from fl.results import RoundInputs, closed_jobs, compute_in_place, model_words
from fl.schema import ModelSchema, TensorSpec
from ledger.payload import SALT_BYTES
from tests.fl.consortium import SCHEMA, Consortium, task_spec
from tests.fl.optimiser_vectors import Vector, read, stepped, vector_of
from tests.project import protocol_arithmetic as arithmetic

MOMENTUM: Final = OptimiserSpec("momentum/1", 1_000_000, 900)
ADAM: Final = OptimiserSpec("adam/1", 10_000, 900, 990, 1_000)
YOGI: Final = OptimiserSpec("yogi/1", 20_000, 0, 999, 1)
BY_NAME = pytest.mark.parametrize("spec", [MOMENTUM, ADAM, YOGI], ids=lambda spec: spec.optimiser)
VECTORS: Final = read().steps
WORDS: Final = st.sampled_from([0, 1, -1, 499, 500, 2**26, 2**31 - 1, -(2**31)]) | st.integers(-(2**31), 2**31 - 1)
MEANS: Final = st.sampled_from([0, 1, -1, 5, 2**26 - 1]) | st.integers(-(2**26) + 1, 2**26 - 1)
SQUARES: Final = st.sampled_from([0, 1, 2**52, 2**53]) | st.integers(0, 2**53)


def by_the_page(
    spec: OptimiserSpec, tensors: tuple[tuple[int, int, int], ...], numerator: list[int], denominator: int, body: bytes
) -> tuple[bytes, int]:
    size = len(numerator)
    whole = body.ljust(16 * size, b"\0")
    words, means = struct.unpack(f"<{size}i", whole[: 4 * size]), struct.unpack(f"<{size}i", whole[4 * size : 8 * size])
    squares = struct.unpack(f"<{size}q", whole[8 * size :])
    outcome = arithmetic.Outcome(numerator, denominator, [], [], [], [], [])
    optimiser = arithmetic.Optimiser(
        spec.optimiser, spec.rate_micros, spec.momentum_permille, spec.variance_permille, spec.floor_micros
    )
    grids = [arithmetic.Tensor(*one) for one in tensors]
    new, kept, grown, cut = arithmetic.optimised(optimiser, list(words), list(means), list(squares), outcome, grids)
    made = struct.pack(f"<{2 * size}i", *new, *kept)
    return made + (struct.pack(f"<{size}q", *grown) if memory_bytes(spec) == 12 else b""), cut


@BY_NAME
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_step_is_what_the_page_says_at_every_extreme(spec: OptimiserSpec, data: st.DataObject) -> None:
    x = data.draw(st.integers(-6, 6))
    tensors = ((4, x, data.draw(st.integers(x - 24, x + 7))),)
    denominator = data.draw(st.sampled_from([1, 3, 10, 96, 1 << 15, 1 << 25]))
    share = st.integers(-8191 * denominator, 8191 * denominator) | st.sampled_from(
        [0, denominator, -8191 * denominator]
    )
    numerator = [data.draw(share) for _ in range(4)]
    body = struct.pack("<8i", *(data.draw(WORDS) for _ in range(4)), *(data.draw(MEANS) for _ in range(4)))
    body += struct.pack("<4q", *(data.draw(SQUARES) for _ in range(4))) if spec.is_adaptive else b""

    assert stepped(spec, tensors, numerator, denominator, body) == by_the_page(
        spec, tensors, numerator, denominator, body
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector.spec.optimiser}-{vector.denominator}")
def test_the_published_step_is_made_by_the_code_and_by_the_page(vector: Vector) -> None:
    assert vector_of(vector) == vector
    made = by_the_page(
        vector.spec, vector.tensors, list(vector.numerator), vector.denominator, bytes.fromhex(vector.body)
    )
    assert made == (bytes.fromhex(vector.next_body), vector.saturated)


def test_every_optimiser_is_published() -> None:
    assert {vector.spec.optimiser for vector in VECTORS} == set(get_args(OptimiserId))


@BY_NAME
def test_a_model_moved_in_pieces_is_the_model_moved_at_once(spec: OptimiserSpec) -> None:
    schema = ModelSchema((TensorSpec("weight", (100_003,), 0),))
    chance = np.random.default_rng(2)
    sums = chance.integers(-8191 * 7, 8191 * 7 + 1, schema.size)
    start = bytearray(chance.integers(0, 256, model_bytes(schema, spec), dtype=np.uint8).tobytes())
    behind = 32 + 8 * schema.size
    start[behind:] = np.arange(schema.size, dtype="<i8").tobytes() if spec.is_adaptive else b""
    whole, parts = bytearray(start), bytearray(start)

    saturated = Server(memoryview(whole), schema, spec).advance(schema.tensors[0], 0, slice(0, schema.size), sums, 7)
    server = Server(memoryview(parts), schema, spec)
    places = [slice(50_000, 100_003), slice(0, 1), slice(1, 50_000)]

    assert sum(server.advance(schema.tensors[0], 0, place, sums[place], 7) for place in places) == saturated
    assert parts == whole


def test_a_root_is_the_largest_integer_whose_square_is_not_more() -> None:
    edges = [k * k + more for k in (1, 2, 3, 2**20, 2**26 - 1, 2**26, 94_906_265) for more in (-1, 0, 1)]
    values = np.array([0, *edges, 2**53], np.int64)

    assert integer_roots(values).tolist() == [isqrt(value) for value in values.tolist()]


@BY_NAME
def test_what_an_optimiser_remembers_travels_in_the_model(spec: OptimiserSpec) -> None:
    """The same updates in the same round move two models differently that have the same words and other memories."""
    consortium = Consortium.begin(task_spec(optimiser=spec))
    rows = np.full((4, SCHEMA.size), 2_000, np.int16)
    moved = []
    for _ in range(3):
        before = model_words(_payload(consortium), SCHEMA, spec)
        consortium.fill_round(rows)
        computed = consortium.compute()
        assert len(computed.model_payload) == SALT_BYTES + (4 + memory_bytes(spec)) * SCHEMA.size
        assert consortium.certify(consortium.claim(computed)).code == "ok"
        moved.append(int(model_words(_payload(consortium), SCHEMA, spec)[0] - before[0]))

    if spec.momentum_permille:
        assert moved[0] < moved[1] < moved[2]
    else:
        assert moved[0] > moved[1] > moved[2] > 0


def test_a_round_that_fails_leaves_the_memory_as_it_was() -> None:
    """The model that the next round starts from is the same payload, memory and all."""
    consortium = Consortium.begin(task_spec(optimiser=MOMENTUM))
    rows = np.full((4, SCHEMA.size), 2_000, np.int16)
    consortium.fill_round(rows)
    consortium.certify(consortium.claim(consortium.compute()))
    consortium.fill_round(rows)
    first = consortium.compute().model_payload
    consortium.block(after_ms=10_000)
    assert consortium.round().number == 3
    consortium.fill_round(rows)

    assert consortium.compute().model_payload == first


def test_an_initial_model_has_words_alone_and_begins_with_no_memory() -> None:
    words = np.arange(SCHEMA.size, dtype="<i4") * 1_000
    consortium = Consortium.begin()
    certificate = consortium.keep(bytes(SALT_BYTES) + words.tobytes())
    started = Consortium.begin(task_spec(optimiser=ADAM, initial_model=certificate.acknowledgement.payload))
    started.payloads |= consortium.payloads
    started.fill_round(np.zeros((4, SCHEMA.size), np.int16))

    payload = started.compute().model_payload

    assert payload[SALT_BYTES : SALT_BYTES + 4 * SCHEMA.size] == words.tobytes()
    assert payload[SALT_BYTES + 4 * SCHEMA.size :] == bytes(12 * SCHEMA.size)


def test_memory_of_an_earlier_round_is_not_taken_for_that_of_a_first_one() -> None:
    """A node uses memory again: what is left behind the model's words must not count."""
    consortium = Consortium.begin(task_spec(optimiser=MOMENTUM))
    consortium.fill_round(np.full((4, SCHEMA.size), 2_000, np.int16))
    job = next(closed_jobs(consortium.state))
    fresh = RoundInputs(job)
    fresh.words[:] = 2_000
    used = RoundInputs(job)
    used.model[:] = b"\x55" * len(used.model)

    again = RoundInputs(job, used)
    again.words[:] = 2_000

    assert again.model is used.model
    assert compute_in_place(again).result == compute_in_place(fresh).result


def test_a_task_without_an_optimiser_has_the_models_it_always_had() -> None:
    consortium = Consortium.begin(task_spec())
    consortium.fill_round(np.full((4, SCHEMA.size), 8, np.int16))

    payload = consortium.compute().model_payload

    assert np.frombuffer(payload, "<i4", offset=SALT_BYTES).tolist() == [8 * 2**8] * SCHEMA.size


@pytest.mark.parametrize(
    "fields, message",
    [
        (("sgd/1", 1, 0), "optimiser must be one of"),
        (("momentum/1", 0, 0), "rate_micros"),
        (("momentum/1", 1, 1_000), "momentum_permille"),
        (("momentum/1", 1, 0, 990), "variance_permille"),
        (("momentum/1", 1, 0, 0, 1), "floor_micros"),
        (("adam/1", 1, 0, 990, 0), "floor_micros"),
        (("yogi/1", 1, 0, 1_000, 1), "variance_permille"),
    ],
)
def test_parameters_without_a_meaning_are_refused(fields: tuple[object, ...], message: str) -> None:
    with pytest.raises(OptimiserSpecError, match=message):
        OptimiserSpec(*fields)  # type: ignore[arg-type]


def _payload(consortium: Consortium) -> bytes | None:
    version = consortium.task().version
    if version == 0:
        return None
    return next(
        payload for payload in reversed(consortium.payloads.values()) if len(payload) > SALT_BYTES + 4 * SCHEMA.size
    )
