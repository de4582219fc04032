"""Who may write: participants registered in the state, by signed requests. One law: checked before the body is read."""

from __future__ import annotations

from hashlib import sha256
from time import time_ns

from aiohttp import web

from fl.records import Participant
from fl.state import participant_of
from ledger.transaction import TRANSACTION_BYTES_MAX
from node.api.answering import VIEW
from node.api.problem import Problem
from node.signed_request import UnsignedRequestError, verify_headers

BODY_BYTES_MAX = 4 * TRANSACTION_BYTES_MAX


def require_participant(request: web.Request) -> tuple[Participant, bytes]:
    """Return who signed the request, and the SHA-256 that its body must have.

    Raises:
        Problem: 401 `request.unsigned`, 403 `request.not_enrolled`.
    """
    view = request.app[VIEW]
    try:
        key, body_digest = verify_headers(
            request.headers, view.chain_id, request.method, request.raw_path, time_ns() // 1_000_000
        )
    except UnsignedRequestError as error:
        raise Problem(401, "request.unsigned", str(error)) from error
    participant = participant_of(view.state(), key)
    if participant is None:
        raise Problem(403, "request.not_enrolled", f"{key.hex()} is no participant of this chain")
    return participant, body_digest


async def signed_body(request: web.Request) -> bytes:
    """Return the body of a small signed request.

    Raises:
        Problem: see `require_participant` and `require_body`.
    """
    _, body_digest = require_participant(request)
    body = await request.read()
    require_body(sha256(body).digest(), body_digest)
    return body


def require_body(came: bytes, needed: bytes) -> None:
    """Check the digest of a body that has been read.

    Raises:
        Problem: 400 `request.body_digest`.
    """
    if came != needed:
        detail = f"the signed request names a body of SHA-256 {needed.hex()}, {came.hex()} came"
        raise Problem(400, "request.body_digest", detail)
