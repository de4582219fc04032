"""`/v1/tasks/{task}/rounds`: rounds of learning; wait here for the next one."""

from __future__ import annotations

from aiohttp import web

from fl.records import RoundState
from fl.state import decoded, round_key, round_of, rounds_prefix
from ledger.fields import Height
from node.api.answering import VIEW, integer, json, limit_of, optional_integer, wait_seconds, within
from node.api.answers import RoundAnswer, RoundsAnswer
from node.api.operations import BEFORE, LIMIT, TIMEOUT, WAIT_AFTER, get
from node.api.problem import Problem
from node.api.tasks import require_task
from node.view import NodeView

ROUND_MAX = 10**12 - 1


async def rounds(request: web.Request) -> web.Response:
    """List rounds, newest first; `?before=` a number, `?limit=`.

    `?wait_after=N` answers once a round after N exists or the task is finished, at the latest after `?timeout=`.
    """
    view, name = request.app[VIEW], request.match_info["task"]
    limit, before = limit_of(request), optional_integer(request, "before")
    wait_after, seconds = optional_integer(request, "wait_after"), wait_seconds(request)
    require_task(view, name)
    if wait_after is not None:
        await within(request, seconds, _until_after(view, name, wait_after))
    rows = view.store.state_items_down(
        rounds_prefix(name), before=None if before is None else round_key(name, min(before, ROUND_MAX)), limit=limit
    )
    items = tuple(_answer(decoded(value, RoundState)) for _, value in rows)
    more = len(items) == limit and items[-1].number > 1
    return json(RoundsAnswer(items=items, next=items[-1].number if more else None))


async def round_(request: web.Request) -> web.Response:
    """Give one round by number or `latest`."""
    return json(_answer(require_round(request)))


def require_round(request: web.Request) -> RoundState:
    """Return the round that the path names.

    Raises:
        Problem: 404 `round.unknown` or `task.unknown`.
    """
    view, name, text = request.app[VIEW], request.match_info["task"], request.match_info["round"]
    task = require_task(view, name)
    number = task.round if text == "latest" else integer(text, "round", high=ROUND_MAX)
    found = round_of(view.state(), name, number)
    if found is None:
        raise Problem(404, "round.unknown", f"task {name} has no round {text}: its latest is {task.round}")
    return found


async def _until_after(view: NodeView, name: str, number: int) -> None:
    while True:
        task = require_task(view, name)
        if task.round > number or task.status == "finished":
            return
        tip = view.store.tip()
        await view.wait_for_block(Height(1 if tip is None else tip.height + 1))


def _answer(one: RoundState) -> RoundAnswer:
    return RoundAnswer(
        task=one.task,
        number=one.number,
        status=one.status,
        base_version=one.base_version,
        exponents=one.exponents,
        opened_height=one.opened_height,
        opened_ms=one.opened_ms,
        deadline_ms=one.deadline_ms,
        closed_height=one.closed_height,
        participants=one.participants,
        organisations=one.organisations,
        version=one.version,
        reason=one.reason,
    )


ROUTES = (
    get(
        "/v1/tasks/{task}/rounds",
        rounds,
        RoundsAnswer,
        query=(BEFORE, LIMIT, WAIT_AFTER, TIMEOUT),
        problems=("task.unknown",),
    ),
    get("/v1/tasks/{task}/rounds/{round}", round_, RoundAnswer, problems=("task.unknown", "round.unknown")),
)
