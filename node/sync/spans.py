"""Spans of heights, fetched ahead from several peers and given in order. One law: what waits is bounded.

While one span is worked on, the next ones are under way, each with another peer. An answer may be shorter than its span
(answers are bounded in bytes); the rest is asked for next, and the following spans are made smaller.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, TypeVar

from aiohttp import web

Item = TypeVar("Item")

SPANS_AHEAD: Final = 6
"""Spans under way at once: two each with three peers."""


class Span(NamedTuple):
    """Consecutive heights, both ends included."""

    first: int
    last: int


Obtain = Callable[[Span], Awaitable[Sequence[Item]]]


@asynccontextmanager
async def in_order(
    whole: Span, obtain: Obtain[Item], *, heights_max: int, ahead: int
) -> AsyncIterator[AsyncIterator[Sequence[Item]]]:
    """Give what there is at consecutive heights, part by part.

    Args:
        whole: from where to where; what cannot be had ends it with the error of `obtain`.
        obtain: fetches the items of a span, or of its first heights; at least one.
        heights_max: longest span.
        ahead: how many spans may be under way or wait at once.
    """
    waiting: deque[tuple[Span, asyncio.Future[Sequence[Item]]]] = deque()
    try:
        yield _parts(whole, obtain, waiting, heights_max, ahead)
    finally:
        tasks = [task for _, task in waiting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _parts(
    whole: Span,
    obtain: Obtain[Item],
    waiting: deque[tuple[Span, asyncio.Future[Sequence[Item]]]],
    heights_max: int,
    ahead: int,
) -> AsyncIterator[Sequence[Item]]:
    following, size = whole.first, heights_max
    while True:
        while following <= whole.last and len(waiting) < ahead:
            span = Span(following, min(whole.last, following + size - 1))
            waiting.append((span, asyncio.ensure_future(obtain(span))))
            following = span.last + 1
        if not waiting:
            return
        span, task = waiting[0]
        items = await task
        waiting.popleft()
        assert items, "an empty answer is an error of `obtain`"
        rest = Span(span.first + len(items), span.last)
        if rest.first <= rest.last:
            waiting.appendleft((rest, asyncio.ensure_future(obtain(rest))))
            size = max(1, len(items))
        else:
            size = min(2 * size, heights_max)
        yield items


def requested_span(request: web.Request) -> Span:
    """Return the heights that a request's query names.

    Raises:
        web.HTTPBadRequest: none, or no span.
    """
    try:
        first, last = int(request.query["from"]), int(request.query["to"])
    except (KeyError, ValueError) as error:
        raise web.HTTPBadRequest(text="needs ?from=HEIGHT&to=HEIGHT") from error
    if not 1 <= first <= last < 1 << 63:
        raise web.HTTPBadRequest(text=f"needs 1 <= from <= to < 2^63, got {first} and {last}")
    return Span(first, last)
