"""Aggregation, run again. One law: a model is right when its inputs give it, whoever signed it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from fl.aggregators import AggregationError
from fl.application import AGGREGATE, UPDATE
from fl.explanation import measure, retention
from fl.explanation import report as explain
from fl.grid import update_from_bytes
from fl.records import AggregateClaim, RoundResult, UpdateSubmission
from fl.results import AggregationJob, ComputedRound, InputError, compute, job_of
from fl.state import round_of
from foedus.audit.history import Damage
from foedus.audit.report import Difference, Report
from ledger.chain import VerifiedBlock
from ledger.codec import Record, decode
from ledger.payload import SALT_BYTES, PayloadDescriptor
from ledger.state_map import StateMap
from ledger.transaction import TRANSACTION_BYTES_MAX, Transaction, decode_transaction
from node.api.report_answers import RoundReportAnswer, report_answer

RoundName = tuple[str, int]
"""A task and the number of its round."""

PayloadReader = Callable[[PayloadDescriptor], bytes | None]
_SHOWN_CHARACTERS_MAX: Final = 200


class AggregateAuditor:
    """Follows the rounds of a verified chain and computes each result anew."""

    def __init__(self, payload: PayloadReader, report: Report, explain: RoundName | None = None) -> None:
        """Begin before block 1.

        Args:
            payload: gives a payload's verified bytes, None when they are not here; raises `Damage`.
            report: where counts and differences go.
            explain: a round whose report is wanted.
        """
        self._payload = payload
        self._report = report
        self._explain = explain
        self._models: dict[str, tuple[PayloadDescriptor, bytes]] = {}
        """Each task's latest model, so that older ones need not be kept."""

    def take(self, before: StateMap, verified: VerifiedBlock) -> None:
        """Check the updates and results that a block brought.

        Args:
            before: state before the block.
            verified: the block.
        """
        raws, receipts = verified.certified.block.transactions, verified.execution.receipts
        for index, (raw, receipt) in enumerate(zip(raws, receipts, strict=False)):
            if not receipt.accepted:
                continue
            place = (verified.certified.block.header.height, index, receipt.transaction.hex())
            transaction = decode_transaction(raw)
            try:
                if transaction.kind == UPDATE:
                    self._update(transaction)
                elif transaction.kind == AGGREGATE:
                    self._aggregate(before, verified.execution.state, transaction, place)
            except Damage as damage:
                self._differ(damage.difference, place)

    def _update(self, transaction: Transaction) -> None:
        self._report.updates += 1
        submission = decode(transaction.payload, UpdateSubmission, bytes_max=TRANSACTION_BYTES_MAX)
        if self._payload(submission.availability.acknowledgement.payload) is not None:
            self._report.payloads += 1

    def _aggregate(
        self, before: StateMap, after: StateMap, transaction: Transaction, place: tuple[int, int, str]
    ) -> None:
        claimed = decode(transaction.payload, AggregateClaim, bytes_max=TRANSACTION_BYTES_MAX).result
        kept = self._payload(claimed.model)
        self._report.payloads += kept is not None
        closed = round_of(before, claimed.task, claimed.round)
        assert closed is not None, "execution accepted the result of this round"
        job = job_of(before, closed)
        computed = self._compute(job, place)
        if computed is None:
            self._report.aggregates_skipped += 1
        else:
            self._report.aggregates += 1
            if computed.result != claimed:
                self._differ(Difference("aggregate", _first_difference(claimed, computed.result)), place)
            elif self._explain == (claimed.task, claimed.round):
                self._report.explained = self._explained(job, claimed, after)
        model = kept if computed is None else computed.model_payload
        if model is None:
            self._models.pop(claimed.task, None)
        else:
            self._models[claimed.task] = (claimed.model, model)

    def _compute(self, job: AggregationJob, place: tuple[int, int, str]) -> ComputedRound | None:
        """Return a round's result computed again, None when its inputs are not here."""
        base = None if job.base.payload is None else self._base(job)
        if base is None and job.base.payload is not None:
            return None
        updates: list[bytes] = []
        for update in job.updates:
            payload = self._readable(update.payload)
            if payload is None:
                return None
            updates.append(payload)
        earlier = [None if one.payload is None else self._readable(one.payload) for one in job.earlier]
        if any(words is None and one.payload is not None for words, one in zip(earlier, job.earlier, strict=True)):
            return None
        try:
            return compute(job, base, updates, earlier)
        except (InputError, AggregationError) as error:
            self._differ(Difference("aggregate", f"cannot be computed from its inputs: {error}"), place)
            return None

    def _explained(self, job: AggregationJob, result: RoundResult, after: StateMap) -> RoundReportAnswer:
        words = np.empty((len(job.updates) + 1, job.spec.schema.size), np.int16)
        for row, update in enumerate(job.updates):
            payload = self._readable(update.payload)
            assert payload is not None, "the aggregate was computed from it"
            words[row] = update_from_bytes(memoryview(payload)[SALT_BYTES:], job.spec.schema)
        looked_at, last = retention(after, result.task, result.round)
        return report_answer(explain(job, result, measure(job, words), looked_at, last))

    def _base(self, job: AggregationJob) -> bytes | None:
        assert job.base.payload is not None, "asked for a base that is not all zeros"
        descriptor, model = self._models.get(job.spec.id, (None, b""))
        return model if descriptor == job.base.payload else self._readable(job.base.payload)

    def _readable(self, descriptor: PayloadDescriptor) -> bytes | None:
        """Return a payload, None when it is missing or damaged; damage was reported where the payload was named."""
        try:
            return self._payload(descriptor)
        except Damage:
            return None

    def _differ(self, difference: Difference, place: tuple[int, int, str]) -> None:
        height, index, transaction = place
        self._report.add(Difference(difference.kind, difference.detail, height, index, transaction))


def _first_difference(claimed: RoundResult, computed: RoundResult) -> str:
    for name, there, here in _fields(claimed, computed):
        if there != here:
            return f"{name} is {_shown(there)}, recomputing gives {_shown(here)}"
    raise AssertionError("called for results that differ")


def _fields(claimed: Record, computed: Record) -> Iterator[tuple[str, object, object]]:
    for name in claimed.__struct_fields__:
        yield name, getattr(claimed, name), getattr(computed, name)


def _shown(value: object) -> str:
    text = f"{value.id.hex()} ({value.size} bytes)" if isinstance(value, PayloadDescriptor) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else f"{text[: _SHOWN_CHARACTERS_MAX - 3]}..."
