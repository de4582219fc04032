"""`/v1/tasks`: what is learned and how far it is."""

from __future__ import annotations

from aiohttp import web

from fl.aggregators import RuleSpec
from fl.governance.records import PendingChange
from fl.governance.state import change_of, paused_until_ms
from fl.optimisers import OptimiserSpec
from fl.records import TaskState
from fl.state import TASK_PREFIX, decoded, task_key, task_of
from ledger.application import StateReader
from node.api.answering import VIEW, json, limit_of, optional_name
from node.api.operations import AFTER_NAME, LIMIT, get
from node.api.problem import Problem
from node.api.task_answers import OptimiserAnswer, RuleAnswer, TaskAnswer, TaskChangeAnswer, TasksAnswer, TensorAnswer
from node.view import NodeView


async def tasks(request: web.Request) -> web.Response:
    """List tasks, ascending by id; `?after=` an id, `?limit=`."""
    limit = limit_of(request)
    after = optional_name(request, "after")
    rows = request.app[VIEW].store.state_items(
        TASK_PREFIX, after=b"" if after is None else task_key(after), limit=limit
    )
    state = request.app[VIEW].state()
    items = tuple(_answer(state, decoded(value, TaskState)) for _, value in rows)
    return json(TasksAnswer(items=items, next=items[-1].id if len(items) == limit else None))


async def task(request: web.Request) -> web.Response:
    """Give one task."""
    view = request.app[VIEW]
    return json(_answer(view.state(), require_task(view, request.match_info["task"])))


def require_task(view: NodeView, name: str) -> TaskState:
    """Return a task.

    Raises:
        Problem: 404 `task.unknown`.
    """
    found = task_of(view.state(), name)
    if found is None:
        raise Problem(404, "task.unknown", f"there is no task {name[:64]!r}: see /v1/tasks")
    return found


def _answer(chain: StateReader, state: TaskState) -> TaskAnswer:
    spec, change = state.spec, change_of(chain, state.spec.id)
    tensors = tuple(TensorAnswer(name=one.name, shape=one.shape, exponent=one.exponent) for one in spec.schema.tensors)
    return TaskAnswer(
        id=spec.id,
        description=spec.description,
        digest=spec.digest.hex(),
        status=state.status,
        round=state.round,
        version=state.version,
        certified=state.certified,
        rounds=spec.rounds,
        rule=_rule(spec.rule),
        clip_norm_micros=spec.clip_norm_micros,
        updates_min=spec.updates_min,
        updates_max=spec.updates_max,
        collect_ms=spec.collect_ms,
        aggregate_ms=spec.aggregate_ms,
        tensors=tensors,
        parameters=spec.schema.size,
        participants=spec.participants,
        approvals=state.approvals,
        paused_until_ms=paused_until_ms(chain, spec.id),
        change=None if change is None else _change(change),
        optimiser=_optimiser(spec.optimiser),
    )


def _change(change: PendingChange) -> TaskChangeAnswer:
    spec = change.spec
    return TaskChangeAnswer(
        from_height=change.from_height,
        digest=spec.digest.hex(),
        rule=_rule(spec.rule),
        clip_norm_micros=spec.clip_norm_micros,
        updates_min=spec.updates_min,
        updates_max=spec.updates_max,
        collect_ms=spec.collect_ms,
        aggregate_ms=spec.aggregate_ms,
        rounds=spec.rounds,
        participants=spec.participants,
    )


def _rule(rule: RuleSpec) -> RuleAnswer:
    return RuleAnswer(
        rule=rule.rule, f=rule.f, pre=rule.pre, keep=rule.keep, weight_cap_permille=rule.weight_cap_permille
    )


def _optimiser(spec: OptimiserSpec | None) -> OptimiserAnswer | None:
    if spec is None:
        return None
    return OptimiserAnswer(
        optimiser=spec.optimiser,
        rate_micros=spec.rate_micros,
        momentum_permille=spec.momentum_permille,
        variance_permille=spec.variance_permille,
        floor_micros=spec.floor_micros,
    )


ROUTES = (
    get("/v1/tasks", tasks, TasksAnswer, query=(AFTER_NAME, LIMIT)),
    get("/v1/tasks/{task}", task, TaskAnswer, problems=("task.unknown",)),
)
