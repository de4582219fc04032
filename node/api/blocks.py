"""`/v1/blocks`: the chain's blocks, with the certificates that made them final."""

from __future__ import annotations

from aiohttp import web

from ledger.block import CertifiedBlock, Header
from ledger.certificate import QuorumCertificate
from ledger.chain import CertifiedHeader
from ledger.codec import decode, encode
from ledger.digest import DIGEST_BYTES
from ledger.fields import Height
from ledger.receipt import Receipt
from ledger.transaction import transaction_id
from node.api.answering import VIEW, hex_bytes, integer, json, limit_of, optional_integer
from node.api.answers import (
    BlockAnswer,
    BlockItem,
    BlocksAnswer,
    CertificateAnswer,
    EventAnswer,
    HeaderAnswer,
    ReceiptAnswer,
    SealAnswer,
)
from node.api.operations import BEFORE, LIMIT, MESSAGE_PACK, get
from node.api.problem import Problem
from node.store import ChainReader
from node.store.reader import RECEIPT_BYTES_MAX


async def blocks(request: web.Request) -> web.Response:
    """List blocks, newest first; `?before=` a height, `?limit=`."""
    limit, before = limit_of(request), optional_integer(request, "before")
    found = request.app[VIEW].store.blocks(before=None if before is None else Height(before), limit=limit)
    items = tuple(
        BlockItem(
            height=one.header.height,
            id=one.id.hex(),
            time_ms=one.header.time_ms,
            parent_id=one.header.parent_id.hex(),
            proposer=one.header.proposer,
            transactions=one.transaction_count,
            size_bytes=one.size_bytes,
            pruned=one.pruned,
        )
        for one in found
    )
    more = len(items) == limit and items[-1].height > 1
    return json(BlocksAnswer(items=items, next=items[-1].height if more else None))


async def block(request: web.Request) -> web.Response:
    """Give one block by height, id or `latest`; with `Accept: application/msgpack` the certified block's own bytes."""
    certified = require_block(request)
    if MESSAGE_PACK in request.headers.get("Accept", ""):
        return web.Response(body=encode(certified), content_type=MESSAGE_PACK)
    store = request.app[VIEW].store
    receipts = [
        decode(raw, Receipt, bytes_max=RECEIPT_BYTES_MAX) for raw in store.receipts(certified.block.header.height)
    ]
    return json(
        BlockAnswer(
            id=certified.block.id.hex(),
            header=header_answer(certified.block.header),
            certificate=certificate_answer(certified.certificate),
            transactions=tuple(transaction_id(raw).hex() for raw in certified.block.transactions),
            receipts=tuple(receipt_answer(receipt) for receipt in receipts),
        )
    )


def require_block(request: web.Request) -> CertifiedBlock:
    """Return the block that a path names by number, id or `latest`.

    Raises:
        Problem: 404 `block.unknown`, 410 `block.pruned`, 400 `request.invalid`.
    """
    store, text = request.app[VIEW].store, request.match_info["block"]
    height = _height_of(store, text)
    certified = store.certified_block(height)
    if certified is None:
        raise _unknown(text) if store.certified_header(height) is None else pruned(store, height)
    return certified


def require_header(request: web.Request) -> CertifiedHeader:
    """Return the certified header that a path names by number, id or `latest`; none is ever pruned.

    Raises:
        Problem: 404 `block.unknown`, 400 `request.invalid`.
    """
    store, text = request.app[VIEW].store, request.match_info["block"]
    certified = store.certified_header(_height_of(store, text))
    if certified is None:
        raise _unknown(text)
    return certified


def pruned(store: ChainReader, height: int) -> Problem:
    """Say that a block is not here any more, or has never been, and who may have it."""
    return Problem(
        410,
        "block.pruned",
        f"this node keeps the blocks from {store.blocks_from} on and of block {height} the header alone "
        f"(/v1/headers/{height}): ask a node whose /v1/status has a lower blocks_from, or read an export",
    )


def _height_of(store: ChainReader, text: str) -> Height:
    if text == "latest":
        tip = store.tip()
        if tip is None:
            raise Problem(404, "block.unknown", "the chain has no block yet")
        return tip.height
    if len(text) == 2 * DIGEST_BYTES:
        height = store.block_height(hex_bytes(text, "block id", length=DIGEST_BYTES))
        if height is None:
            raise _unknown(text)
        return height
    return Height(integer(text, "block"))


def receipt_answer(receipt: Receipt) -> ReceiptAnswer:
    """Return a receipt as it is answered."""
    events = tuple(EventAnswer(kind=one.kind, subject=one.subject, detail=one.detail) for one in receipt.events)
    return ReceiptAnswer(code=receipt.code, detail=receipt.detail, events=events)


def header_answer(header: Header) -> HeaderAnswer:
    """Return a header as it is answered."""
    return HeaderAnswer(
        chain_id=header.chain_id.hex(),
        height=header.height,
        time_ms=header.time_ms,
        parent_id=header.parent_id.hex(),
        transactions_root=header.transactions_root.hex(),
        state_root=header.state_root.hex(),
        receipts_root=header.receipts_root.hex(),
        validators_hash=header.validators_hash.hex(),
        next_validators_hash=header.next_validators_hash.hex(),
        parameters_hash=header.parameters_hash.hex(),
        application_version=header.application_version,
        proposer=header.proposer,
    )


def certificate_answer(certificate: QuorumCertificate) -> CertificateAnswer:
    """Return a certificate as it is answered."""
    seals = tuple(SealAnswer(validator=seal.validator, signature=seal.signature.hex()) for seal in certificate.seals)
    return CertificateAnswer(
        height=certificate.height, view=certificate.view, block_id=certificate.block_id.hex(), seals=seals
    )


def _unknown(text: str) -> Problem:
    return Problem(404, "block.unknown", f"there is no block {text} here: see /v1/status for the latest height")


ROUTES = (
    get("/v1/blocks", blocks, BlocksAnswer, query=(BEFORE, LIMIT)),
    get(
        "/v1/blocks/{block}",
        block,
        BlockAnswer,
        media_types=(MESSAGE_PACK,),
        problems=("block.unknown", "block.pruned"),
    ),
)
