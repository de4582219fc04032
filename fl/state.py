"""Keys of the learning state and typed access to it. One law: a key is made here and nowhere else."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeVar

from fl.records import (
    ActiveTasks,
    EvaluationState,
    ModelState,
    Participant,
    RoundResult,
    RoundState,
    TaskState,
    UpdateState,
)
from ledger.application import STATE_VALUE_BYTES_MAX, Overlay, StateReader
from ledger.codec import Record, decode, encode

StateT = TypeVar("StateT", bound=Record)

ACTIVE_TASKS_KEY: Final = b"fl/active-tasks"
PARTICIPANT_PREFIX: Final = b"fl/participant/"
TASK_PREFIX: Final = b"fl/task/"
_NUMBER_DIGITS: Final = 12
_CACHED_RECORDS_MAX: Final = 512


def participant_key(public_key: bytes) -> bytes:
    """State key of a participant."""
    return PARTICIPANT_PREFIX + public_key


def task_key(task: str) -> bytes:
    """State key of a task."""
    return TASK_PREFIX + task.encode()


def rounds_prefix(task: str) -> bytes:
    """What the state keys of a task's rounds begin with."""
    return b"fl/round/" + task.encode() + b"/"


def round_key(task: str, number: int) -> bytes:
    """State key of a round."""
    return rounds_prefix(task) + numbered(number)


def updates_prefix(task: str, number: int) -> bytes:
    """What the state keys of a round's updates begin with."""
    return b"fl/update/" + task.encode() + b"/" + numbered(number) + b"/"


def update_key(task: str, number: int, participant: str) -> bytes:
    """State key of a participant's update to a round."""
    return updates_prefix(task, number) + participant.encode()


def result_key(task: str, number: int) -> bytes:
    """State key of a round's certified result."""
    return b"fl/result/" + task.encode() + b"/" + numbered(number)


def models_prefix(task: str) -> bytes:
    """What the state keys of a task's models begin with."""
    return b"fl/model/" + task.encode() + b"/"


def model_key(task: str, version: int) -> bytes:
    """State key of a model version."""
    return models_prefix(task) + numbered(version)


def evaluations_prefix(task: str, version: int) -> bytes:
    """What the state keys of a model version's evaluations begin with."""
    return b"fl/evaluation/" + task.encode() + b"/" + numbered(version) + b"/"


def evaluation_key(task: str, version: int, participant: str) -> bytes:
    """State key of a participant's evaluation of a model version."""
    return evaluations_prefix(task, version) + participant.encode()


def participant_of(state: StateReader, public_key: bytes) -> Participant | None:
    """Return who is registered under this key."""
    return _read(state, participant_key(public_key), Participant)


def task_of(state: StateReader, task: str) -> TaskState | None:
    """Return where a task stands."""
    return _read(state, task_key(task), TaskState)


def round_of(state: StateReader, task: str, number: int) -> RoundState | None:
    """Return where a round stands."""
    return _read(state, round_key(task, number), RoundState)


def update_of(state: StateReader, task: str, number: int, participant: str) -> UpdateState | None:
    """Return a participant's update to a round."""
    return _read(state, update_key(task, number, participant), UpdateState)


def result_of(state: StateReader, task: str, number: int) -> RoundResult | None:
    """Return a round's certified result."""
    return _read(state, result_key(task, number), RoundResult)


def model_of(state: StateReader, task: str, version: int) -> ModelState | None:
    """Return a model version."""
    return _read(state, model_key(task, version), ModelState)


def evaluation_of(state: StateReader, task: str, version: int, participant: str) -> EvaluationState | None:
    """Return a participant's evaluation of a model version."""
    return _read(state, evaluation_key(task, version, participant), EvaluationState)


def active_tasks(state: StateReader) -> tuple[str, ...]:
    """Return the tasks that blocks look after, in the order in which they became active."""
    record = _read(state, ACTIVE_TASKS_KEY, ActiveTasks)
    return () if record is None else record.tasks


def write(state: Overlay, key: bytes, record: Record) -> None:
    """Store a record."""
    state.put(key, encode(record))


def present(record: StateT | None, what: str) -> StateT:
    """Return a record that execution itself has put there."""
    assert record is not None, f"{what} is written before anything refers to it"
    return record


def _read(state: StateReader, key: bytes, record_type: type[StateT]) -> StateT | None:
    value = state.get(key)
    return None if value is None else decoded(value, record_type)


@lru_cache(maxsize=_CACHED_RECORDS_MAX)
def decoded(value: bytes, record_type: type[StateT]) -> StateT:
    """Return the record stored as `value`; a pure function of immutable values, so remembering it changes nothing."""
    return decode(value, record_type, bytes_max=STATE_VALUE_BYTES_MAX)


def numbered(number: int) -> bytes:
    """Return how a number stands in a state key, so that keys are in its order."""
    return f"{number:0{_NUMBER_DIGITS}d}".encode()
