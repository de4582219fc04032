"""The API's limits and manners: bounded, same-origin, problems with codes, streams that resume."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from node.api import events as event_routes
from node.api import server as server_module
from node.api.server import ApiServer, InsecureBindError, is_loopback
from node.metrics import NodeMetrics
from tests.node.api_client import Asker, asking, evaluation
from tests.node.single_node import opened, served


@pytest.fixture
async def asker(tmp_path: Path) -> AsyncIterator[Asker]:
    async with served(tmp_path) as node, asking(node) as asker:
        yield asker


@pytest.mark.parametrize(
    "path, status, code",
    [
        ("/", 404, "route.unknown"),
        ("/v1/nothing", 404, "route.unknown"),
        ("/v1/blocks/7", 404, "block.unknown"),
        ("/v1/blocks/latest", 404, "block.unknown"),
        ("/v1/blocks/" + "ab" * 32, 404, "block.unknown"),
        ("/v1/blocks/seven", 400, "request.invalid"),
        ("/v1/blocks/-1", 400, "request.invalid"),
        ("/v1/blocks/99999999999999999999", 400, "request.invalid"),
        ("/v1/blocks?limit=0", 400, "request.invalid"),
        ("/v1/blocks?limit=201", 400, "request.invalid"),
        ("/v1/blocks?before=x", 400, "request.invalid"),
        ("/v1/transactions/" + "ab" * 32, 404, "transaction.unknown"),
        ("/v1/transactions/abcd", 400, "request.invalid"),
        ("/v1/transactions?sender=zz", 400, "request.invalid"),
        ("/v1/accounts/00/nonce", 400, "request.invalid"),
        ("/v1/tasks/none", 404, "task.unknown"),
        ("/v1/tasks/none/rounds", 404, "task.unknown"),
        ("/v1/tasks/none/models", 404, "task.unknown"),
        ("/v1/tasks/toy/rounds/9", 404, "round.unknown"),
        ("/v1/tasks/toy/rounds/9/updates", 404, "round.unknown"),
        ("/v1/tasks/toy/rounds?timeout=31&wait_after=1", 400, "request.invalid"),
        ("/v1/tasks/toy/models/9", 404, "model.unknown"),
        ("/v1/tasks/toy/models/%C3%A9", 400, "request.invalid"),
        ("/v1/tasks/toy/models/9/safetensors", 404, "model.unknown"),
        ("/v1/tasks/%00/rounds", 404, "task.unknown"),
        ("/v1/proofs/state/" + "00" * 257, 400, "request.invalid"),
        ("/v1/proofs/transactions/" + "ab" * 32, 404, "transaction.unknown"),
        ("/v1/events?after=-1", 400, "request.invalid"),
    ],
)
async def test_what_is_not_there_or_not_sensible_is_a_problem_with_a_code(
    asker: Asker, path: str, status: int, code: str
) -> None:
    reply = await asker.get(path)

    assert (reply.status, reply.code) == (status, code)


async def test_a_method_that_a_route_lacks_is_named_with_those_it_has(asker: Asker) -> None:
    reply = await asker.ask("DELETE", "/v1/blocks")

    assert (reply.status, reply.code) == (405, "route.method")
    assert "GET" in reply.headers["Allow"]


async def test_health_is_about_the_process_and_readiness_about_the_chain(asker: Asker) -> None:
    asker.served.node.stuck = "2 of 3 validators are connected"

    assert (await asker.get("/healthz")).status == 200
    ready = await asker.get("/readyz")
    assert ready.status == 503
    assert b"2 of 3 validators" in ready.body


async def test_metrics_count_blocks_transactions_and_requests(asker: Asker) -> None:
    await asker.submit("alpha", "evaluation", evaluation())
    await asker.submit("gamma", "evaluation", evaluation())

    text = (await asker.get("/metrics")).body.decode()

    assert "foedus_height 2.0" in text
    assert 'foedus_transactions_total{outcome="accepted"} 1.0' in text
    assert 'foedus_transactions_total{outcome="refused"} 1.0' in text
    assert 'foedus_http_request_seconds_count{method="POST",route="/v1/transactions",status="200"} 2.0' in text


async def test_web_pages_of_other_origins_get_nothing(asker: Asker) -> None:
    assert (await asker.get("/v1/status", {"Origin": "https://example.com"})).code == "request.origin"
    assert (await asker.get("/v1/status", {"Host": "rebound.example.com"})).code == "request.host"
    own = await asker.get("/v1/status", {"Origin": asker.served.url})
    assert own.status == 200
    assert "Access-Control-Allow-Origin" not in own.headers


async def test_more_requests_than_allowed_at_once_are_told_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "REQUESTS_MAX", 2)
    async with served(tmp_path) as node, asking(node) as asker:
        path = "/v1/tasks/toy/rounds?wait_after=1&timeout=20"
        waiting = [asyncio.ensure_future(asker.get(path)) for _ in range(2)]
        reply = await asker.get("/v1/status")
        while reply.status == 200:
            reply = await asker.get("/v1/status")
        assert (reply.status, reply.code, reply.headers["Retry-After"]) == (503, "node.busy", "1")
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_stopping_answers_those_who_wait(tmp_path: Path) -> None:
    async with opened(tmp_path) as node:
        server = ApiServer(node, NodeMetrics())
        await server.start()
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        path = "/v1/tasks/toy/rounds?wait_after=1&timeout=30"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await writer.drain()
        async with asyncio.timeout(10):
            await server.stop()
        writer.close()


async def read_events(asker: Asker, count: int, after: str = "", header: str = "") -> list[tuple[int, str]]:
    """Read `count` events and leave."""
    url = asker.served.url + "/v1/events" + (f"?after={after}" if after else "")
    found: list[tuple[int, str]] = []
    async with asker.http.get(url, headers={"Last-Event-ID": header} if header else {}) as response:
        assert response.content_type == "text/event-stream"
        number = 0
        while len(found) < count:
            line = (await response.content.readline()).decode()
            if line.startswith("id: "):
                number = int(line[4:])
            if line.startswith("event: "):
                found.append((number, line[7:].strip()))
    return found


async def test_events_come_as_they_happen_and_resume_after_the_last_one_seen(asker: Asker) -> None:
    reading = asyncio.ensure_future(read_events(asker, 3))
    for name in ("alpha", "beta"):
        await asker.submit(name, "evaluation", evaluation())
    await asker.update("alpha", 0.5)

    seen = await reading

    assert seen == [(1, "model.evaluated"), (2, "model.evaluated"), (3, "update.accepted")]
    assert await read_events(asker, 2, header="1") == seen[1:]
    assert await read_events(asker, 1, after="2") == seen[2:]


async def test_following_only_what_comes_next_skips_the_past(asker: Asker) -> None:
    await asker.submit("alpha", "evaluation", evaluation())
    reading = asyncio.ensure_future(read_events(asker, 1, after="latest"))
    while asker.served.server._app[event_routes.STREAMS]._value == event_routes.STREAMS_MAX:
        await asker.get("/healthz")
    await asker.submit("beta", "evaluation", evaluation())

    assert await reading == [(2, "model.evaluated")]


async def test_a_client_that_leaves_frees_its_stream(asker: Asker) -> None:
    streams = asker.served.server._app[event_routes.STREAMS]
    await asker.submit("alpha", "evaluation", evaluation())
    await read_events(asker, 1)

    await asker.submit("beta", "evaluation", evaluation())
    async with asyncio.timeout(5):
        while streams._value != event_routes.STREAMS_MAX:
            await asker.get("/healthz")


@pytest.mark.parametrize(
    "host, inside", [("127.0.0.1", True), ("::1", True), ("localhost", True), ("192.0.2.1", False)]
)
def test_loopback_is_what_no_other_machine_reaches(host: str, inside: bool) -> None:
    assert is_loopback(host) == inside


async def test_listening_for_other_machines_needs_tls(tmp_path: Path) -> None:
    async with opened(tmp_path) as node:
        with pytest.raises(InsecureBindError, match="tls_certificate"):
            ApiServer(node, NodeMetrics(), host="192.0.2.1")
