"""Results of closed rounds, computed by every validator for itself. One law: same inputs, same bits, on any machine.

The node fetches the payloads a job names, hands their bytes to `compute` in a worker, and signs what comes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import isqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.aggregates import latest_closed
from fl.aggregators import IN_TURN, Decision, LastPass, UpdateRangeError, Work, clip_norm_in_units, decide
from fl.governance.state import spec_of_round
from fl.grid import MODEL_WORD_BYTES, GridError, model_from_bytes, next_exponents
from fl.optimisers import OptimiserSpec, Server, model_body, model_bytes
from fl.records import AggregateClaim, Contribution, ModelState, RoundResult, RoundState, TaskSpec, UpdateState
from fl.schema import ModelSchema, Segment, TensorSpec
from fl.state import active_tasks, model_of, present, round_of, task_of, update_of
from ledger.application import StateReader
from ledger.codec import CodecError, decode
from ledger.digest import DIGEST_BYTES
from ledger.fields import UINT_MAX
from ledger.merkle import root_of_hashes
from ledger.payload import SALT_BYTES, PayloadDescriptor, chunk_hashes
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

    @property
    def payloads(self) -> tuple[PayloadDescriptor, ...]:
        """The bytes that the result follows from: the base model's, unless it is all zeros, and each update's."""
        base = () if self.base.payload is None else (self.base.payload,)
        return (*base, *(update.payload for update in self.updates))

    @property
    def root(self) -> int | None:
        """Which update is that of the participant whom the rule trusts; None when it is not there."""
        names = [update.participant for update in self.updates]
        return names.index(self.spec.rule.root) if self.spec.rule.root in names else None


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
    return AggregationJob(spec_of_round(state, task, closed.number), closed, base, updates)


def producing_job(state: StateReader, model: ModelState) -> AggregationJob | None:
    """Return the job whose result a certified model is; None for an initial model."""
    if model.round == 0:
        return None
    return job_of(state, present(round_of(state, model.task, model.round), "a model's round"))


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
    _require_base(job, base_payload)
    if len(update_payloads) != len(job.updates):
        message = f"round {job.round.number} has {len(job.updates)} updates, got {len(update_payloads)} payloads"
        raise InputError(message)
    inputs = RoundInputs(job)
    if base_payload is not None:
        if len(base_payload) != len(inputs.base):
            message = f"model payload: {len(inputs.base)} bytes are needed, got {len(base_payload)}"
            raise InputError(message)
        inputs.base[:] = base_payload
    for row, (update, payload) in enumerate(zip(job.updates, update_payloads, strict=True)):
        if len(payload) - SALT_BYTES != inputs.row(row).nbytes:
            needed = inputs.row(row).nbytes + SALT_BYTES
            raise InputError(f"update of {update.participant}: {needed} bytes are needed, got {len(payload)}")
        inputs.row(row)[:] = memoryview(payload)[SALT_BYTES:]
    computed = compute_in_place(inputs)
    return ComputedRound(computed.result, bytes(inputs.model))


class RoundInputs:
    """Memory for a job's inputs, to be filled before `compute_in_place`: all that aggregation needs, allocated once."""

    def __init__(self, job: AggregationJob, used: RoundInputs | None = None, *, streamed: bool = False) -> None:
        """Make room for a job: 2 n d bytes of updates and 4 d bytes of model.

        Args:
            job: what will be computed.
            used: of an earlier job, which is not needed any more; its memory serves again where it fits, since fresh
                pages cost more than the sums. A model that it holds and that is this job's base stays.
            streamed: the updates stay elsewhere (`fl.streaming`): room for the model alone, `words` has no columns.
        """
        size = job.spec.schema.size
        columns = 0 if streamed else size
        self.job: Final = job
        self.words: Final[NDArray[np.int16]] = (
            used.words
            if used is not None and used.words.shape == (len(job.updates), columns)
            else np.empty((len(job.updates), columns), dtype="<i2")
        )
        """Shape (n, d): the updates' words, in the order of `job.updates`."""

        needed = model_bytes(job.spec.schema, job.spec.optimiser)
        fits = used is not None and len(used.model) == needed
        self.model: Final[memoryview] = used.model if used is not None and fits else np.empty(needed, np.uint8).data
        """The base model's payload; after `compute_in_place` the new model's, each with its optimiser's memory."""

        initial = SALT_BYTES + MODEL_WORD_BYTES * size
        self.base: Final[memoryview] = self.model[:initial] if job.base.round == 0 else self.model
        """Where the base model's payload goes: an initial model has no memory yet, which is all zeros then."""

        self.holds: PayloadDescriptor | None = used.holds if used is not None and fits else None
        """What `model` is known to be; None when it is all zeros or unknown."""

        if job.base.payload is None:
            self.holds = None
            np.frombuffer(self.model, np.uint8)[:] = 0
        np.frombuffer(self.model, np.uint8)[len(self.base) :] = 0

    def row(self, index: int) -> memoryview:
        """Return where the body of one update goes, as bytes."""
        return memoryview(self.words[index]).cast("B")


@dataclass(frozen=True, slots=True)
class ComputedModel:
    """A result whose model stands in `RoundInputs.model`."""

    result: RoundResult
    chunk_hashes: bytes
    """Leaf hashes of the model payload's chunks, 32 bytes each, so that storing it need not hash it again."""


def compute_in_place(inputs: RoundInputs, work: Work = IN_TURN) -> ComputedModel:
    """As `compute`, on inputs in memory: `inputs.model` becomes the new model's payload.

    Args:
        inputs: filled.
        work: how the passes are carried out; the result is the same.

    Raises:
        InputError: words are out of range.
        AggregationError: too few updates for the rule.
    """
    job = inputs.job
    schema, exponents = job.spec.schema, job.round.exponents
    segments = schema.segments(exponents)
    try:
        decision = decide(
            job.spec.rule,
            inputs.words.astype(np.int16, copy=False),
            [update.samples for update in job.updates],
            segments,
            clip_norm=clip_norm_in_units(job.spec.clip_norm_micros, exponents),
            seed=job.round.seed,
            root=job.root,
            work=work,
        )
    except UpdateRangeError as error:
        message = f"update of {job.updates[error.row].participant}: {error}, though a quorum acknowledged it"
        raise InputError(message) from error
    inputs.holds = None
    saturated = _advance(inputs, decision, segments)
    return concluded(inputs, decision, saturated)


def concluded(inputs: RoundInputs, decision: Decision, saturated: int) -> ComputedModel:
    """Return the result of a round whose new model stands in `inputs.model`, and note there what it is."""
    job = inputs.job
    hashes = chunk_hashes(inputs.model)
    inputs.holds = PayloadDescriptor(len(inputs.model), root_of_hashes(hashes))
    result = RoundResult(
        task=job.spec.id,
        round=job.round.number,
        base_version=job.round.base_version,
        model=inputs.holds,
        exponents=next_exponents(job.round.exponents, decision.peaks, job.spec.schema),
        peaks=tuple(decision.peaks),
        saturated=saturated,
        contributions=tuple(_contributions(job, decision)),
    )
    return ComputedModel(result, b"".join(hashes))


def model_words(
    payload: bytes | None, schema: ModelSchema, optimiser: OptimiserSpec | None = None
) -> NDArray[np.int32]:
    """Return a model's words, shape (d,); all zeros for None.

    Args:
        payload: salt and int32 words, and what the optimiser remembers.
        schema: the task's.
        optimiser: the task's.

    Raises:
        InputError: the payload has another length.
    """
    if payload is None:
        return np.zeros(schema.size, dtype=np.int32)
    try:
        return model_from_bytes(model_body(payload, schema, optimiser), schema)
    except GridError as error:
        message = f"model payload: {error}"
        raise InputError(message) from error


def _advance(inputs: RoundInputs, decision: Decision, segments: Sequence[Segment]) -> int:
    """Turn the base model's payload into the new one's, piece by piece; return how many words were saturated."""
    last = decision.last_pass
    inputs.model[:SALT_BYTES] = MODEL_SALT
    server = Server(inputs.model, inputs.job.spec.schema, inputs.job.spec.optimiser)
    saturated = 0
    for tensor, segment in zip(inputs.job.spec.schema.tensors, segments, strict=True):
        advance = partial(_advance_piece, server, last, tensor, segment.exponent)
        saturated += sum(last.rows.work.run(advance, last.places(segment.start, segment.stop)))
    return saturated


def _advance_piece(server: Server, last: LastPass, tensor: TensorSpec, exponent: int, place: slice) -> int:
    return server.advance(tensor, exponent, place, last.sums(place), last.denominator)


def _require_base(job: AggregationJob, payload: bytes | None) -> None:
    if (payload is None) != (job.base.payload is None):
        message = f"round {job.round.number}: the base model's payload must be given exactly when it is not all zeros"
        raise InputError(message)


def _contributions(job: AggregationJob, decision: Decision) -> Iterator[Contribution]:
    for index, update in enumerate(job.updates):
        retained, out_of = decision.retained[index]
        norm = min(isqrt(decision.norms_squared[index]), UINT_MAX)
        yield Contribution(update.participant, decision.weights[index], norm, retained, out_of)
