"""`/v1/headers`: what a quorum signed, without the transactions. One law: enough to follow the chain, no more."""

from __future__ import annotations

from aiohttp import web

from ledger.codec import encode
from ledger.fields import Height
from node.api.answering import VIEW, json, limit_of, optional_integer
from node.api.answers import Answer, CertificateAnswer, HeaderAnswer
from node.api.blocks import certificate_answer, header_answer, require_header
from node.api.operations import BEFORE, LIMIT, MESSAGE_PACK, get


class HeadersAnswer(Answer, frozen=True):
    """Headers, newest first."""

    items: tuple[HeaderAnswer, ...]
    next: int | None = None
    """Value of `before` for the next page; none after the last."""


class CertifiedHeaderAnswer(Answer, frozen=True):
    """A header and what made it final."""

    id: str
    header: HeaderAnswer
    certificate: CertificateAnswer


async def headers(request: web.Request) -> web.Response:
    """List headers, newest first; `?before=` a height, `?limit=`."""
    limit, before = limit_of(request), optional_integer(request, "before")
    found = request.app[VIEW].store.blocks(before=None if before is None else Height(before), limit=limit)
    items = tuple(header_answer(one.header) for one in found)
    more = len(items) == limit and items[-1].height > 1
    return json(HeadersAnswer(items=items, next=items[-1].height if more else None))


async def header(request: web.Request) -> web.Response:
    """Give one header with its certificate, by height, id or `latest`; `Accept: application/msgpack` gets its bytes."""
    certified = require_header(request)
    if MESSAGE_PACK in request.headers.get("Accept", ""):
        return web.Response(body=encode(certified), content_type=MESSAGE_PACK)
    return json(
        CertifiedHeaderAnswer(
            id=certified.certificate.block_id.hex(),
            header=header_answer(certified.header),
            certificate=certificate_answer(certified.certificate),
        )
    )


ROUTES = (
    get("/v1/headers", headers, HeadersAnswer, query=(BEFORE, LIMIT)),
    get("/v1/headers/{block}", header, CertifiedHeaderAnswer, media_types=(MESSAGE_PACK,), problems=("block.unknown",)),
)
