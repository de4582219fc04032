"""Results of closed rounds, computed by every validator for itself. One law: same inputs, same bits, on any machine.

The node fetches the payloads a job names, hands their bytes to `compute` in a worker, and signs what comes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.aggregates import latest_closed
from fl.aggregators import Aggregation, aggregate, clip_norm_in_units
from fl.grid import (
    GridError,
    apply_aggregate,
    check_words,
    model_from_bytes,
    model_to_bytes,
    next_exponents,
    update_from_bytes,
)
from fl.records import AggregateClaim, Contribution, ModelState, RoundResult, RoundState, TaskSpec, UpdateState
from fl.schema import ModelSchema
from fl.state import active_tasks, model_of, present, task_of, update_of
from ledger.application import StateReader
from ledger.codec import CodecError, decode
from ledger.digest import DIGEST_BYTES
from ledger.fields import UINT_MAX
from ledger.payload import SALT_BYTES, describe
from ledger.transaction import TRANSACTION_BYTES_MAX, decode_transaction

MODEL_SALT: Final = bytes(DIGEST_BYTES)
"""Models are known to every member, so their payloads need no secret salt; all validators must write the same one."""


class InputError(ValueError):
    """The bytes handed in are not the inputs of the job."""


@dataclass(frozen=True, slots=True)
class AggregationJob:
    """A closed round and everything that its result depends on."""

    spec: TaskSpec
    round: RoundState
    base: ModelState
    updates: tuple[UpdateState, ...]
    """Ascending by participant."""


@dataclass(frozen=True, slots=True)
class ComputedRound:
    """A result and the new model's payload, which it names."""

    result: RoundResult
    model_payload: bytes


def closed_jobs(state: StateReader) -> Iterator[AggregationJob]:
    """Yield a job for each round that waits for its result."""
    for name in active_tasks(state):
        closed = latest_closed(state, name)
        if closed is not None:
            yield job_of(state, closed)


def job_of(state: StateReader, closed: RoundState) -> AggregationJob:
    """Return the job of a round whose input set is fixed."""
    task = present(task_of(state, closed.task), "a round's task")
    base = present(model_of(state, closed.task, closed.base_version), "a round's base model")
    updates = tuple(
        present(update_of(state, closed.task, closed.number, name), "an update in a round")
        for name in closed.participants
    )
    return AggregationJob(task.spec, closed, base, updates)


def claimed_results(transactions: Sequence[bytes]) -> Iterator[RoundResult]:
    """Yield the results that a block's transactions claim; a validator votes only if it computed the same."""
    for raw in transactions:
        try:
            transaction = decode_transaction(raw)
            if transaction.kind == "aggregate":
                yield decode(transaction.payload, AggregateClaim, bytes_max=TRANSACTION_BYTES_MAX).result
        except CodecError:
            continue  # what does not decode is refused by execution and claims nothing


def compute(job: AggregationJob, base_payload: bytes | None, update_payloads: Sequence[bytes]) -> ComputedRound:
    """Aggregate a closed round.

    Args:
        job: the round and its inputs' names.
        base_payload: salt and int32 words of the base model; None when the job's base is all zeros.
        update_payloads: salt and int16 words of each update, in the order of `job.updates`.

    Raises:
        InputError: a payload has the wrong length or words out of range.
        AggregationError: too few updates for the rule.
    """
    schema, exponents = job.spec.schema, job.round.exponents
    model = _base_model(job, base_payload)
    aggregation = aggregate(
        job.spec.rule,
        _rows(job, update_payloads),
        [update.samples for update in job.updates],
        schema.segments(exponents),
        clip_norm=clip_norm_in_units(job.spec.clip_norm_micros, exponents),
    )
    words, saturated = apply_aggregate(model, aggregation.numerator, aggregation.denominator, exponents, schema)
    payload = MODEL_SALT + model_to_bytes(words)
    result = RoundResult(
        task=job.spec.id,
        round=job.round.number,
        base_version=job.round.base_version,
        model=describe(payload),
        exponents=next_exponents(exponents, aggregation.peaks, schema),
        peaks=tuple(aggregation.peaks),
        saturated=saturated,
        contributions=tuple(_contributions(job, aggregation)),
    )
    return ComputedRound(result, payload)


def model_words(payload: bytes | None, schema: ModelSchema) -> NDArray[np.int32]:
    """Return a model's words, shape (d,); all zeros for None.

    Args:
        payload: salt and int32 words.
        schema: the task's.

    Raises:
        InputError: the payload has another length.
    """
    if payload is None:
        return np.zeros(schema.size, dtype=np.int32)
    try:
        return model_from_bytes(payload[SALT_BYTES:], schema)
    except GridError as error:
        message = f"model payload: {error}"
        raise InputError(message) from error


def _rows(job: AggregationJob, payloads: Sequence[bytes]) -> NDArray[np.int16]:
    if len(payloads) != len(job.updates):
        message = f"round {job.round.number} has {len(job.updates)} updates, got {len(payloads)} payloads"
        raise InputError(message)
    rows = np.empty((len(payloads), job.spec.schema.size), dtype=np.int16)
    for index, (update, payload) in enumerate(zip(job.updates, payloads, strict=True)):
        try:
            rows[index] = update_from_bytes(memoryview(payload)[SALT_BYTES:], job.spec.schema)
        except GridError as error:
            message = f"update of {update.participant}: {error}"
            raise InputError(message) from error
        verdict = check_words(rows[index])
        if verdict != "ok":
            message = f"update of {update.participant}: words are {verdict}, though a quorum acknowledged them"
            raise InputError(message)
    return rows


def _base_model(job: AggregationJob, payload: bytes | None) -> NDArray[np.int32]:
    if (payload is None) != (job.base.payload is None):
        message = f"round {job.round.number}: the base model's payload must be given exactly when it is not all zeros"
        raise InputError(message)
    return model_words(payload, job.spec.schema)


def _contributions(job: AggregationJob, aggregation: Aggregation) -> Iterator[Contribution]:
    for index, update in enumerate(job.updates):
        retained, out_of = aggregation.retained[index]
        norm = min(isqrt(aggregation.norms_squared[index]), UINT_MAX)
        yield Contribution(update.participant, aggregation.weights[index], norm, retained, out_of)
