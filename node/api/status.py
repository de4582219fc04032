"""`/v1/status`: how the node is doing."""

from __future__ import annotations

from aiohttp import web

from node.api.answering import VIEW, json
from node.api.operations import get
from node.view import NodeStatus


async def status(request: web.Request) -> web.Response:
    """Tell how the node is doing."""
    return json(request.app[VIEW].status())


ROUTES = (get("/v1/status", status, NodeStatus),)
