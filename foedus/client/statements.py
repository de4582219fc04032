"""Transactions, from signing to receipt. One law: one statement takes effect once, however often it has to be sent.

A transaction that has been sent is sent again with the same bytes; it is signed anew, with another nonce, only when
the chain has given its nonce to another transaction of this key.
"""

from __future__ import annotations

import asyncio
from typing import Final

from foedus.client.errors import ClientError, NodeRefusedError, RefusedError
from foedus.client.wire import Wire, back_off
from ledger.codec import Record, encode
from ledger.digest import Digest
from ledger.identity import SigningKey
from ledger.transaction import sign_transaction
from node.api.answers import NonceAnswer, SubmittedAnswer

ATTEMPTS_MAX: Final = 200
"""Signings and sendings of one statement; each waits for the node's long poll or its refusal."""

_NONCE_LOST: Final = frozenset({"transaction.stale_nonce", "transaction.nonce_taken", "transaction.nonce_gap"})


async def say(wire: Wire, key: SigningKey, chain_id: Digest, kind: str, payload: Record) -> SubmittedAnswer:
    """Put a statement on the chain and return its place and receipt.

    Raises:
        RefusedError: the chain does not take it; the receipt's code and detail, or the reason why it may not even wait.
        NodeUnreachableError: the node does not answer.
    """
    raw = await _sign(wire, key, chain_id, kind, payload)
    for attempt in range(ATTEMPTS_MAX):
        try:
            answer = await _send(wire, raw)
        except NodeRefusedError as error:
            if error.code in _NONCE_LOST:
                await asyncio.sleep(back_off(attempt))
                raw = await _sign(wire, key, chain_id, kind, payload)
                continue
            if error.status == 422:
                raise RefusedError(error.code, error.detail) from error
            raise
        if answer.receipt is None:
            continue
        if answer.receipt.code != "ok":
            raise RefusedError(answer.receipt.code, answer.receipt.detail)
        return answer
    raise ClientError(f"{wire.url} has not put a transaction of kind {kind} into a block: its status says why")


async def _sign(wire: Wire, key: SigningKey, chain_id: Digest, kind: str, payload: Record) -> bytes:
    nonce = (await wire.answer(f"/v1/accounts/{key.public_key.hex()}/nonce", NonceAnswer)).next
    return encode(sign_transaction(key, chain_id, kind, nonce, payload))


async def _send(wire: Wire, raw: bytes) -> SubmittedAnswer:
    path = "/v1/transactions?wait=committed"
    reply = await wire.request("POST", path, body=raw, headers={"Content-Type": "application/msgpack"})
    return wire.read(reply, SubmittedAnswer)
