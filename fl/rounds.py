"""Rounds: opened, closed, certified or failed by the state alone. One law: inputs are fixed before results.

A round waits for its first update without a deadline, so that an idle consortium appends no blocks; from then on it
closes with `updates_max` updates or at its deadline, whichever comes first.
"""

from __future__ import annotations

import msgspec

from fl.governance.changes import carry_out
from fl.policies import enforcement
from fl.privacy import charging
from fl.records import REASON_CHARACTERS_MAX, ActiveTasks, ModelState, RoundState, TaskSpec, TaskState
from fl.state import (
    ACTIVE_TASKS_KEY,
    active_tasks,
    model_key,
    present,
    round_key,
    round_of,
    task_key,
    task_of,
    update_of,
    write,
)
from ledger.application import BlockContext, Overlay, StateReader
from ledger.digest import ZERO_DIGEST, Digest, digest
from ledger.fields import Height
from ledger.receipt import Event


def activate(state: Overlay, context: BlockContext, spec: TaskSpec, approvals: tuple[str, ...]) -> tuple[Event, ...]:
    """Make a task active: its initial model becomes version 0 and its first round opens."""
    write(
        state,
        model_key(spec.id, 0),
        ModelState(spec.id, 0, 0, 0, spec.initial_model, spec.digest, context.height),
    )
    write(state, ACTIVE_TASKS_KEY, ActiveTasks((*active_tasks(state), spec.id)))
    task = TaskState(spec, "active", approvals, round=0, version=0, certified=0)
    exponents = spec.schema.initial_exponents
    return (Event("task.activated", spec.id, ""), *open_next(state, context, task, exponents))


def open_next(state: Overlay, context: BlockContext, task: TaskState, exponents: tuple[int, ...]) -> tuple[Event, ...]:
    """Open the round after the task's latest, under what the task is by then."""
    task, changed = carry_out(state, context, task)
    number = task.round + 1
    opened = RoundState(
        task=task.spec.id,
        number=number,
        status="open",
        base_version=task.version,
        exponents=exponents,
        opened_height=context.height,
        opened_ms=context.time_ms,
        deadline_ms=0,
        closed_height=Height(0),
        participants=(),
        organisations=(),
        version=0,
        reason="",
        seed=ZERO_DIGEST,
    )
    write(state, round_key(task.spec.id, number), opened)
    write(state, task_key(task.spec.id), msgspec.structs.replace(task, round=number))
    return (*changed, Event("round.opened", f"{task.spec.id}/{number}", f"base version {task.version}"))


def finish(state: Overlay, task: TaskState) -> tuple[Event, ...]:
    """End a task that has had all its rounds."""
    write(state, task_key(task.spec.id), msgspec.structs.replace(task, status="finished"))
    remaining = tuple(name for name in active_tasks(state) if name != task.spec.id)
    write(state, ACTIVE_TASKS_KEY, ActiveTasks(remaining))
    return (Event("task.finished", task.spec.id, f"version {task.version}"),)


def end_block(state: Overlay, context: BlockContext) -> tuple[Event, ...]:
    """Close rounds that are full or out of time; fail those that nobody certified in time."""
    events: list[Event] = []
    for name in active_tasks(state):
        task = present(task_of(state, name), "an active task")
        latest = present(round_of(state, name, task.round), "a task's latest round")
        events.extend(_advance(state, context, task, latest))
    return tuple(events)


def due_ms(state: StateReader) -> int | None:
    """Return the earliest deadline of any round, or None."""
    deadlines = []
    for name in active_tasks(state):
        task = present(task_of(state, name), "an active task")
        latest = present(round_of(state, name, task.round), "a task's latest round")
        if latest.deadline_ms:
            deadlines.append(latest.deadline_ms)
    return min(deadlines, default=None)


def _advance(state: Overlay, context: BlockContext, task: TaskState, latest: RoundState) -> tuple[Event, ...]:
    due = 0 < latest.deadline_ms <= context.time_ms
    received = len(latest.participants)
    if latest.status == "open" and (received >= task.spec.updates_max or (due and received >= task.spec.updates_min)):
        denied = enforcement.closing_denial(state, context, task, latest)
        if denied:
            return _fail(state, context, task, latest, denied[:REASON_CHARACTERS_MAX])
        return _close(state, context, task, latest)
    if latest.status == "open" and due:
        reason = f"{received} updates came in time, {task.spec.updates_min} were needed"
        return _fail(state, context, task, latest, reason)
    if latest.status == "closed" and due:
        reason = f"no quorum of validators signed one result within {task.spec.aggregate_ms} ms"
        return _fail(state, context, task, latest, reason)
    return ()


def _close(state: Overlay, context: BlockContext, task: TaskState, latest: RoundState) -> tuple[Event, ...]:
    closed = msgspec.structs.replace(
        latest,
        status="closed",
        closed_height=context.height,
        deadline_ms=context.time_ms + task.spec.aggregate_ms,
        seed=_seed(state, context, latest),
    )
    write(state, round_key(latest.task, latest.number), closed)
    charging.end(state, latest)
    return (Event("round.closed", f"{latest.task}/{latest.number}", f"{len(latest.participants)} updates"),)


def _seed(state: StateReader, context: BlockContext, closed: RoundState) -> Digest:
    """Return what nobody knew before the round's last update and the parent block were there."""
    updates = (
        present(update_of(state, closed.task, closed.number, name), "an update in a round")
        for name in closed.participants
    )
    return digest(
        "round-seed",
        context.parent_id,
        closed.task.encode(),
        closed.number.to_bytes(8, "big"),
        *(update.transaction for update in updates),
    )


def _fail(state: Overlay, context: BlockContext, task: TaskState, latest: RoundState, reason: str) -> tuple[Event, ...]:
    charging.end(state, latest)
    failed = msgspec.structs.replace(latest, status="failed", deadline_ms=0, reason=reason)
    write(state, round_key(latest.task, latest.number), failed)
    event = Event("round.failed", f"{latest.task}/{latest.number}", reason)
    return (event, *open_next(state, context, task, latest.exponents))
