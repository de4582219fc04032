"""A proxy in front of a node that changes, breaks or delays answers: what a client must not fall for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO

import aiohttp
from aiohttp import web
from yarl import URL

from tests.node.single_node import Served

Change = Callable[[str, bytes], bytes]
Break = Callable[[str, str, int], bool]


@dataclass
class LyingNode:
    """The proxy; give it `change` and `breaks`."""

    target: str
    port: int = 0
    change: Change = field(default=lambda _path, body: body)
    """(path, answer) -> answer."""

    breaks: Break = field(default=lambda _method, _path, _count: False)
    """(method, path, how many requests came before) -> whether to cut the connection instead of an answer."""

    after_forwarding: bool = False
    """Whether the node behind gets the request before the connection is cut."""

    seen: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def lying(served: Served) -> AsyncIterator[LyingNode]:
    """Run a proxy in front of a served node."""
    proxy = LyingNode(served.url)
    async with aiohttp.ClientSession() as http:

        async def forward(request: web.Request) -> web.Response:
            body, path = await request.read(), request.raw_path
            cut = proxy.breaks(request.method, path, len(proxy.seen))
            proxy.seen.append(f"{request.method} {path}")
            if cut and not proxy.after_forwarding:
                return _cut(request)
            headers = {name: value for name, value in request.headers.items() if name != "Host"}
            url = URL(proxy.target + path, encoded=True)
            async with http.request(
                request.method, url, data=BytesIO(body) if body else None, headers=headers
            ) as answer:
                content = proxy.change(path, await answer.read())
                if cut:
                    return _cut(request)
                return web.Response(status=answer.status, body=content, content_type=answer.content_type)

        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{tail:.*}", forward)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        proxy.port = runner.addresses[0][1]
        try:
            yield proxy
        finally:
            await runner.cleanup()


def _cut(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
