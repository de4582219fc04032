"""Evaluations: what participants measured of a certified model. One law: attested, not checked."""

from __future__ import annotations

from fl.records import EvaluationReport, EvaluationState, Participant
from fl.state import evaluation_key, evaluation_of, model_of, task_of, write
from ledger.application import BlockContext, Overlay, RefusalError, StateReader
from ledger.receipt import Event


def report(
    state: Overlay, context: BlockContext, participant: Participant, evaluation: EvaluationReport
) -> tuple[Event, ...]:
    """Keep a participant's figures of a model version.

    Raises:
        RefusalError: see `check`.
    """
    check(state, participant, evaluation)
    write(
        state,
        evaluation_key(evaluation.task, evaluation.version, participant.name),
        EvaluationState(
            task=evaluation.task,
            version=evaluation.version,
            participant=participant.name,
            samples=evaluation.samples,
            metrics=evaluation.metrics,
            height=context.height,
        ),
    )
    return (Event("model.evaluated", f"{evaluation.task}/{evaluation.version}", participant.name),)


def check(state: StateReader, participant: Participant, evaluation: EvaluationReport) -> None:
    """Check that the model exists, may be evaluated by this participant, and has not been.

    Raises:
        RefusalError: `evaluation.not_enrolled`, `evaluation.unknown_model` or `evaluation.duplicate`.
    """
    task = task_of(state, evaluation.task)
    if task is None or model_of(state, evaluation.task, evaluation.version) is None:
        raise RefusalError("evaluation.unknown_model", f"{evaluation.task} has no model {evaluation.version}")
    enrolled = task.spec.participants
    if "trainer" not in participant.roles or (enrolled and participant.name not in enrolled):
        raise RefusalError("evaluation.not_enrolled", f"{participant.name} is not enrolled in {evaluation.task}")
    if evaluation_of(state, evaluation.task, evaluation.version, participant.name) is not None:
        detail = f"{participant.name} has reported on {evaluation.task}/{evaluation.version} before"
        raise RefusalError("evaluation.duplicate", detail)
