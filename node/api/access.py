"""Who may ask for what. One law: checked before the body is read.

A participant shows who it is by a signed request, a program by a bearer token (RFC 6750). Reading is open, or needs one
of the two; uploads need one; a transaction needs neither, since it is signed itself and only enrolled senders may wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import time_ns
from typing import Final, Literal

from aiohttp import web

from fl.records import Participant
from fl.state import participant_of
from ledger.transaction import TRANSACTION_BYTES_MAX
from node.api.answering import VIEW
from node.api.operations import Access
from node.api.problem import Problem
from node.signed_request import KEY_HEADER, BodyDigest, UnsignedRequestError, digest_of, verify_headers
from node.tokens import Scope, Token, TokenBook

BODY_BYTES_MAX: Final = 4 * TRANSACTION_BYTES_MAX
TOKEN_CHARACTERS_MAX: Final = 128
ReadAccess = Literal["open", "token"]
"""Whether reading needs nothing, or a token or a participant's signature."""

_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="foedus"'}


@dataclass(frozen=True, slots=True)
class Rules:
    """What the node's operator has settled."""

    read: ReadAccess
    tokens: TokenBook | None
    """None where no token is worth anything."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Who uploads."""

    owner: str
    """Whose quota it counts against."""

    body_digest: BodyDigest | None
    """What the body must have; None when a token speaks, which signs nothing."""


RULES: Final = web.AppKey("access", Rules)


def require_access(request: web.Request, access: Access) -> None:
    """Check that the request may ask what needs `access`; uploads name their writer by `require_writer` besides.

    Raises:
        Problem: 401 `request.unauthorised` or `request.unsigned`, 403 `request.scope` or `request.not_enrolled`.
    """
    match access:
        case "open":
            return
        case "read":
            if request.app[RULES].read == "token" and _token(request, "read") is None:
                _participant(request)
        case "submit":
            require_writer(request)
        case "admin":
            if _token(request, "admin") is None:
                raise _unauthorised("a token of scope admin")


def require_writer(request: web.Request) -> Writer:
    """Return who uploads.

    Raises:
        Problem: see `require_access`.
    """
    token = _token(request, "submit")
    if token is not None:
        return Writer(f"token:{token.name}", None)
    participant, body_digest = _participant(request)
    return Writer(f"participant:{participant.name}", body_digest)


def require_body(came: BodyDigest | None, needed: BodyDigest | None) -> None:
    """Check the digest of a body that has been read, when the request named one.

    Raises:
        Problem: 400 `request.body_digest`.
    """
    if needed is not None and came != needed:
        detail = f"the signed request names a body of digest {needed.text}, {came.text if came else 'none'} came"
        raise Problem(400, "request.body_digest", detail)


def _token(request: web.Request, needed: Scope) -> Token | None:
    """Return the token that the request brings; None when it brings none."""
    text = request.headers.get("Authorization")
    if text is None:
        return None
    scheme, _, secret = text.partition(" ")
    tokens = request.app[RULES].tokens
    if scheme.lower() != "bearer" or tokens is None or len(secret) > TOKEN_CHARACTERS_MAX:
        raise _unauthorised("`Authorization: Bearer TOKEN` with a token of this node")
    found = tokens.find(secret.strip(), now_ms=_now_ms())
    if found is None:
        raise _unauthorised("a token that this node knows, neither revoked nor expired,")
    if not found.may(needed):
        detail = f"scope {needed} is needed, token {found.name} has scope {found.scope}: see `foedus token new`"
        raise Problem(403, "request.scope", detail)
    return found


def _participant(request: web.Request) -> tuple[Participant, BodyDigest]:
    """Return who signed the request, and the digest that its body must have."""
    view = request.app[VIEW]
    if KEY_HEADER not in request.headers:
        raise _unauthorised("a token, or a request signed by a participant,")
    try:
        key, body_digest = verify_headers(request.headers, view.chain_id, request.method, request.raw_path, _now_ms())
    except UnsignedRequestError as error:
        raise Problem(401, "request.unsigned", str(error), headers=_CHALLENGE) from error
    if not request.body_exists:
        require_body(digest_of(b""), body_digest)
    participant = participant_of(view.state(), key)
    if participant is None:
        raise Problem(403, "request.not_enrolled", f"{key.hex()} is no participant of this chain")
    return participant, body_digest


def _unauthorised(needed: str) -> Problem:
    return Problem(401, "request.unauthorised", f"{needed} is needed: see docs/http-api.md", headers=_CHALLENGE)


def _now_ms() -> int:
    return time_ns() // 1_000_000
