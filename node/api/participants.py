"""`/v1/participants`: who may speak."""

from __future__ import annotations

from aiohttp import web

from fl.records import Participant
from fl.state import PARTICIPANT_PREFIX, decoded
from ledger.identity import PUBLIC_KEY_BYTES
from node.api.answering import VIEW, hex_bytes, json, limit_of
from node.api.answers import ParticipantItem, ParticipantsAnswer
from node.api.operations import AFTER_KEY, LIMIT, get


async def participants(request: web.Request) -> web.Response:
    """List participants, ascending by key; `?after=` a key, `?limit=`."""
    limit = limit_of(request)
    text = request.query.get("after")
    after = b"" if text is None else PARTICIPANT_PREFIX + hex_bytes(text, "after", length=PUBLIC_KEY_BYTES)
    rows = request.app[VIEW].store.state_items(PARTICIPANT_PREFIX, after=after, limit=limit)
    items = tuple(_item(decoded(value, Participant)) for _, value in rows)
    return json(ParticipantsAnswer(items=items, next=items[-1].public_key if len(items) == limit else None))


def _item(one: Participant) -> ParticipantItem:
    return ParticipantItem(
        name=one.name, organisation=one.organisation, public_key=one.public_key.hex(), roles=one.roles
    )


ROUTES = (get("/v1/participants", participants, ParticipantsAnswer, query=(AFTER_KEY, LIMIT)),)
