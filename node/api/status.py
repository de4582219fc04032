"""`/v1/status`, `/v1/validators`: how the node is doing, and who decides."""

from __future__ import annotations

from aiohttp import web

from node.api.answering import VIEW, json
from node.api.answers import ValidatorItem, ValidatorsAnswer
from node.api.operations import get
from node.view import NodeStatus


async def status(request: web.Request) -> web.Response:
    """Tell how the node is doing."""
    return json(request.app[VIEW].status())


async def validators(request: web.Request) -> web.Response:
    """Tell who decides the next height."""
    view = request.app[VIEW]
    members = view.validators()
    tip = view.store.tip()
    items = tuple(
        ValidatorItem(name=one.name, public_key=one.public_key.hex(), address=one.address) for one in members.members
    )
    return json(
        ValidatorsAnswer(
            height=1 if tip is None else tip.height + 1,
            quorum=members.quorum,
            faulty_max=members.faulty_max,
            items=items,
        )
    )


ROUTES = (get("/v1/status", status, NodeStatus), get("/v1/validators", validators, ValidatorsAnswer))
