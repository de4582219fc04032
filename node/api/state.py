"""`/v1/state/{key}`: one entry of the state, for those who trust this node; `/v1/proofs` is for everybody else."""

from __future__ import annotations

from aiohttp import web

from node.api.answering import VIEW, hex_bytes
from node.api.operations import MESSAGE_PACK, get
from node.api.problem import Problem


async def entry(request: web.Request) -> web.Response:
    """Give the canonical bytes stored under a key (in hex)."""
    view = request.app[VIEW]
    key = hex_bytes(request.match_info["key"], "key")
    value = view.state().get(key)
    if value is None:
        raise Problem(404, "state.absent", f"the state holds nothing under {key.hex()}")
    tip = view.store.tip()
    headers = {"Foedus-Height": str(0 if tip is None else tip.height), "Cache-Control": "no-store"}
    return web.Response(body=value, content_type="application/msgpack", headers=headers)


ROUTES = (get("/v1/state/{key}", entry, None, media_types=(MESSAGE_PACK,), problems=("state.absent",)),)
