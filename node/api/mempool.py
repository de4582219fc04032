"""`/v1/mempool`: what waits for a block."""

from __future__ import annotations

from aiohttp import web

from ledger.transaction import decode_transaction, transaction_id
from node.api.answering import VIEW, json, limit_of
from node.api.answers import Answer
from node.api.operations import LIMIT, get


class WaitingItem(Answer, frozen=True):
    """A transaction that waits for a block."""

    id: str
    kind: str
    sender: str
    nonce: int
    size_bytes: int


class MempoolAnswer(Answer, frozen=True):
    """What waits for a block."""

    transactions: int
    bytes: int
    items: tuple[WaitingItem, ...]
    """The first of them."""


async def mempool(request: web.Request) -> web.Response:
    """Tell how much waits for a block, and list the first of it; `?limit=`."""
    view = request.app[VIEW]
    status = view.status()
    items = tuple(_item(raw) for raw in view.waiting(limit_of(request)))
    return json(
        MempoolAnswer(transactions=status.mempool_transactions, bytes=status.mempool_bytes, items=items),
        headers={"Cache-Control": "no-store"},
    )


def _item(raw: bytes) -> WaitingItem:
    said = decode_transaction(raw)
    return WaitingItem(
        id=transaction_id(raw).hex(), kind=said.kind, sender=said.sender.hex(), nonce=said.nonce, size_bytes=len(raw)
    )


ROUTES = (get("/v1/mempool", mempool, MempoolAnswer, query=(LIMIT,)),)
