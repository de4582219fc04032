"""`/v1/transactions`: what members said, what became of it, and where to say more."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import msgspec
from aiohttp import web

from ledger.execution import next_nonce
from ledger.fields import Height
from ledger.merkle import prove
from ledger.transaction import TRANSACTION_BYTES_MAX, decode_transaction, transaction_id
from node.api.answering import (
    VIEW,
    digest_of,
    hex_bytes,
    json,
    limit_of,
    optional_integer,
    optional_name,
    unless_pruned,
    wait_seconds,
    within,
)
from node.api.answers import InclusionAnswer, SubmittedAnswer, TransactionAnswer, TransactionItem, TransactionsAnswer
from node.api.blocks import receipt_answer
from node.api.operations import (
    BEFORE,
    BYTES,
    JSON,
    KIND,
    LIMIT,
    MESSAGE_PACK,
    SENDER,
    TIMEOUT,
    WAIT,
    Content,
    Operation,
    get,
)
from node.api.problem import Problem
from node.mempool import MempoolError
from node.store import StoredTransaction
from node.view import NodeView

SUBMISSIONS_MAX: Final = 64
"""Bodies of transactions that are read at once."""

STALLED_SECONDS: Final = 10.0
"""A transaction that has not come in this time is not waited for."""

SUBMISSIONS: Final[web.AppKey[asyncio.Semaphore]] = web.AppKey("submissions")


class Submission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """JSON form of a transaction that is submitted."""

    transaction: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{2})+$")]
    """Canonical bytes in hex."""


async def transactions(request: web.Request) -> web.Response:
    """List transactions, newest first; `?kind=`, `?sender=`, `?before=` a cursor, `?limit=`."""
    limit = limit_of(request)
    kind, sender = optional_name(request, "kind"), request.query.get("sender")
    found = request.app[VIEW].store.transactions(
        before=optional_integer(request, "before"),
        limit=limit,
        kind=kind,
        sender=None if sender is None else hex_bytes(sender, "sender", length=32),
    )
    items = tuple(_item(one) for one in found)
    more = len(found) == limit and found[-1].sequence > 1
    return json(TransactionsAnswer(items=items, next=found[-1].sequence if more else None))


async def transaction(request: web.Request) -> web.Response:
    """Give one transaction with its receipt and its inclusion proof."""
    store = request.app[VIEW].store
    identity = digest_of(request, "id")
    found = store.transaction(identity)
    if found is None:
        detail = (
            f"no block holds transaction {identity.hex()}: it waits, or was never submitted here{unless_pruned(store)}"
        )
        raise Problem(404, "transaction.unknown", detail)
    certified = store.certified_block(found.height)
    assert certified is not None, "a transaction's block is stored with it"
    proof = prove(certified.block.transactions, found.index)
    said = decode_transaction(found.raw)
    return json(
        TransactionAnswer(
            id=identity.hex(),
            height=found.height,
            index=found.index,
            kind=said.kind,
            sender=said.sender.hex(),
            nonce=said.nonce,
            raw=found.raw.hex(),
            receipt=receipt_answer(found.receipt),
            inclusion=InclusionAnswer(
                index=proof.index, count=proof.count, path=tuple(step.hex() for step in proof.path)
            ),
        )
    )


async def submit(request: web.Request) -> web.Response:
    """Take a transaction; `?wait=committed` answers once it stands in a block, or with 202 when that takes too long.

    Nothing but the transaction itself says who speaks: it is signed, and only enrolled senders may wait.
    """
    wait, seconds = request.query.get("wait"), wait_seconds(request)
    if wait not in {None, "committed"}:
        raise Problem(400, "request.invalid", f"wait: `committed` or nothing is needed, got {wait[:40]!r}")
    raw = _raw_transaction(request, await _body(request))
    view = request.app[VIEW]
    known = view.store.transaction(transaction_id(raw))
    identity = known.id if known is not None else await view.submit(raw)
    if known is None and wait:
        await within(request, seconds, _until_committed(view, raw))
        known = view.store.transaction(identity)
    if known is None:
        return json(SubmittedAnswer(id=identity.hex(), status="pending"), status=202)
    return json(
        SubmittedAnswer(
            id=identity.hex(),
            status="committed",
            height=known.height,
            index=known.index,
            receipt=receipt_answer(known.receipt),
        )
    )


async def _body(request: web.Request) -> bytes:
    submissions = request.app[SUBMISSIONS]
    if submissions.locked():
        detail = f"{SUBMISSIONS_MAX} transactions are being read already: try again"
        raise Problem(503, "node.busy", detail, headers={"Retry-After": "1"})
    async with submissions:
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                return await request.read()
        except TimeoutError as error:
            detail = f"the transaction did not come within {STALLED_SECONDS:.0f} s"
            raise Problem(408, "request.stalled", detail) from error


async def _until_committed(view: NodeView, raw: bytes) -> None:
    """Return once a transaction stands in a block.

    Raises:
        MempoolError: it never will, since another one of its sender took its nonce meanwhile.
    """
    identity, said = transaction_id(raw), decode_transaction(raw)
    while view.store.transaction(identity) is None:
        used = next_nonce(view.state(), said.sender)
        if said.nonce < used:
            message = f"another transaction took nonce {said.nonce}: the sender's next is {used}"
            raise MempoolError("transaction.stale_nonce", message)
        tip = view.store.tip()
        await view.wait_for_block(Height(1 if tip is None else tip.height + 1))


def _raw_transaction(request: web.Request, body: bytes) -> bytes:
    match request.content_type:
        case "application/msgpack" | "application/octet-stream":
            return body
        case "application/json":
            try:
                text = msgspec.json.decode(body, type=Submission).transaction
                raw = bytes.fromhex(text)
            except (ValueError, RecursionError) as error:
                detail = f'a body {{"transaction": HEX}} is needed: {error}'
                raise Problem(400, "request.invalid", detail) from error
            if len(raw) <= TRANSACTION_BYTES_MAX:
                return raw
            detail = f"a transaction has at most {TRANSACTION_BYTES_MAX} bytes, got {len(raw)}"
            raise Problem(413, "body.too_large", detail)
        case other:
            detail = f"{MESSAGE_PACK} or application/json is needed, got {other}"
            raise Problem(415, "request.media_type", detail)


def _item(one: StoredTransaction) -> TransactionItem:
    said = decode_transaction(one.raw)
    return TransactionItem(
        id=one.id.hex(),
        height=one.height,
        index=one.index,
        kind=said.kind,
        sender=said.sender.hex(),
        nonce=said.nonce,
        code=one.receipt.code,
        detail=one.receipt.detail,
    )


ROUTES = (
    get("/v1/transactions", transactions, TransactionsAnswer, query=(KIND, SENDER, BEFORE, LIMIT)),
    Operation(
        "POST",
        "/v1/transactions",
        submit,
        (
            Content(200, JSON, SubmittedAnswer, "It stands in a block."),
            Content(202, JSON, SubmittedAnswer, "It waits for a block."),
        ),
        query=(WAIT, TIMEOUT),
        bodies=(Content(0, JSON, Submission), Content(0, MESSAGE_PACK), Content(0, BYTES)),
        problems=(
            "request.media_type",
            "request.stalled",
            "transaction.malformed",
            "transaction.bad_signature",
            "transaction.stale_nonce",
            "transaction.nonce_gap",
            "transaction.nonce_taken",
            "transaction.unknown_kind",
            "transaction.unknown_sender",
            "mempool.full",
            "mempool.sender_full",
            "site_policy.denied",
        ),
        access="open",
    ),
    get("/v1/transactions/{id}", transaction, TransactionAnswer, problems=("transaction.unknown",)),
)
