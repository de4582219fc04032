"""`/v1/tasks/{task}/models`: the versions of a task's global model."""

from __future__ import annotations

from aiohttp import web

from fl.governance.state import release_of
from fl.records import ModelState
from fl.state import decoded, model_key, model_of, models_prefix
from ledger.application import StateReader
from node.api.answering import VIEW, integer, json, limit_of, optional_integer
from node.api.answers import ModelAnswer, ModelsAnswer
from node.api.operations import BEFORE, LIMIT, get
from node.api.problem import Problem
from node.api.tasks import require_task

VERSION_MAX = 10**12 - 1


async def models(request: web.Request) -> web.Response:
    """List models, newest first; `?before=` a version, `?limit=`."""
    view, name = request.app[VIEW], request.match_info["task"]
    limit, before = limit_of(request), optional_integer(request, "before")
    require_task(view, name)
    rows = view.store.state_items_down(
        models_prefix(name), before=None if before is None else model_key(name, min(before, VERSION_MAX)), limit=limit
    )
    items = tuple(_answer(view.state(), decoded(value, ModelState)) for _, value in rows)
    more = len(items) == limit and items[-1].version > 0
    return json(ModelsAnswer(items=items, next=items[-1].version if more else None))


async def model(request: web.Request) -> web.Response:
    """Give one model by version or `latest`."""
    return json(_answer(request.app[VIEW].state(), require_model(request)))


def require_model(request: web.Request) -> ModelState:
    """Return the model that the path names.

    Raises:
        Problem: 404 `model.unknown` or `task.unknown`.
    """
    view, name, text = request.app[VIEW], request.match_info["task"], request.match_info["version"]
    task = require_task(view, name)
    version = task.version if text == "latest" else integer(text, "version", high=VERSION_MAX)
    found = model_of(view.state(), name, version)
    if found is None:
        raise Problem(404, "model.unknown", f"task {name} has no model {text}: its latest is {task.version}")
    return found


def _answer(chain: StateReader, one: ModelState) -> ModelAnswer:
    payload, release = one.payload, release_of(chain, one.task, one.version)
    return ModelAnswer(
        task=one.task,
        version=one.version,
        round=one.round,
        parent_version=one.parent_version,
        result=one.result.hex(),
        height=one.height,
        payload=None if payload is None else payload.id.hex(),
        payload_size=None if payload is None else payload.size,
        payload_root=None if payload is None else payload.root.hex(),
        released_height=None if release is None else release.height,
    )


ROUTES = (
    get("/v1/tasks/{task}/models", models, ModelsAnswer, query=(BEFORE, LIMIT), problems=("task.unknown",)),
    get("/v1/tasks/{task}/models/{version}", model, ModelAnswer, problems=("task.unknown", "model.unknown")),
)
