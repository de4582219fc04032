"""Reading requests and writing answers. One law: what comes from outside is parsed once, here, into bounded values."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from ledger.digest import DIGEST_BYTES, Digest
from ledger.fields import UINT_MAX
from node.api.operations import (
    KEY_BYTES_MAX,
    NAME,
    PAGE_ITEMS_DEFAULT,
    PAGE_ITEMS_MAX,
    WAIT_SECONDS_DEFAULT,
    WAIT_SECONDS_MAX,
)
from node.api.problem import Problem
from node.store import ChainReader
from node.view import NodeView

VIEW: Final = web.AppKey("view", NodeView)
CLOSING: Final = web.AppKey("closing", asyncio.Event)
"""Set when the server shuts down, so that whoever waits is answered."""

ResultT = TypeVar("ResultT")


def json(answer: msgspec.Struct, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return a JSON answer."""
    return web.Response(
        status=status, body=msgspec.json.encode(answer), content_type="application/json", headers=headers
    )


def limit_of(request: web.Request) -> int:
    """Return how many items a page may have (`?limit=`)."""
    return integer(request.query.get("limit", str(PAGE_ITEMS_DEFAULT)), "limit", low=1, high=PAGE_ITEMS_MAX)


def integer(text: str, what: str, *, low: int = 0, high: int = UINT_MAX) -> int:
    """Return a decimal number.

    Raises:
        Problem: 400 `request.invalid`.
    """
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else -1
    if not low <= number <= high:
        raise Problem(400, "request.invalid", f"{what}: an integer from {low} to {high} is needed, got {text[:40]!r}")
    return number


def optional_integer(request: web.Request, name: str) -> int | None:
    """Return a number from the query, None when it is not there."""
    text = request.query.get(name)
    return None if text is None else integer(text, name)


def hex_bytes(text: str, what: str, *, length: int | None = None) -> bytes:
    """Return the bytes that `text` says in hex.

    Args:
        text: from the request.
        what: names it in the problem.
        length: how many bytes are needed; None for at most `KEY_BYTES_MAX`.

    Raises:
        Problem: 400 `request.invalid`.
    """
    try:
        value = bytes.fromhex(text) if text.isascii() and " " not in text else b""
    except ValueError:
        value = b""
    if not value or len(value) > KEY_BYTES_MAX or (length is not None and len(value) != length):
        needed = f"{2 * length} hex digits are" if length is not None else f"hex of 1 to {KEY_BYTES_MAX} bytes is"
        raise Problem(400, "request.invalid", f"{what}: {needed} needed, got {text[:80]!r}")
    return value


def optional_name(request: web.Request, name: str) -> str | None:
    """Return a name from the query, None when it is not there.

    Raises:
        Problem: 400 `request.invalid`.
    """
    text = request.query.get(name)
    if text is not None and re.fullmatch(NAME, text) is None:
        raise Problem(400, "request.invalid", f"{name}: a name ({NAME}) is needed, got {text[:80]!r}")
    return text


def digest_of(request: web.Request, name: str) -> Digest:
    """Return a digest from the path."""
    return Digest(hex_bytes(request.match_info[name], name, length=DIGEST_BYTES))


def wait_seconds(request: web.Request) -> float:
    """Return how long the client would wait (`?timeout=` seconds), at most `WAIT_SECONDS_MAX`."""
    text = request.query.get("timeout")
    if text is None:
        return WAIT_SECONDS_DEFAULT
    return float(integer(text, "timeout", low=0, high=int(WAIT_SECONDS_MAX)))


async def within(request: web.Request, seconds: float, work: Awaitable[ResultT]) -> ResultT | None:
    """Return what `work` gives, None when the time is over or the server shuts down first."""
    waiting = asyncio.ensure_future(work)
    closing = asyncio.ensure_future(request.app[CLOSING].wait())
    try:
        await asyncio.wait({waiting, closing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else None
    finally:
        waiting.cancel()
        closing.cancel()


def unless_pruned(store: ChainReader) -> str:
    """Return what is to be added to the news that something is in no block of this node."""
    return (
        f"; blocks below {store.blocks_from} are pruned here, ask a node that has them" if store.blocks_from > 1 else ""
    )
