"""`/v1/tasks/{task}/models/{version}/evaluations`: what participants say they measured."""

from __future__ import annotations

from aiohttp import web

from fl.records import EvaluationState
from fl.state import decoded, evaluation_key, evaluations_prefix
from node.api.answering import VIEW, json, limit_of, optional_name
from node.api.answers import EvaluationAnswer, EvaluationsAnswer
from node.api.models import require_model
from node.api.operations import AFTER_NAME, LIMIT, get
from node.api.updates import plain_metrics


async def evaluations(request: web.Request) -> web.Response:
    """List a model's evaluations, ascending by participant; `?after=` a participant, `?limit=`."""
    limit, after = limit_of(request), optional_name(request, "after")
    model = require_model(request)
    rows = request.app[VIEW].store.state_items(
        evaluations_prefix(model.task, model.version),
        after=b"" if after is None else evaluation_key(model.task, model.version, after),
        limit=limit,
    )
    items = tuple(_answer(decoded(value, EvaluationState)) for _, value in rows)
    return json(EvaluationsAnswer(items=items, next=items[-1].participant if len(items) == limit else None))


def _answer(one: EvaluationState) -> EvaluationAnswer:
    return EvaluationAnswer(
        task=one.task,
        version=one.version,
        participant=one.participant,
        samples=one.samples,
        metrics=plain_metrics(one.metrics),
        height=one.height,
    )


ROUTES = (
    get(
        "/v1/tasks/{task}/models/{version}/evaluations",
        evaluations,
        EvaluationsAnswer,
        query=(AFTER_NAME, LIMIT),
        problems=("task.unknown", "model.unknown"),
    ),
)
