"""Updates: one a participant and organisation a round. One law: every refusal names what was wrong.

The words of an update are not here: execution sees their size, their digest, and a quorum's word that they are kept
and in range.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fl.availability import require_available
from fl.governance.state import paused_until_ms
from fl.grid import UPDATE_WORD_BYTES
from fl.policies import enforcement
from fl.privacy import charging
from fl.records import Participant, RoundState, TaskState, UpdateState, UpdateSubmission
from fl.state import present, round_key, round_of, task_of, update_key, update_of, write
from ledger.application import BlockContext, Overlay, RefusalError, StateReader
from ledger.certificate import CertificateError
from ledger.codec import encode
from ledger.digest import Digest
from ledger.payload import SALT_BYTES
from ledger.receipt import Event
from ledger.transaction import Transaction, transaction_id

UPDATE_CODEC: Final = "int16/1"


def submit(
    state: Overlay,
    context: BlockContext,
    trainer: Participant,
    submission: UpdateSubmission,
    transaction: Transaction,
) -> tuple[Event, ...]:
    """Take an update into the open round.

    Raises:
        RefusalError: see `check`.
    """
    task, current = check(state, context, trainer, submission, transaction)
    if not current.participants:
        enforcement.note_beginning(state, context, current.task)
        charging.begin(state, context, task.spec, current)
    charged = charging.open_update(state, current, trainer.organisation)
    write(
        state,
        update_key(current.task, current.number, trainer.name),
        UpdateState(
            task=current.task,
            round=current.number,
            participant=trainer.name,
            organisation=trainer.organisation,
            transaction=_identity(transaction),
            height=context.height,
            payload=submission.availability.acknowledgement.payload,
            samples=submission.samples,
            saturated=submission.saturated,
            metrics=submission.metrics,
        ),
    )
    grown = msgspec.structs.replace(
        current,
        participants=tuple(sorted((*current.participants, trainer.name))),
        organisations=tuple(sorted((*current.organisations, trainer.organisation))),
        deadline_ms=current.deadline_ms or context.time_ms + task.spec.collect_ms,
    )
    write(state, round_key(current.task, current.number), grown)
    return (Event("update.accepted", f"{current.task}/{current.number}", trainer.name), *charged)


def check(
    state: StateReader,
    context: BlockContext,
    trainer: Participant,
    submission: UpdateSubmission,
    transaction: Transaction,
) -> tuple[TaskState, RoundState]:
    """Check that an update belongs into the open round of its task; return both.

    Raises:
        RefusalError: `update.unknown_task`, `update.not_active`, `update.paused`, `update.not_enrolled`, `update.late`,
            `update.early`, `update.wrong_base`, `update.duplicate`, `update.conflicting`,
            `update.organisation_counted`, `update.malformed`, `update.out_of_range`, `update.unavailable`,
            `budget.exceeded`, `budget.not_reserved`, or `policy.denied`; checked in this order.
    """
    task = task_of(state, submission.task)
    if task is None:
        raise RefusalError("update.unknown_task", f"there is no task named {submission.task}")
    if task.status != "active":
        raise RefusalError("update.not_active", f"task {submission.task} is {task.status}")
    until_ms = paused_until_ms(state, submission.task)
    if until_ms is not None:
        raise RefusalError("update.paused", f"{submission.task} is paused until {until_ms}")
    _require_enrolled(task, trainer)
    current = _require_open_round(state, task, submission)
    _require_first(state, current, trainer, submission, transaction)
    _require_sound_payload(task, submission)
    try:
        require_available(state, context, submission.availability)
    except CertificateError as error:
        raise RefusalError("update.unavailable", str(error)) from error
    charging.require_budget(state, context, task.spec, current, trainer.organisation)
    enforcement.require_update(state, context, task, current, trainer, submission)
    return task, current


def _require_enrolled(task: TaskState, trainer: Participant) -> None:
    enrolled = task.spec.participants
    if "trainer" not in trainer.roles or (enrolled and trainer.name not in enrolled):
        raise RefusalError("update.not_enrolled", f"{trainer.name} is not enrolled as a trainer of {task.spec.id}")


def _require_open_round(state: StateReader, task: TaskState, submission: UpdateSubmission) -> RoundState:
    current = present(round_of(state, task.spec.id, task.round), "a task's latest round")
    if submission.round > current.number:
        detail = f"round {current.number} is the latest, the update is for round {submission.round}"
        raise RefusalError("update.early", detail)
    if submission.round < current.number or current.status != "open":
        detail = f"round {current.number} is {current.status}, the update is for round {submission.round}"
        raise RefusalError("update.late", detail)
    if submission.base_version != current.base_version:
        detail = f"round {current.number} starts from model {current.base_version}, got {submission.base_version}"
        raise RefusalError("update.wrong_base", detail)
    return current


def _require_first(
    state: StateReader,
    current: RoundState,
    trainer: Participant,
    submission: UpdateSubmission,
    transaction: Transaction,
) -> None:
    earlier = update_of(state, current.task, current.number, trainer.name)
    if earlier is not None:
        same = earlier.payload == submission.availability.acknowledgement.payload
        code = "update.duplicate" if same else "update.conflicting"
        detail = f"{trainer.name} has transaction {earlier.transaction.hex()} in round {current.number} already"
        assert earlier.transaction != _identity(transaction), "nonces keep a transaction from standing twice"
        raise RefusalError(code, detail)
    if trainer.organisation in current.organisations:
        detail = f"{trainer.organisation} has an update in round {current.number}; one counts for each organisation"
        raise RefusalError("update.organisation_counted", detail)


def _require_sound_payload(task: TaskState, submission: UpdateSubmission) -> None:
    acknowledgement = submission.availability.acknowledgement
    expected = SALT_BYTES + UPDATE_WORD_BYTES * task.spec.schema.size
    if acknowledgement.verdict == "malformed" or acknowledgement.payload.size != expected:
        detail = (
            f"task {task.spec.id} takes {expected} bytes of {UPDATE_CODEC} words, got {acknowledgement.payload.size} "
            f"bytes found {acknowledgement.verdict}"
        )
        raise RefusalError("update.malformed", detail)
    if acknowledgement.verdict == "out_of_range":
        raise RefusalError("update.out_of_range", "a quorum of validators found words beyond the grid's range")


def _identity(transaction: Transaction) -> Digest:
    return transaction_id(encode(transaction))
