"""Round results of this node and its peers. One law: sign only what was computed here.

For every closed round the node fetches the payloads, aggregates in a worker thread, signs the result, puts the new
model on disk, and collects the other validators' signatures until a quorum agrees; then the next proposer can claim it.
The signature does not wait for the disk: a model that a crash took away everywhere is computed again from the updates,
which a quorum has on disk (`restore`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final, Protocol, TypeVar

import msgspec
import structlog

from fl.aggregates import sign_result, verify_result_seal
from fl.aggregators import AggregationError
from fl.records import AggregateClaim, RoundResult
from fl.results import AggregationJob, ComputedModel, InputError, RoundInputs, compute_in_place
from ledger.certificate import Seal
from ledger.codec import Record, decode, encode
from ledger.digest import Digest
from ledger.fields import DigestField, NameField, Uint
from ledger.identity import SigningKey
from ledger.payload import PayloadDescriptor
from ledger.validators import ValidatorSet
from node.aggregation import DEFAULTS, Aggregation
from node.background import background_threads
from node.payloads.errors import PayloadError
from node.round_inputs import read_inputs

RESULT_VOTE_BYTES_MAX: Final = 1_024
ROUNDS_REMEMBERED_MAX: Final = 256
"""Rounds whose votes and results are kept: those of all active tasks and a few that are just over."""

RETRY_SECONDS: Final = 1.0
RETRY_SECONDS_MAX: Final = 30.0

MEMORY_SECONDS_MAX: Final = 30.0
"""How long the memory of a round is kept for the next one."""

log = structlog.get_logger(__name__)

RoundId = tuple[str, int]
T = TypeVar("T")


class ResultVote(Record):
    """A validator's signature over its result of a round, as it travels between nodes."""

    task: NameField
    round: Uint
    result: DigestField
    seal: Seal


class Payloads(Protocol):
    """Where payloads come from and go to."""

    async def obtain(self, descriptor: PayloadDescriptor) -> None:
        """Return once the payload is here, fetched from peers when it was not."""
        ...

    def read_into(self, descriptor: PayloadDescriptor, offset: int, target: memoryview) -> None:
        """Fill `target` with the bytes of a payload that is here, from `offset` on; blocks, for worker threads."""
        ...

    async def keep(self, descriptor: PayloadDescriptor, payload: memoryview, chunk_hashes: bytes) -> None:
        """Store a payload durably; who wants to `obtain` it meanwhile waits for that."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the result of a closed round is, for people."""

    job: AggregationJob
    computed: bool
    error: str
    """Why the latest attempt to compute it failed; empty when none did."""

    signers: tuple[int, ...]
    """Validators whose signature under this node's result is here, ascending."""


@dataclass(slots=True)
class _Round:
    """What is known of one round's result."""

    job: AggregationJob | None = None
    computed: RoundResult | None = None
    votes: dict[int, ResultVote] = field(default_factory=dict)
    """The first vote of each validator."""

    done: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the own result is there."""

    task: asyncio.Task[None] | None = None
    error: str = ""
    has_inputs: bool = False
    """Set once the updates are here: then the work is finished even if others certified the round meanwhile."""


class ResultBook:
    """Computes, signs, collects. The driver tells it which rounds are closed and hands it the peers' votes."""

    def __init__(
        self,
        key: SigningKey,
        chain_id: Digest,
        payloads: Payloads,
        broadcast: Callable[[bytes], None],
        on_certifiable: Callable[[], None],
        on_two_results: Callable[[ResultVote, ResultVote], None] = lambda *_: None,
        aggregation: Aggregation | None = None,
    ) -> None:
        """Make an empty book.

        Args:
            key: the validator's; a node that is no validator computes but does not sign.
            chain_id: goes into every signature.
            payloads: gives updates and base models, takes new models.
            broadcast: sends a vote to all peers.
            on_certifiable: called when a quorum agrees with the own result.
            on_two_results: told when a validator has signed two results of one round.
            aggregation: who computes; `stop` lets it go. By default threads.
        """
        self._key = key
        self._chain_id = chain_id
        self._payloads = payloads
        self._broadcast = broadcast
        self._on_certifiable = on_certifiable
        self._on_two_results = on_two_results
        self._rounds: dict[RoundId, _Round] = {}
        self._late: set[asyncio.Task[None]] = set()
        self._used: RoundInputs | None = None
        self._thread = background_threads(1, "results")
        self._aggregation = aggregation or Aggregation(DEFAULTS, payloads.read_into)
        self.validators: ValidatorSet | None = None
        self.seconds_last: float = 0.0
        """How long the latest aggregation took."""

        self.divergent: RoundId | None = None
        """A round in which a quorum signed another result than this node computed: its build or machine is faulty."""

    def turn_to(self, validators: ValidatorSet) -> None:
        """Count the votes of this set from now on; those of who stays are kept under their new indices."""
        before, self.validators = self.validators, validators
        if before is None or before == validators:
            return
        for identity, entry in self._rounds.items():
            entry.votes = dict(_moved(entry.votes, before, validators))
            if entry.computed is not None and validators.index_of(self._key.public_key) not in entry.votes:
                self._sign(entry, entry.computed)
            self._check_quorum(identity, entry)

    def open_job(self, job: AggregationJob) -> None:
        """Begin to work on a closed round, unless that has begun already."""
        entry = self._entry((job.spec.id, job.round.number))
        if entry.job is None:
            entry.job = job
            entry.task = asyncio.create_task(self._work(entry, job))

    def restore(self, job: AggregationJob) -> None:
        """Compute a certified round's model again, which was not on disk when this node stopped; its inputs are."""
        task = asyncio.create_task(self._work(_Round(has_inputs=True), job))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def forget_except(self, closed: set[RoundId]) -> None:
        """Drop rounds that are over; called after every block with the rounds that are closed now.

        A computation that is under way goes on, so that this node too keeps the model that others have certified.
        """
        for identity in [identity for identity, entry in self._rounds.items() if identity not in closed and entry.job]:
            self._drop(identity)

    def take_vote(self, data: bytes) -> bool:
        """Take a peer's vote.

        Returns:
            Whether it was new and valid.

        Raises:
            CodecError: the bytes are no vote.
        """
        vote = decode(data, ResultVote, bytes_max=RESULT_VOTE_BYTES_MAX)
        validators = self.validators
        if validators is None or vote.seal.validator >= len(validators):
            return False
        earlier = self._rounds.get((vote.task, vote.round))
        known = None if earlier is None else earlier.votes.get(vote.seal.validator)
        if known is not None and known.result == vote.result:
            return False
        if not verify_result_seal(self._chain_id, validators, vote.task, vote.round, vote.result, vote.seal):
            return False
        if known is not None:
            name = validators.members[vote.seal.validator].name
            log.error("result.equivocation", validator=name, task=vote.task, round=vote.round)
            self._on_two_results(known, vote)
            return False
        entry = self._entry((vote.task, vote.round))
        entry.votes[vote.seal.validator] = vote
        self._check_quorum((vote.task, vote.round), entry)
        return True

    def claims(self) -> list[AggregateClaim]:
        """Return the results that a quorum agrees on, ready for a block."""
        ready = (self._claim(entry) for entry in self._rounds.values())
        return [claim for claim in ready if claim is not None]

    async def agrees(self, result: RoundResult) -> bool:
        """Tell whether this node computed exactly `result`; waits for its own computation."""
        entry = self._rounds.get((result.task, result.round))
        if entry is None or entry.job is None:
            return False
        await entry.done.wait()
        return entry.computed == result

    def progress(self) -> list[Progress]:
        """Tell how far the results of closed rounds are."""
        found = []
        for entry in self._rounds.values():
            if entry.job is not None:
                seals = [] if entry.computed is None else self._agreeing(entry, entry.computed.digest)
                signers = tuple(seal.validator for seal in seals)
                found.append(Progress(entry.job, entry.computed is not None, entry.error, signers))
        return found

    def resend(self) -> None:
        """Say the own votes of rounds that are still closed once more."""
        index = None if self.validators is None else self.validators.index_of(self._key.public_key)
        for entry in self._rounds.values():
            if entry.job is not None and index in entry.votes:
                self._broadcast(encode(entry.votes[index]))

    async def stop(self) -> None:
        """Give up whatever is being computed."""
        tasks = [entry.task for entry in self._rounds.values() if entry.task is not None] + list(self._late)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._aggregation.close()

    async def _work(self, entry: _Round, job: AggregationJob) -> None:
        try:
            inputs, computed = await self._compute_patiently(entry, job)
            entry.computed = computed.result
        except (InputError, AggregationError) as error:
            entry.error = str(error)
            log.exception("result.impossible", task=job.spec.id, round=job.round.number)
            return
        finally:
            entry.done.set()
        keeping = asyncio.create_task(self._keep(entry, job, inputs, computed))
        try:
            if self._rounds.get((job.spec.id, job.round.number)) is entry:
                self._sign(entry, computed.result)
            await keeping
        finally:
            keeping.cancel()

    async def _compute_patiently(self, entry: _Round, job: AggregationJob) -> tuple[RoundInputs, ComputedModel]:
        return await _patiently("result.inputs_missing", entry, job, lambda: self._compute(entry, job))

    async def _keep(self, entry: _Round, job: AggregationJob, inputs: RoundInputs, computed: ComputedModel) -> None:
        began = perf_counter()

        async def keep() -> None:
            await self._payloads.keep(computed.result.model, inputs.model, computed.chunk_hashes)

        await _patiently("result.model_not_kept", entry, job, keep)
        self._lay_aside(inputs)
        seconds = perf_counter() - began
        log.info("result.kept", task=job.spec.id, round=job.round.number, keep_seconds=seconds)

    async def _compute(self, entry: _Round, job: AggregationJob) -> tuple[RoundInputs, ComputedModel]:
        began = perf_counter()
        for payload in job.payloads:
            await self._payloads.obtain(payload)
        entry.has_inputs = True
        obtained = perf_counter()
        used, self._used = self._used, None
        loop = asyncio.get_running_loop()
        if self._aggregation.streams(job):
            inputs, computed = await loop.run_in_executor(self._thread, self._aggregation.stream, job, used)
            self.seconds_last = perf_counter() - obtained
            log.info(
                "result.streamed",
                task=job.spec.id,
                round=job.round.number,
                obtain_seconds=obtained - began,
                aggregate_seconds=self.seconds_last,
            )
            return inputs, computed
        inputs = await loop.run_in_executor(self._thread, read_inputs, job, used, self._payloads.read_into)
        read = perf_counter()
        computed = await loop.run_in_executor(self._thread, compute_in_place, inputs, self._aggregation.work)
        self.seconds_last = perf_counter() - read
        log.info(
            "result.computed",
            task=job.spec.id,
            round=job.round.number,
            obtain_seconds=obtained - began,
            read_seconds=read - obtained,
            aggregate_seconds=self.seconds_last,
        )
        return inputs, computed

    def _lay_aside(self, inputs: RoundInputs) -> None:
        """Keep a round's memory, and the model in it, for the next one, unless that is long in coming."""

        def drop() -> None:
            if self._used is inputs:
                self._used = None

        self._used = inputs
        asyncio.get_running_loop().call_later(MEMORY_SECONDS_MAX, drop)

    def _sign(self, entry: _Round, result: RoundResult) -> None:
        validators = self.validators
        index = None if validators is None else validators.index_of(self._key.public_key)
        if validators is not None and index is not None:
            seal = sign_result(self._key, self._chain_id, validators, result)
            vote = ResultVote(result.task, result.round, result.digest, seal)
            entry.votes[index] = vote
            self._broadcast(encode(vote))
        self._check_quorum((result.task, result.round), entry)

    def _claim(self, entry: _Round) -> AggregateClaim | None:
        if entry.computed is None or self.validators is None:
            return None
        seals = self._agreeing(entry, entry.computed.digest)
        return AggregateClaim(entry.computed, tuple(seals)) if len(seals) >= self.validators.quorum else None

    def _check_quorum(self, identity: RoundId, entry: _Round) -> None:
        if self._claim(entry) is not None:
            self._on_certifiable()
        elif entry.computed is not None and self.validators is not None:
            for digest in {vote.result for vote in entry.votes.values()} - {entry.computed.digest}:
                if len(self._agreeing(entry, digest)) >= self.validators.quorum:
                    self.divergent = identity
                    log.critical("result.divergent", task=identity[0], round=identity[1], quorum=digest.hex())

    @staticmethod
    def _agreeing(entry: _Round, digest: Digest) -> list[Seal]:
        return [vote.seal for _, vote in sorted(entry.votes.items()) if vote.result == digest]

    def _entry(self, identity: RoundId) -> _Round:
        if identity not in self._rounds:
            while len(self._rounds) >= ROUNDS_REMEMBERED_MAX:
                unclaimed = (known for known, entry in self._rounds.items() if entry.job is None)
                self._drop(next(unclaimed, next(iter(self._rounds))))
            self._rounds[identity] = _Round()
        return self._rounds[identity]

    def _drop(self, identity: RoundId) -> None:
        entry = self._rounds.pop(identity)
        if entry.task is not None and entry.has_inputs and not entry.task.done():
            self._late.add(entry.task)
            entry.task.add_done_callback(self._late.discard)
            return
        entry.done.set()
        if entry.task is not None:
            entry.task.cancel()


async def _patiently(fault: str, entry: _Round, job: AggregationJob, work: Callable[[], Awaitable[T]]) -> T:
    """Do what needs disks and peers, again and again until they are there; each failure is logged as `fault`."""
    delay = RETRY_SECONDS
    while True:
        try:
            return await work()
        except (OSError, TimeoutError, PayloadError) as error:
            entry.error = str(error)
            log.warning(fault, task=job.spec.id, round=job.round.number, error=str(error))
            await asyncio.sleep(delay)
            delay = min(2 * delay, RETRY_SECONDS_MAX)


def _moved(votes: dict[int, ResultVote], before: ValidatorSet, after: ValidatorSet) -> Iterator[tuple[int, ResultVote]]:
    """Yield the votes of those who are in both sets, as the later one numbers them."""
    for index, vote in votes.items():
        place = after.index_of(before.members[index].public_key)
        if place is not None:
            yield place, msgspec.structs.replace(vote, seal=Seal(place, vote.seal.signature))
