"""schemathesis asks whatever the OpenAPI document allows, and much that it does not, with a token of each scope."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from aiohttp import web

from node.api import rounds
from node.api.access import ReadAccess
from node.api.answering import wait_seconds
from node.api.server import OPERATIONS
from node.tokens import Scope, new_token
from tests.node.api_client import asking, evaluation
from tests.node.single_node import served

SECONDS_MAX = 120
EXAMPLES = 4
SETTINGS = """
seed = 1
[checks]
# What a schema cannot say: whole chunks of this payload, ranges of this model, a transaction that is signed.
positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "416", "422", "5xx"]
[[operations]]
include-name = "PUT /v1/payloads/{size}-{root}"
checks.positive_data_acceptance.enabled = false
"""


@pytest.mark.parametrize(
    "scope, read, phases",
    [
        (None, "open", "coverage"),
        (None, "token", "fuzzing"),
        ("read", "token", "fuzzing"),
        ("submit", "token", "fuzzing"),
        ("admin", "token", "coverage,fuzzing,stateful"),
    ],
)
async def test_schemathesis_finds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: Scope | None, read: ReadAccess, phases: str
) -> None:
    def briefly(request: web.Request) -> float:
        return wait_seconds(request) / 1_000

    monkeypatch.setattr(rounds, "wait_seconds", briefly)  # it asks for long polls too
    async with served(tmp_path / "node", read=read) as node, asking(node) as asker:
        for name in ("alpha", "beta"):
            await asker.update(name, 0.5)
        await asker.submit("alpha", "evaluation", evaluation(version=1))
        headers = []
        if scope is not None:
            _, token = new_token(tmp_path / "node", scope, scope, now_ms=1)
            headers = ["--header", f"Authorization: Bearer {token}"]
        (tmp_path / "settings.toml").write_text(SETTINGS)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "settings.toml")),
            *("run", node.url + "/openapi.json", "--phases", phases, "--max-examples", str(EXAMPLES), "--no-color"),
            *("--exclude-path", "/v1/events", "--request-timeout", "10", *headers),  # events have no end
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(SECONDS_MAX):
            said, _ = await process.communicate()

    text = said.decode()
    assert process.returncode == 0, text
    assert f"{len(OPERATIONS) - 2} selected" in text, text  # not the events, nor the document itself
