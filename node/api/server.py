"""The server: all resources together, and the limits around them. One law: a client can make the node wait, never grow.

Beside each resource's own limits: at most `CONNECTIONS_MAX` connections, of which the oldest that asks for nothing
makes room for the next; at most `REQUESTS_MAX` requests at once; bodies of at most `access.BODY_BYTES_MAX`, except for
uploads, which go to the disk as they come; none of them compressed; heads of at most 16 KiB; no cross-origin access.
"""

from __future__ import annotations

import asyncio
import ssl
from ipaddress import ip_address
from time import perf_counter
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from node.api import (
    accounts,
    admin,
    blocks,
    budgets,
    documentation,
    evaluations,
    events,
    headers,
    health,
    membership,
    mempool,
    model_files,
    models,
    participants,
    payloads,
    policies,
    proofs,
    rounds,
    state,
    status,
    tasks,
    transactions,
    updates,
)
from node.api.access import BODY_BYTES_MAX, RULES, Rules, require_access
from node.api.answering import CLOSING, VIEW
from node.api.operations import Operation
from node.api.problem import Problem, problems
from node.door import Door, DoorLimits
from node.metrics import NodeMetrics
from node.view import NodeView

CONNECTIONS_MAX: Final = 400
REQUESTS_MAX: Final = 512
IDLE_SECONDS: Final = 75.0
"""A connection that asks for nothing, or for half of something, is closed after so long."""

LIMITS: Final = DoorLimits(accepts_per_s=1_000.0, connections_max=CONNECTIONS_MAX, connections_each_max=CONNECTIONS_MAX)
HEAD_BYTES_MAX: Final = 16_384
SHUTDOWN_SECONDS: Final = 2.0
RESOURCES: Final = (
    status,
    membership,
    policies,
    budgets,
    blocks,
    headers,
    transactions,
    mempool,
    accounts,
    participants,
    tasks,
    rounds,
    updates,
    models,
    model_files,
    evaluations,
    proofs,
    state,
    payloads,
    events,
    admin,
    health,
    documentation,
)
OPERATIONS: Final[tuple[Operation, ...]] = tuple(one for resource in RESOURCES for one in resource.ROUTES)
_ROUTES: Final[web.AppKey[dict[web.AbstractRoute, Operation]]] = web.AppKey("routes")
_REQUESTS: Final[web.AppKey[asyncio.Semaphore]] = web.AppKey("requests")
_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_DOOR: Final[web.AppKey[Door]] = web.AppKey("door", Door)
_LOOPBACK_ONLY: Final[web.AppKey[bool]] = web.AppKey("loopback_only")

log = structlog.get_logger(__name__)


class InsecureBindError(ValueError):
    """The API would be reachable from other machines without TLS."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"[api] host {host} can be reached from other machines: set tls_certificate and tls_key, or use 127.0.0.1"
        )
        self.host = host


class ApiServer:
    """The HTTP API of one node: `start`, `port`, `stop`."""

    def __init__(
        self,
        view: NodeView,
        metrics: NodeMetrics,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        rules: Rules | None = None,
    ) -> None:
        """Prepare the server.

        Args:
            view: the node.
            metrics: its figures.
            host: address to listen on.
            port: 0 picks a free one.
            tls: demanded for any host but loopback.
            rules: who may read, and the tokens; without, reading is open on loopback and no token is worth anything.

        Raises:
            InsecureBindError: it is missing.
        """
        if tls is None and not is_loopback(host):
            raise InsecureBindError(host)
        self._host = host
        self._wanted_port = port
        self._tls = tls
        self._app = make_application(view, metrics, loopback_only=is_loopback(host), rules=rules)
        self._door = Door("api", LIMITS, tls=tls)
        self._app[_DOOR] = self._door
        self._port = 0
        self._runner = web.AppRunner(
            self._app,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=IDLE_SECONDS,
            shutdown_timeout=SHUTDOWN_SECONDS,
            handler_cancellation=True,
            max_line_size=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
        )

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is in use.
        """
        await self._runner.setup()
        assert self._runner.server is not None, "a runner that is set up has a server"
        self._port = await self._door.open(self._runner.server, self._host, self._wanted_port)
        log.info("api.listening", host=self._host, port=self.port)

    @property
    def port(self) -> int:
        """Port that it listens on."""
        return self._port

    async def stop(self) -> None:
        """Answer those who wait and close all connections."""
        self._app[CLOSING].set()
        await self._door.close()
        await self._runner.cleanup()
        self._door.abort()


def make_application(
    view: NodeView, metrics: NodeMetrics, *, loopback_only: bool = True, rules: Rules | None = None
) -> web.Application:
    """Return the application with all routes."""
    middlewares = [_measured, problems, _bounded, _same_origin, _authorised]
    app = web.Application(middlewares=middlewares, client_max_size=BODY_BYTES_MAX)
    app[RULES] = rules or Rules("open" if loopback_only else "token", None)
    app[VIEW] = view
    app[CLOSING] = asyncio.Event()
    app[health.METRICS] = metrics
    app[events.STREAMS] = asyncio.Semaphore(events.STREAMS_MAX)
    app[payloads.UPLOADS] = asyncio.Semaphore(payloads.UPLOADS_MAX)
    app[_REQUESTS] = asyncio.Semaphore(REQUESTS_MAX)
    app[_LOOPBACK_ONLY] = loopback_only
    app[transactions.SUBMISSIONS] = asyncio.Semaphore(transactions.SUBMISSIONS_MAX)
    app[documentation.PAGES] = documentation.Pages(OPERATIONS, app[RULES].read)
    app[_ROUTES] = {}
    for operation in OPERATIONS:
        methods = ("GET", "HEAD") if operation.method == "GET" and operation.allow_head else (operation.method,)
        for method in methods:
            app[_ROUTES][app.router.add_route(method, operation.path, operation.handler)] = operation
    app.on_response_prepare.append(_harden)
    return app


def is_loopback(host: str) -> bool:
    """Tell whether nobody on another machine can connect to this address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@web.middleware
async def _measured(request: web.Request, handler: Handler) -> web.StreamResponse:
    start = perf_counter()
    response = await handler(request)
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "unknown"
    observed = request.app[health.METRICS].requests.labels(request.method, route, str(response.status))
    observed.observe(perf_counter() - start)
    return response


@web.middleware
async def _bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
    requests = request.app[_REQUESTS]
    if requests.locked():
        raise Problem(503, "node.busy", f"{REQUESTS_MAX} requests run already: try again", headers={"Retry-After": "1"})
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Problem(415, "request.encoding", "a body is taken as it is: send it without Content-Encoding")
    with request.app[_DOOR].busy(request.transport):
        async with requests:
            return await handler(request)


@web.middleware
async def _same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what a web page elsewhere would ask through its visitor's browser, by CORS or by rebinding a name."""
    name = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
    if request.app[_LOOPBACK_ONLY] and name not in _LOCAL_NAMES:
        detail = f"this API listens on loopback only; Host must be one of {sorted(_LOCAL_NAMES)}, got {name[:80]!r}"
        raise Problem(403, "request.host", detail)
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        raise Problem(403, "request.origin", f"cross-origin requests are not answered, got one from {origin[:80]!r}")
    return await handler(request)


@web.middleware
async def _authorised(request: web.Request, handler: Handler) -> web.StreamResponse:
    operation = request.app[_ROUTES].get(request.match_info.route)
    if operation is not None:
        require_access(request, operation.access)
    return await handler(request)


async def _harden(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    response.headers.setdefault("Cache-Control", "no-cache")
    response.headers["Server"] = "foedus"
