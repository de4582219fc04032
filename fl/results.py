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
from fl.aggregators.clip import WHOLE
from fl.aggregators.gram import gram_matrix
from fl.aggregators.rows import Rows
from fl.governance.state import spec_of_round
from fl.grid import MODEL_WORD_BYTES, GridError, model_from_bytes, next_exponents
from fl.incentives.matrix import GramMatrix, matrix_of
from fl.incentives.past import global_updates
from fl.incentives.state import stake_of
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

    earlier: tuple[ModelState, ...] = ()
    """Of a round that is paid for: the models before the base, the latest first."""

    is_paid: bool = False
    """Whether the result brings a Gram matrix."""

    @property
    def payloads(self) -> tuple[PayloadDescriptor, ...]:
        """The bytes that the result follows from: of the base and earlier models but all zeros, and of each update."""
        models = (model.payload for model in (self.base, *self.earlier) if model.payload is not None)
        return (*models, *(update.payload for update in self.updates))

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
    staked = stake_of(state, closed.task, closed.number)
    earlier = tuple(
        present(model_of(state, closed.task, closed.base_version - back), "a model before the base")
        for back in range(1, (0 if staked is None else staked.past) + 1)
    )
    return AggregationJob(spec_of_round(state, task, closed.number), closed, base, updates, earlier, staked is not None)


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


def compute(
    job: AggregationJob,
    base_payload: bytes | None,
    update_payloads: Sequence[bytes],
    earlier_payloads: Sequence[bytes | None] = (),
) -> ComputedRound:
    """Aggregate a closed round.

    Args:
        job: the round and its inputs' names.
        base_payload: salt and int32 words of the base model; None when the job's base is all zeros.
        update_payloads: salt and int16 words of each update, in the order of `job.updates`.
        earlier_payloads: as `base_payload`, of each of `job.earlier`.

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
    if len(earlier_payloads) != len(job.earlier):
        message = f"round {job.round.number} is paid for and needs {len(job.earlier)} models before the base, "
        raise InputError(f"{message}got {len(earlier_payloads)}")
    earlier = [_earlier_words(payload, job.spec.schema.size) for payload in earlier_payloads]
    inputs.write_past(slice(0, job.spec.schema.size), earlier)
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
        shape = (len(job.updates) + len(job.earlier), 0 if streamed else size)
        self.job: Final = job
        self.rows: Final[NDArray[np.int16]] = (
            used.rows if used is not None and used.rows.shape == shape else np.empty(shape, dtype="<i2")
        )
        """Shape (n + h, d): the updates' words, then the past global updates on the same grid (`write_past`)."""

        self.words: Final[NDArray[np.int16]] = self.rows[: len(job.updates)]
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

    def write_past(self, place: slice, earlier: Sequence[NDArray[np.int32]]) -> None:
        """Write some columns of the past global updates; the base model is there.

        Args:
            place: which columns.
            earlier: these words of each of `job.earlier`, shape (c,).
        """
        base = np.frombuffer(self.model, "<i4", offset=SALT_BYTES)[place].astype(np.int32, copy=False)
        schema, exponents = self.job.spec.schema, self.job.round.exponents
        for row, words in enumerate(global_updates([base, *earlier], place, schema, exponents), len(self.words)):
            self.rows[row, place] = words


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
    segments = job.spec.schema.segments(job.round.exponents)
    decision = decision_of(job, inputs.words, work)
    matrix = _matrix(inputs, segments, work) if job.is_paid else None
    inputs.holds = None
    saturated = _advance(inputs, decision, segments)
    return concluded(inputs, decision, saturated, matrix)


def concluded(
    inputs: RoundInputs, decision: Decision, saturated: int, matrix: GramMatrix | None = None
) -> ComputedModel:
    """Return the result of a round whose new model stands in `inputs.model`, and note there what it is."""
    job = inputs.job
    assert (matrix is not None) == job.is_paid, "a round that is paid for is computed in memory"
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
        matrix=matrix,
    )
    return ComputedModel(result, b"".join(hashes))


def decision_of(job: AggregationJob, words: NDArray[np.int16], work: Work = IN_TURN) -> Decision:
    """Let the task's rule decide about a round's updates.

    Args:
        job: the round.
        words: shape (n, d), in the order of `job.updates`.
        work: how the passes are carried out; the decision is the same.

    Raises:
        InputError: words are out of range.
        AggregationError: too few updates for the rule.
    """
    try:
        return decide(
            job.spec.rule,
            words.astype(np.int16, copy=False),
            [update.samples for update in job.updates],
            job.spec.schema.segments(job.round.exponents),
            clip_norm=clip_norm_in_units(job.spec.clip_norm_micros, job.round.exponents),
            seed=job.round.seed,
            root=job.root,
            work=work,
        )
    except UpdateRangeError as error:
        message = f"update of {job.updates[error.row].participant}: {error}, though a quorum acknowledged it"
        raise InputError(message) from error


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


def _earlier_words(payload: bytes | None, size: int) -> NDArray[np.int32]:
    """Return a model's words without what its optimiser remembers; all zeros for None."""
    if payload is None:
        return np.zeros(size, np.int32)
    if len(payload) < SALT_BYTES + MODEL_WORD_BYTES * size:
        raise InputError(f"model payload: {size} words are needed, got {len(payload)} bytes")
    return np.frombuffer(payload, "<i4", size, SALT_BYTES).astype(np.int32, copy=False)


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


def _matrix(inputs: RoundInputs, segments: tuple[Segment, ...], work: Work) -> GramMatrix:
    whole = inputs.rows.astype(np.int16, copy=False)
    rows = Rows(whole, (WHOLE,) * len(whole), segments, work)
    return matrix_of(gram_matrix(rows), len(inputs.job.earlier))


def _contributions(job: AggregationJob, decision: Decision) -> Iterator[Contribution]:
    for index, update in enumerate(job.updates):
        retained, out_of = decision.retained[index]
        norm = min(isqrt(decision.norms_squared[index]), UINT_MAX)
        yield Contribution(update.participant, decision.weights[index], norm, retained, out_of)
