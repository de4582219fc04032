"""Whether a task could run. One law: its parts do not contradict each other."""

from __future__ import annotations

from fl.aggregators import AggregationError, maximum_updates, minimum_updates
from fl.grid import MODEL_WORD_BYTES
from fl.optimisers import FLOOR_WORDS_MAX, STEP_WORDS_MAX, floor_words, model_bytes, step_words
from fl.records import TaskSpec
from ledger.application import RefusalError
from ledger.payload import PAYLOAD_BYTES_MAX, SALT_BYTES


def require_sound(task: TaskSpec) -> None:
    """Check that a task could run.

    Raises:
        RefusalError: `task.unsound`.
    """
    try:
        needed = minimum_updates(task.rule)
    except AggregationError as error:
        raise RefusalError("task.unsound", str(error)) from error
    if not needed <= task.updates_min <= task.updates_max:
        detail = (
            f"{task.rule.rule} against {task.rule.f} liars needs {needed} <= updates_min <= updates_max, "
            f"got updates_min {task.updates_min} and updates_max {task.updates_max}"
        )
        raise RefusalError("task.unsound", detail)
    most = maximum_updates(task.rule)
    if task.updates_max > most:
        detail = f"{task.rule.rule} takes at most {most} updates, got updates_max {task.updates_max}"
        raise RefusalError("task.unsound", detail)
    if list(task.participants) != sorted(set(task.participants)):
        raise RefusalError("task.unsound", "participants must be unique and ascending")
    if task.rule.root and task.participants and task.rule.root not in task.participants:
        detail = f"{task.rule.rule} trusts {task.rule.root}, who is not among the participants"
        raise RefusalError("task.unsound", detail)
    _require_sound_optimiser(task)
    expected = SALT_BYTES + MODEL_WORD_BYTES * task.schema.size
    if task.initial_model is not None and task.initial_model.size != expected:
        detail = f"the initial model's payload must have {expected} bytes, got {task.initial_model.size}"
        raise RefusalError("task.unsound", detail)


def _require_sound_optimiser(task: TaskSpec) -> None:
    if task.optimiser is None:
        return
    for tensor in task.schema.tensors if task.optimiser.is_adaptive else ():
        step, floor = step_words(task.optimiser, tensor), floor_words(task.optimiser, tensor)
        if not (1 <= step <= STEP_WORDS_MAX and floor <= FLOOR_WORDS_MAX):
            detail = (
                f"{tensor.name}: a rate of 1..2^31 and a floor of at most 2^40 words of its grid are needed, "
                f"got {step} and {floor}"
            )
            raise RefusalError("task.unsound", detail)
    size = model_bytes(task.schema, task.optimiser)
    if size > PAYLOAD_BYTES_MAX:
        raise RefusalError(
            "task.unsound",
            f"a model with its optimiser's memory has at most {PAYLOAD_BYTES_MAX} bytes, got {size}",
        )
