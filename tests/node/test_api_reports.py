"""Reports of rounds over HTTP: for members alone, bounded, and the same bytes from every node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fl.explanation import RoundGeometry, measure
from fl.results import AggregationJob
from node.api import reports
from node.api.report_answers import RoundReportAnswer
from node.tokens import new_token
from tests.node.api_client import Asker, asking, evaluation
from tests.node.single_node import STRANGER, TRAINER_KEYS, served

PATH = "/v1/tasks/toy/rounds/1/report"
NOW = 1_700_000_000_000


@pytest.fixture
async def asker(tmp_path: Path) -> AsyncIterator[Asker]:
    async with served(tmp_path) as node, asking(node) as opened:
        yield opened


@pytest.fixture
async def trained(asker: Asker) -> Asker:
    await asker.update("alpha", 0.25)
    await asker.update("beta", 0.75)
    await asker.submit("alpha", "evaluation", evaluation())  # the aggregate is in the block before it
    return asker


async def test_a_member_gets_the_report_by_signature_or_token_and_nobody_else_though_reading_is_open(
    trained: Asker, tmp_path: Path
) -> None:
    assert (await trained.get("/v1/tasks/toy/rounds/1")).status == 200
    assert (await trained.get(PATH)).code == "request.unauthorised"
    assert (await trained.ask("GET", PATH, key=STRANGER)).code == "request.not_enrolled"

    signed = await trained.ask("GET", PATH, key=TRAINER_KEYS["gamma"])
    _, token = new_token(tmp_path, "someone", "read", now_ms=NOW)
    shown = await trained.get(PATH, {"Authorization": f"Bearer {token}"})

    assert signed.body == shown.body
    found = signed.read(RoundReportAnswer)
    assert [(one.participant, one.cluster_size) for one in found.updates] == [("alpha", 2), ("beta", 2)]


async def test_two_nodes_send_the_same_bytes(trained: Asker, tmp_path: Path) -> None:
    async with served(tmp_path / "other") as node, asking(node) as other:
        await other.update("alpha", 0.25)
        await other.update("beta", 0.75)
        await other.submit("alpha", "evaluation", evaluation())
        theirs = await other.ask("GET", PATH, key=TRAINER_KEYS["alpha"])
    ours = await trained.ask("GET", PATH, key=TRAINER_KEYS["alpha"])

    assert ours.body == theirs.body


async def test_a_round_that_is_not_certified_is_not_explained(trained: Asker) -> None:
    reply = await trained.ask("GET", "/v1/tasks/toy/rounds/2/report", key=TRAINER_KEYS["alpha"])
    assert (reply.status, reply.code) == (409, "round.uncertified")


async def test_a_node_without_the_words_says_so(trained: Asker) -> None:
    await trained.served.node.payloads.delete(trained.served.node.published[0])

    reply = await trained.ask("GET", PATH, key=TRAINER_KEYS["alpha"])
    assert (reply.status, reply.code) == (410, "round.words_gone")


async def test_what_is_too_large_is_refused_before_anything_is_read(
    trained: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "PRODUCTS_MAX", 9 * 7 - 1)
    reply = await trained.ask("GET", PATH, key=TRAINER_KEYS["alpha"])
    assert (reply.status, reply.code) == (422, "round.too_large")


async def test_a_report_is_computed_once_however_many_ask(trained: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def counting(job: AggregationJob, words: NDArray[np.int16]) -> RoundGeometry:
        measured.append(job)
        return measure(job, words)

    monkeypatch.setattr(reports, "measure", counting)

    replies = await asyncio.gather(*(trained.ask("GET", PATH, key=TRAINER_KEYS["alpha"]) for _ in range(8)))

    assert len({reply.body for reply in replies}) == 1
    assert len(measured) == 1
