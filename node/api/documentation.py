"""`/openapi.json` and `/docs`: the API, told by itself. One law: nothing is fetched from anywhere else.

The page is complete without its script, which only filters it and asks the node what the reader wants to try; its
policy allows this node's own files alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import msgspec
from aiohttp import web

from node.api.openapi import document
from node.api.operations import JSON, Operation, Schema, get
from node.api.page import page

_FILES: Final = Path(__file__).parent / "pages"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


class Pages:
    """What is served, made when it is first asked for: a node that starts votes before anybody reads about it."""

    def __init__(self, operations: Sequence[Operation], read: Literal["open", "token"]) -> None:
        """Tell of these operations, with or without the need of a token for reading."""
        self._operations: Final = operations
        self._read: Final = read

    @cached_property
    def openapi(self) -> bytes:
        """The document."""
        return msgspec.json.encode(self._said)

    @cached_property
    def html(self) -> bytes:
        """Its page."""
        return page(self._said).encode()

    @cached_property
    def style(self) -> bytes:
        """The page's style."""
        return (_FILES / "docs.css").read_bytes()

    @cached_property
    def script(self) -> bytes:
        """The page's script."""
        return (_FILES / "docs.js").read_bytes()

    @cached_property
    def _said(self) -> Schema:
        return document(self._operations, self._read)


PAGES: Final[web.AppKey[Pages]] = web.AppKey("pages")


async def openapi(request: web.Request) -> web.Response:
    """Give this document."""
    return web.Response(body=request.app[PAGES].openapi, content_type=JSON)


async def docs(request: web.Request) -> web.Response:
    """Give this document as a page for people."""
    return _file(request.app[PAGES].html, "text/html")


async def style(request: web.Request) -> web.Response:
    """Give the page's style."""
    return _file(request.app[PAGES].style, "text/css")


async def script(request: web.Request) -> web.Response:
    """Give the page's script."""
    return _file(request.app[PAGES].script, "text/javascript")


def _file(body: bytes, content_type: str) -> web.Response:
    headers = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
    return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)


ROUTES = (
    get("/openapi.json", openapi, None, media_types=(JSON,), access="open"),
    get("/docs", docs, None, media_types=("text/html",), access="open"),
    get("/docs/docs.css", style, None, media_types=("text/css",), access="open"),
    get("/docs/docs.js", script, None, media_types=("text/javascript",), access="open"),
)
