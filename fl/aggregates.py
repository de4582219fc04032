"""Aggregates: how a round's result becomes the global model. One law: no certificate, no model.

Execution checks that a quorum signed the result and that it fits the round; that the result is *right* was checked by
each of these validators, who computed it themselves, and by everyone who voted for the block (see `results`).
"""

from __future__ import annotations

import msgspec

from fl.governance.state import paused_until_ms
from fl.incentives import pots
from fl.records import AggregateClaim, ModelState, RoundResult, RoundState, TaskState
from fl.rounds import finish, open_next
from fl.state import model_key, present, result_key, round_key, round_of, task_key, task_of, write
from ledger.application import BlockContext, Overlay, RefusalError, StateReader
from ledger.certificate import CertificateError, Seal, sign_statement, verify_statement, verify_statements
from ledger.digest import Digest
from ledger.evidence import result_message
from ledger.identity import SigningKey
from ledger.receipt import Event
from ledger.validators import ValidatorSet

_DOMAIN = "result"


def sign_result(key: SigningKey, chain_id: Digest, validators: ValidatorSet, result: RoundResult) -> Seal:
    """Sign a result that this validator computed itself."""
    return sign_statement(key, _DOMAIN, chain_id, validators, _message(result))


def verify_result_seal(
    chain_id: Digest, validators: ValidatorSet, task: str, round_number: int, result_digest: Digest, seal: Seal
) -> bool:
    """Tell whether `seal` is that validator's signature over the result of this round with this digest."""
    message = result_message(task, round_number, result_digest)
    return verify_statement(_DOMAIN, chain_id, validators, message, seal)


def certify(state: Overlay, context: BlockContext, sender: bytes, claim: AggregateClaim) -> tuple[Event, ...]:
    """Make a certified result the task's latest model and open the next round.

    Raises:
        RefusalError: see `check`.
    """
    task, closed = check(state, context, sender, claim)
    result, version = claim.result, task.version + 1
    write(state, result_key(closed.task, closed.number), result)
    write(
        state,
        model_key(closed.task, version),
        ModelState(
            closed.task, version, closed.number, closed.base_version, result.model, result.digest, context.height
        ),
    )
    certified = msgspec.structs.replace(closed, status="certified", deadline_ms=0, version=version)
    write(state, round_key(closed.task, closed.number), certified)
    advanced = msgspec.structs.replace(task, version=version, certified=task.certified + 1)
    write(state, task_key(closed.task), advanced)
    event = Event("round.certified", f"{closed.task}/{closed.number}", f"model {version}")
    paid = pots.settle(state, context, task, result, closed)
    if advanced.certified >= task.spec.rounds:
        return (event, *paid, *finish(state, advanced))
    return (event, *paid, *open_next(state, context, advanced, result.exponents))


def check(
    state: StateReader, context: BlockContext, sender: bytes, claim: AggregateClaim
) -> tuple[TaskState, RoundState]:
    """Check that a claim belongs to a closed round and carries a quorum's signatures; return task and round.

    Raises:
        RefusalError: `aggregate.not_validator`, `aggregate.not_closed`, `aggregate.paused`, `aggregate.wrong_input` or
            `aggregate.uncertified`.
    """
    if context.validators.index_of(sender) is None:
        raise RefusalError("aggregate.not_validator", f"only validators claim results, got {sender.hex()}")
    result = claim.result
    task = task_of(state, result.task)
    closed = None if task is None else round_of(state, result.task, task.round)
    if task is None or closed is None or closed.number != result.round or closed.status != "closed":
        raise RefusalError("aggregate.not_closed", f"{result.task}/{result.round} is not waiting for its result")
    until_ms = paused_until_ms(state, result.task)
    if until_ms is not None:
        raise RefusalError("aggregate.paused", f"{result.task} is paused until {until_ms}")
    _require_same_input(task, closed, result)
    pots.require_matrix(state, closed, result)
    try:
        verify_statements(_DOMAIN, context.chain_id, context.validators, _message(result), claim.seals)
    except CertificateError as error:
        raise RefusalError("aggregate.uncertified", str(error)) from error
    return task, closed


def _message(result: RoundResult) -> bytes:
    return result_message(result.task, result.round, result.digest)


def _require_same_input(task: TaskState, closed: RoundState, result: RoundResult) -> None:
    named = tuple(contribution.participant for contribution in result.contributions)
    tensors = len(task.spec.schema.tensors)
    if result.base_version != closed.base_version or named != closed.participants:
        detail = (
            f"the round's input is model {closed.base_version} and {', '.join(closed.participants)}; the result is "
            f"made from model {result.base_version} and {', '.join(named)}"
        )
        raise RefusalError("aggregate.wrong_input", detail)
    if len(result.exponents) != tensors or len(result.peaks) != tensors:
        detail = f"{tensors} tensors need as many exponents and peaks, got {len(result.exponents)}"
        raise RefusalError("aggregate.wrong_input", detail)


def latest_closed(state: StateReader, name: str) -> RoundState | None:
    """Return a task's latest round when it waits for its result."""
    task = present(task_of(state, name), "an active task")
    latest = present(round_of(state, name, task.round), "a task's latest round")
    return latest if latest.status == "closed" else None
