"""`/healthz`, `/readyz`, `/metrics`: for those who keep the node running."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from node.api.answering import VIEW, json
from node.api.answers import HealthAnswer
from node.api.operations import JSON, Content, get
from node.metrics import CONTENT_TYPE, NodeMetrics

METRICS: Final[web.AppKey[NodeMetrics]] = web.AppKey("metrics")


async def healthz(_request: web.Request) -> web.Response:
    """Say that the process answers: nothing more, so that a node without peers is not restarted for it."""
    return json(HealthAnswer(status="ok"))


async def readyz(request: web.Request) -> web.Response:
    """Say whether the node can do its work: 503 with the reason when the chain is stuck."""
    status = request.app[VIEW].status()
    if status.stuck:
        return json(HealthAnswer(status="stuck", detail=status.stuck), status=503)
    return json(HealthAnswer(status="ready"))


async def metrics(request: web.Request) -> web.Response:
    """Give all figures in Prometheus' text format."""
    kept = request.app[METRICS]
    kept.take_status(request.app[VIEW].status())
    return web.Response(body=kept.render(), headers={"Content-Type": CONTENT_TYPE})


ROUTES = (
    get("/healthz", healthz, HealthAnswer, access="open"),
    get(
        "/readyz", readyz, HealthAnswer, also=(Content(503, JSON, HealthAnswer, "The chain is stuck."),), access="open"
    ),
    get("/metrics", metrics, None, media_types=("text/plain",)),
)
