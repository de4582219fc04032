"""`/openapi.json` and `/docs`: the API, told by itself. One law: nothing is fetched from anywhere else.

The page is complete without its script, which only filters it and asks the node what the reader wants to try; its
policy allows this node's own files alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec
from aiohttp import web

from node.api.openapi import document
from node.api.operations import JSON, Operation, get
from node.api.page import page

_FILES: Final = Path(__file__).parent / "pages"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Pages:
    """What is served, made once."""

    openapi: bytes
    html: bytes
    style: bytes
    script: bytes


PAGES: Final[web.AppKey[Pages]] = web.AppKey("pages")


def pages(operations: Sequence[Operation], read: Literal["open", "token"]) -> Pages:
    """Return the document and its page."""
    said = document(operations, read)
    return Pages(
        openapi=msgspec.json.encode(said),
        html=page(said).encode(),
        style=(_FILES / "docs.css").read_bytes(),
        script=(_FILES / "docs.js").read_bytes(),
    )


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
