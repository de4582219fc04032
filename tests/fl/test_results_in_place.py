"""Rounds computed in memory that is used again, and in pieces: the same bits as from scratch."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from fl.aggregators import RuleSpec, decide
from fl.aggregators.products import FOLD, sums_of_products
from fl.grid import WORD_MAX, add_aggregate, apply_aggregate
from fl.results import MODEL_SALT, AggregationJob, RoundInputs, closed_jobs, compute, compute_in_place
from fl.rounding import add_quotient_half_even
from ledger.merkle import leaf_hash
from ledger.payload import SALT_BYTES, chunks_of
from tests.fl.aggregation_cases import Round, rounds
from tests.fl.consortium import SCHEMA, Consortium, task_spec

ROWS = np.array([[100 * row + column for column in range(SCHEMA.size)] for row in range(4)], np.int16)
CASES = [
    pytest.param(case, id=f"{case.spec.rule}+{'+'.join(case.spec.pre)}/{len(case.updates)}") for case in rounds(77)
]


def job_and_payloads(consortium: Consortium, rows: NDArray[np.int16]) -> tuple[AggregationJob, list[bytes]]:
    consortium.fill_round(rows)
    job = next(closed_jobs(consortium.state))
    return job, [consortium.payloads[update.payload.id] for update in job.updates]


def filled(job: AggregationJob, payloads: list[bytes], used: RoundInputs | None = None) -> RoundInputs:
    inputs = RoundInputs(job, used)
    for row, payload in enumerate(payloads):
        inputs.row(row)[:] = payload[SALT_BYTES:]
    return inputs


def test_memory_of_an_earlier_round_changes_no_bit_of_the_next() -> None:
    consortium = Consortium.begin(task_spec(rule=RuleSpec("trimmed-mean/1", 1)))
    first, payloads = job_and_payloads(consortium, ROWS)
    inputs = filled(first, payloads)
    computed = compute_in_place(inputs)
    assert computed.result == compute(first, None, payloads).result
    consortium.certify(consortium.claim(consortium.compute()))

    second, payloads = job_and_payloads(consortium, ROWS[::-1] * 3 - 500)
    again = filled(second, payloads, inputs)

    assert again.rows is inputs.rows
    assert again.holds == second.base.payload, "the base model is what the last round left"
    base = bytes(again.model)
    result = compute_in_place(again).result
    assert result == compute(second, base, payloads).result


def test_used_memory_is_zeroed_for_a_round_that_starts_from_zeros() -> None:
    job, payloads = job_and_payloads(Consortium.begin(task_spec()), ROWS)
    inputs = filled(job, payloads)
    first = compute_in_place(inputs)

    assert compute_in_place(filled(job, payloads, inputs)) == first


def test_chunk_hashes_are_those_of_the_model_in_memory() -> None:
    job, payloads = job_and_payloads(Consortium.begin(task_spec()), ROWS)
    inputs = filled(job, payloads)
    computed = compute_in_place(inputs)

    model = bytes(inputs.model)
    assert model == compute(job, None, payloads).model_payload
    assert model.startswith(MODEL_SALT)
    assert computed.chunk_hashes == b"".join(map(leaf_hash, chunks_of(model)))


@pytest.mark.parametrize("case", CASES)
def test_any_piece_of_the_last_pass_is_that_piece_of_the_whole(case: Round) -> None:
    segments = case.schema.segments(case.exponents)
    whole = case.aggregation()
    last = decide(
        case.spec,
        case.updates,
        case.weights,
        segments,
        clip_norm=case.clip_norm,
        seed=case.seed,
        root=case.root,
    ).last_pass

    assert last.denominator == whole.denominator
    for start, stop in ((0, 1), (1, 40), (40, 77)):
        assert last.sums(slice(start, stop)).tolist() == whole.numerator[start:stop].tolist()


@pytest.mark.parametrize("size", [1, FOLD - 1, FOLD, FOLD + 1, 1000])
def test_products_of_extreme_words_are_summed_exactly(size: int) -> None:
    extreme = np.full((2, size), WORD_MAX, np.int32)
    extreme[1] = -WORD_MAX

    assert sums_of_products(extreme[0], extreme).tolist() == [size * WORD_MAX**2, -size * WORD_MAX**2]


@pytest.mark.parametrize("denominator", [1, 2, 3, 7, 96, 1 << 15, 1 << 25, 1 << 29, 1 << 30, 1 << 38])
def test_one_division_gives_the_nearest_integer_ties_to_even(denominator: int) -> None:
    generator = np.random.default_rng(denominator)
    words = generator.integers(-(2**31), 2**31, 600)
    numerator = generator.integers(-5 * denominator, 5 * denominator + 1, 600)
    numerator[:200] = denominator // 2 * np.arange(-100, 100)

    got = add_quotient_half_even(words, numerator, denominator)

    exact = [round(int(word) + Fraction(int(part), denominator)) for word, part in zip(words, numerator, strict=True)]
    assert got.tolist() == exact


def test_a_model_advanced_in_place_saturates_and_counts_as_one_made_anew() -> None:
    model = np.full(SCHEMA.size, 2**31 - 5, np.int32)
    numerator = np.full(SCHEMA.size, 8191, np.int64)
    made, saturated = apply_aggregate(model, numerator, 1, (0,) * len(SCHEMA.tensors), SCHEMA)

    assert saturated == SCHEMA.size
    assert add_aggregate(model, numerator, 1, 11) == saturated
    assert model.tolist() == made.tolist() == [2**31 - 1] * SCHEMA.size
