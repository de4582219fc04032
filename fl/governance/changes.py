"""Changes of a running task. One law: a round is finished under the rules that it was opened with."""

from __future__ import annotations

from typing import Final

import msgspec

from fl.governance.records import ChangeTask, FormerSpecification, PendingChange
from fl.governance.state import change_key, change_of, former_key, former_specifications
from fl.records import TaskSpec, TaskState
from fl.soundness import require_sound
from fl.state import task_of, write
from ledger.application import BlockContext, Overlay, RefusalError, StateReader
from ledger.fields import Height
from ledger.receipt import Event

TIMELOCK_BLOCKS: Final = 16
"""So many blocks pass between the decision and the first round under it, for whoever does not want to be part of it."""


def changed_spec(spec: TaskSpec, action: ChangeTask) -> TaskSpec:
    """Return the specification after a change."""
    return msgspec.structs.replace(
        spec,
        rule=action.rule,
        clip_norm_micros=action.clip_norm_micros,
        updates_min=action.updates_min,
        updates_max=action.updates_max,
        collect_ms=action.collect_ms,
        aggregate_ms=action.aggregate_ms,
        rounds=action.rounds,
        participants=action.participants,
    )


def change_between(before: TaskSpec, after: TaskSpec) -> ChangeTask:
    """Return the change that leads from one specification to another.

    Raises:
        ValueError: they differ in what cannot be changed; says in what.
    """
    action = ChangeTask(
        before.id,
        before.digest,
        after.rule,
        after.clip_norm_micros,
        after.updates_min,
        after.updates_max,
        after.collect_ms,
        after.aggregate_ms,
        after.rounds,
        after.participants,
    )
    reached = changed_spec(before, action)
    fixed = [name for name in TaskSpec.__struct_fields__ if getattr(reached, name) != getattr(after, name)]
    if fixed:
        raise ValueError(f"a running task keeps its {', '.join(fixed)}: propose another task instead")
    return action


def changes_nothing(state: StateReader, action: ChangeTask) -> bool:
    """Tell whether the task is, or is going to be, as the action would have it."""
    task, pending = task_of(state, action.task), change_of(state, action.task)
    if task is None:
        return False
    spec = task.spec if pending is None else pending.spec
    return changed_spec(spec, action) == spec


def require_possible(state: StateReader, action: ChangeTask) -> None:
    """Check that an active task can be changed so.

    Raises:
        RefusalError: `change.unknown_task`, `change.other_specification`, or `task.unsound`.
    """
    task = task_of(state, action.task)
    if task is None or task.status != "active":
        raise RefusalError("change.unknown_task", f"no active task is named {action.task}")
    if task.spec.digest != action.specification:
        detail = f"{action.task} is {task.spec.digest.hex()}, the change is one of {action.specification.hex()}"
        raise RefusalError("change.other_specification", detail)
    require_sound(changed_spec(task.spec, action))


def decide(state: Overlay, context: BlockContext, action: ChangeTask) -> None:
    """Let a change wait for its height; it takes the place of one that waits already."""
    task = task_of(state, action.task)
    assert task is not None, "that was required"
    height = Height(context.height + TIMELOCK_BLOCKS)
    write(state, change_key(action.task), PendingChange(changed_spec(task.spec, action), height))


def carry_out(state: Overlay, context: BlockContext, task: TaskState) -> tuple[TaskState, tuple[Event, ...]]:
    """Return a task as its next round finds it: changed, when a change's height has come."""
    name = task.spec.id
    pending = change_of(state, name)
    if pending is None or context.height < pending.from_height:
        return task, ()
    number = len(former_specifications(state, name)) + 1
    write(state, former_key(name, number), FormerSpecification(task.spec, task.round))
    state.delete(change_key(name))
    event = Event("task.changed", name, f"from round {task.round + 1} on")
    return msgspec.structs.replace(task, spec=pending.spec), (event,)
