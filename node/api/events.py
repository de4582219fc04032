"""`/v1/events`: what happens, as it happens. One law: after a break a client goes on exactly where it was.

Server-sent events (WHATWG HTML, section 9.2): `id` is the event's number in the chain, `event` its kind, `data`
JSON. A client that comes back with `Last-Event-ID`, or `?after=`, misses nothing; `?after=latest` begins with what
comes next.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from aiohttp import web

from ledger.fields import Height
from node.api.answering import CLOSING, VIEW, integer, within
from node.api.answers import Answer
from node.api.operations import EVENTS_AFTER, LAST_EVENT_ID, Content, get
from node.api.problem import Problem
from node.store import StoredEvent
from node.view import NodeView

STREAMS_MAX: Final = 64
BATCH_EVENTS_MAX: Final = 100
KEEP_ALIVE_SECONDS: Final = 15.0
SLOW_CLIENT_SECONDS: Final = 10.0
"""A client that takes nothing for so long is closed; it may come back."""

STREAMS: Final[web.AppKey[asyncio.Semaphore]] = web.AppKey("streams")


class EventData(Answer, frozen=True):
    """The `data` of an event."""

    height: int
    index: int
    kind: str
    subject: str
    detail: str


async def events(request: web.Request) -> web.StreamResponse:
    """Send events until the client leaves."""
    streams = request.app[STREAMS]
    if streams.locked():
        detail = f"{STREAMS_MAX} clients follow the events already: try again"
        raise Problem(503, "events.busy", detail, headers={"Retry-After": "5"})
    view = request.app[VIEW]
    after = _after(request, view)
    async with streams:
        response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        await response.prepare(request)
        try:
            await _follow(request, response, view, after)
        except (TimeoutError, ConnectionError):
            _abort(request)  # the client is too slow or gone
    return response


async def _follow(request: web.Request, response: web.StreamResponse, view: NodeView, after: int) -> None:
    while not request.app[CLOSING].is_set():
        batch = view.store.events(after, BATCH_EVENTS_MAX)
        data = b"".join(_encoded(one) for one in batch)
        if not batch:
            tip = view.store.tip()
            height = Height(1 if tip is None else tip.height + 1)
            await within(request, KEEP_ALIVE_SECONDS, view.wait_for_block(height))
            data = b"" if view.store.last_event() > after else b": still here\n\n"
        if data:
            async with asyncio.timeout(SLOW_CLIENT_SECONDS):
                await response.write(data)
        after = batch[-1].sequence if batch else after


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _after(request: web.Request, view: NodeView) -> int:
    text = request.headers.get("Last-Event-ID") or request.query.get("after", "0")
    return view.store.last_event() if text == "latest" else integer(text, "after")


def _encoded(one: StoredEvent) -> bytes:
    data = EventData(
        height=one.height, index=one.index, kind=one.event.kind, subject=one.event.subject, detail=one.event.detail
    )
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (one.sequence, one.event.kind.encode(), msgspec.json.encode(data))


ROUTES = (
    get(
        "/v1/events",
        events,
        None,
        query=(EVENTS_AFTER,),
        headers=(LAST_EVENT_ID,),
        also=(Content(200, "text/event-stream", EventData, "Without end; `data` is an EventData in JSON."),),
        problems=("events.busy",),
        allow_head=False,
    ),
)
