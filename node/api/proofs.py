"""`/v1/proofs`: single facts with what it takes to check them. One law: nobody has to trust the node."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from ledger.block import CertifiedBlock, block_id
from ledger.chain import CertifiedHeader
from ledger.codec import decode, encode
from ledger.fields import Height
from ledger.light import LightProof, prove_receipt, prove_state, prove_transaction
from ledger.receipt import Receipt
from node.api.answering import VIEW, digest_of, hex_bytes, json, unless_pruned
from node.api.answers import ProofAnswer
from node.api.operations import MESSAGE_PACK, get
from node.api.problem import Problem
from node.store import ChainReader, StoredTransaction
from node.store.reader import RECEIPT_BYTES_MAX


async def state(request: web.Request) -> web.Response:
    """Prove what the state after the latest block holds at a key (in hex), or that it holds nothing there."""
    view = request.app[VIEW]
    key = hex_bytes(request.match_info["key"], "key")
    now, tip = view.state(), view.store.tip()
    if tip is None:
        raise Problem(503, "proof.no_block", "facts are proven by a block's certificate and the chain has no block yet")
    proof = prove_state(_header(view.store, tip.height), now, key)
    return _answer(request, proof, now.get(key))


async def transaction(request: web.Request) -> web.Response:
    """Prove that a transaction stands in its block."""
    store = request.app[VIEW].store
    found = _require_transaction(store, request)
    proof = prove_transaction(_block(store, found.height), found.index)
    return _answer(request, proof, found.raw)


async def receipt(request: web.Request) -> web.Response:
    """Prove what became of a transaction."""
    store = request.app[VIEW].store
    found = _require_transaction(store, request)
    receipts = [decode(raw, Receipt, bytes_max=RECEIPT_BYTES_MAX) for raw in store.receipts(found.height)]
    proof = prove_receipt(_header(store, found.height), receipts, found.index)
    return _answer(request, proof, encode(found.receipt))


def _require_transaction(store: ChainReader, request: web.Request) -> StoredTransaction:
    identity = digest_of(request, "id")
    found = store.transaction(identity)
    if found is None:
        detail = f"no block holds transaction {identity.hex()}{unless_pruned(store)}"
        raise Problem(404, "transaction.unknown", detail)
    return found


def _block(store: ChainReader, height: int) -> CertifiedBlock:
    certified = store.certified_block(Height(height))
    assert certified is not None, "the block of a stored fact is stored"
    return certified


def _header(store: ChainReader, height: int) -> CertifiedHeader:
    certified = store.certified_header(Height(height))
    assert certified is not None, "headers are never removed"
    return certified


def _answer(request: web.Request, proof: LightProof, value: bytes | None) -> web.Response:
    encoded = encode(proof)
    if MESSAGE_PACK in request.headers.get("Accept", ""):
        return web.Response(body=encoded, content_type=MESSAGE_PACK)
    return json(
        ProofAnswer(
            height=proof.header.height,
            block_id=block_id(proof.header).hex(),
            found=value is not None,
            value=None if value is None else value.hex(),
            proof=encoded.hex(),
        )
    )


_FORMS: Final = (MESSAGE_PACK,)
_UNKNOWN: Final = ("transaction.unknown",)
ROUTES = (
    get("/v1/proofs/state/{key}", state, ProofAnswer, media_types=_FORMS, problems=("proof.no_block",)),
    get("/v1/proofs/transactions/{id}", transaction, ProofAnswer, media_types=_FORMS, problems=_UNKNOWN),
    get("/v1/proofs/receipts/{id}", receipt, ProofAnswer, media_types=_FORMS, problems=_UNKNOWN),
)
