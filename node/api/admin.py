"""`/v1/admin`: what changes how this node runs, and nothing of the chain. One law: a token of scope admin, always.

A chain that is stuck is understood from its log; restarting the node to see more of it would remove what is looked for.
"""

from __future__ import annotations

import msgspec
import structlog
from aiohttp import web

from node.api.answering import json
from node.api.answers import Answer
from node.api.operations import JSON, Content, Operation, get
from node.api.problem import Problem
from node.logs import Level, current_level, set_level

log = structlog.get_logger(__name__)


class LogLevel(Answer, frozen=True, forbid_unknown_fields=True):
    """How much the node writes to its log."""

    level: Level
    """Least severity that is written."""


async def log_level(_request: web.Request) -> web.Response:
    """Tell how much the node writes to its log."""
    return json(LogLevel(level=current_level()))


async def change_log_level(request: web.Request) -> web.Response:
    """Change how much the node writes to its log, until it is restarted."""
    if request.content_type != JSON:
        raise Problem(415, "request.media_type", f"{JSON} is needed, got {request.content_type}")
    try:
        wanted = msgspec.json.decode(await request.read(), type=LogLevel)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "request.invalid", f'a body {{"level": LEVEL}} is needed: {error}') from error
    set_level(wanted.level)
    log.warning("api.log_level", level=wanted.level)
    return json(wanted)


ROUTES = (
    get("/v1/admin/log-level", log_level, LogLevel, access="admin"),
    Operation(
        "PUT",
        "/v1/admin/log-level",
        change_log_level,
        (Content(200, JSON, LogLevel),),
        bodies=(Content(0, JSON, LogLevel),),
        problems=("request.media_type",),
        access="admin",
    ),
)
