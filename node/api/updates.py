"""`/v1/tasks/{task}/rounds/{round}/updates`: who contributed what, but never the words of an update."""

from __future__ import annotations

from aiohttp import web

from fl.records import METRIC_UNIT, Contribution, Metrics, UpdateState
from fl.state import decoded, result_of, update_key, updates_prefix
from node.api.answering import VIEW, json, limit_of, optional_name
from node.api.answers import UpdateAnswer, UpdatesAnswer
from node.api.operations import AFTER_NAME, LIMIT, get
from node.api.rounds import require_round


async def updates(request: web.Request) -> web.Response:
    """List a round's updates, ascending by participant; `?after=` a participant, `?limit=`."""
    view, limit = request.app[VIEW], limit_of(request)
    after = optional_name(request, "after")
    current = require_round(request)
    task, number = current.task, current.number
    rows = view.store.state_items(
        updates_prefix(task, number),
        after=b"" if after is None else update_key(task, number, after),
        limit=limit,
    )
    result = result_of(view.state(), task, number)
    contributions = {} if result is None else {one.participant: one for one in result.contributions}
    states = [decoded(value, UpdateState) for _, value in rows]
    items = tuple(_answer(one, contributions.get(one.participant)) for one in states)
    return json(UpdatesAnswer(items=items, next=items[-1].participant if len(items) == limit else None))


def plain_metrics(metrics: Metrics) -> dict[str, float]:
    """Return metrics as numbers."""
    return {name: value / METRIC_UNIT for name, value in metrics}


def _answer(one: UpdateState, contribution: Contribution | None) -> UpdateAnswer:
    known = contribution
    return UpdateAnswer(
        task=one.task,
        round=one.round,
        participant=one.participant,
        organisation=one.organisation,
        transaction=one.transaction.hex(),
        height=one.height,
        payload=one.payload.id.hex(),
        size_bytes=one.payload.size,
        samples=one.samples,
        saturated=one.saturated,
        metrics=plain_metrics(one.metrics),
        weight=None if known is None else known.weight,
        norm=None if known is None else known.norm,
        retained=None if known is None else known.retained,
        retained_of=None if known is None else known.retained_of,
        left_out=None if known is None else known.left_out,
    )


ROUTES = (
    get(
        "/v1/tasks/{task}/rounds/{round}/updates",
        updates,
        UpdatesAnswer,
        query=(AFTER_NAME, LIMIT),
        problems=("task.unknown", "round.unknown"),
    ),
)
