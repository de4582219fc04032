"""Keys of what was decided about learning, and typed access. One law: a key is made here and nowhere else."""

from __future__ import annotations

from typing import Final

from fl.governance.records import FormerSpecification, Pause, Pauses, PendingChange, Release
from fl.records import TaskSpec, TaskState
from fl.state import decoded, numbered, write
from ledger.application import Overlay, StateReader

PAUSES_KEY: Final = b"fl/pauses"


def change_key(task: str) -> bytes:
    """State key of a task's decided change."""
    return b"fl/task-change/" + task.encode()


def former_key(task: str, number: int) -> bytes:
    """State key of a task's specification before its change of this number, from 1."""
    return b"fl/task-former/" + task.encode() + b"/" + numbered(number)


def release_key(task: str, version: int) -> bytes:
    """State key of a model's release."""
    return b"fl/release/" + task.encode() + b"/" + numbered(version)


def pauses_of(state: StateReader) -> tuple[Pause, ...]:
    """Return all pauses."""
    value = state.get(PAUSES_KEY)
    return () if value is None else decoded(value, Pauses).items


def write_pauses(state: Overlay, pauses: tuple[Pause, ...]) -> None:
    """Store all pauses; without any, nothing is stored."""
    if pauses:
        write(state, PAUSES_KEY, Pauses(tuple(sorted(pauses, key=lambda pause: pause.task or ""))))
    elif state.get(PAUSES_KEY) is not None:
        state.delete(PAUSES_KEY)


def paused_until_ms(state: StateReader, task: str) -> int | None:
    """Return until when a task is paused; None when it is not."""
    return max((pause.until_ms for pause in pauses_of(state) if pause.task in {None, task}), default=None)


def change_of(state: StateReader, task: str) -> PendingChange | None:
    """Return what is decided and waits for its height."""
    value = state.get(change_key(task))
    return None if value is None else decoded(value, PendingChange)


def release_of(state: StateReader, task: str, version: int) -> Release | None:
    """Return a model's release."""
    value = state.get(release_key(task, version))
    return None if value is None else decoded(value, Release)


def former_specifications(state: StateReader, task: str) -> tuple[FormerSpecification, ...]:
    """Return what a task's specification was before each change, in their order."""
    found: list[FormerSpecification] = []
    while (value := state.get(former_key(task, len(found) + 1))) is not None:
        found.append(decoded(value, FormerSpecification))
    return tuple(found)


def spec_of_round(state: StateReader, task: TaskState, number: int) -> TaskSpec:
    """Return the specification that a round was or is held under."""
    former = former_specifications(state, task.spec.id)
    return next((one.spec for one in former if number <= one.last_round), task.spec)
