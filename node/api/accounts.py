"""`/v1/accounts/{public_key}/nonce`: what a signer needs to know."""

from __future__ import annotations

from aiohttp import web

from ledger.execution import next_nonce
from ledger.identity import PUBLIC_KEY_BYTES
from node.api.answering import VIEW, hex_bytes, json
from node.api.answers import NonceAnswer
from node.api.operations import get


async def nonce(request: web.Request) -> web.Response:
    """Tell the nonces of a key; one that never spoke begins at 0."""
    view = request.app[VIEW]
    key = hex_bytes(request.match_info["public_key"], "key", length=PUBLIC_KEY_BYTES)
    return json(
        NonceAnswer(key=key.hex(), committed=next_nonce(view.state(), key), next=view.next_free_nonce(key)),
        headers={"Cache-Control": "no-store"},
    )


ROUTES = (get("/v1/accounts/{public_key}/nonce", nonce, NonceAnswer),)
