"""Pauses. One law: a paused round loses no time; its deadline moves by as much as the pause lasts."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from fl.governance.records import EVERYTHING, Pause, PauseLearning, ResumeLearning
from fl.governance.state import paused_until_ms, pauses_of, write_pauses
from fl.state import active_tasks, present, round_key, round_of, task_of, write
from ledger.application import BlockContext, Overlay, RefusalError, StateReader
from ledger.receipt import Event


def require_pausable(state: StateReader, action: PauseLearning) -> None:
    """Check that there is something to pause.

    Raises:
        RefusalError: `pause.unknown_task`.
    """
    if action.task is not None and action.task not in active_tasks(state):
        raise RefusalError("pause.unknown_task", f"no active task is named {action.task}")


def pause(state: Overlay, context: BlockContext, action: PauseLearning) -> None:
    """Begin a pause, or make one of the same tasks longer; a longer one stays."""
    until_ms = context.time_ms + action.lasts_ms
    others = tuple(one for one in pauses_of(state) if one.task != action.task)
    same = (one.until_ms for one in pauses_of(state) if one.task == action.task)
    paused = Pause(action.task, max([until_ms, *same]))
    _shifting(state, context, lambda: write_pauses(state, (*others, paused)))


def resume(state: Overlay, context: BlockContext, action: ResumeLearning) -> None:
    """End a pause."""
    others = tuple(one for one in pauses_of(state) if one.task != action.task)
    _shifting(state, context, lambda: write_pauses(state, others))


def is_paused(state: StateReader, task: str | None) -> bool:
    """Tell whether there is a pause of just this."""
    return any(one.task == task for one in pauses_of(state))


def end_block(state: Overlay, context: BlockContext) -> tuple[Event, ...]:
    """End the pauses whose time is over."""
    pauses = pauses_of(state)
    over = tuple(one for one in pauses if one.until_ms <= context.time_ms)
    if over:
        write_pauses(state, tuple(one for one in pauses if one not in over))
    return tuple(Event("learning.resumed", one.task or EVERYTHING, "the pause is over") for one in over)


def due_ms(state: StateReader) -> int | None:
    """Return when the next pause is over."""
    return min((one.until_ms for one in pauses_of(state)), default=None)


def _shifting(state: Overlay, context: BlockContext, change: Callable[[], None]) -> None:
    """Change pauses, and move each deadline by as much as its task's pause became longer or shorter."""
    before = {name: paused_until_ms(state, name) for name in active_tasks(state)}
    change()
    for name, earlier_ms in before.items():
        later_ms = paused_until_ms(state, name)
        shift_ms = max(later_ms or 0, context.time_ms) - max(earlier_ms or 0, context.time_ms)
        task = present(task_of(state, name), "an active task")
        latest = present(round_of(state, name, task.round), "a task's latest round")
        if shift_ms and latest.deadline_ms:
            moved = msgspec.structs.replace(latest, deadline_ms=latest.deadline_ms + shift_ms)
            write(state, round_key(name, latest.number), moved)
