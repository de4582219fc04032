"""`/v1/tasks/{task}/rounds/{round}/report`: why a round came out as it did. One law: members only, and always the same.

A report is computed from the words of the updates when somebody asks, one at a time, and remembered. It tells how alike
two institutions' updates are, which nobody outside the consortium is to know; so it needs a token or a participant's
signature even where reading is open. Who could read it cannot get it wrong: the numbers are exact.
"""

from __future__ import annotations

import asyncio
from typing import Final

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from fl.aggregators import AggregationError
from fl.explanation import RoundGeometry, measure, report, retention
from fl.records import RoundState, UpdateState
from fl.results import AggregationJob, InputError, job_of
from fl.state import result_of
from ledger.payload import SALT_BYTES
from node.api.answering import VIEW, json
from node.api.operations import get
from node.api.problem import Problem
from node.api.report_answers import RoundReportAnswer, report_answer
from node.api.rounds import require_round
from node.payloads.errors import PayloadError
from node.view import NodeView

WORDS_BYTES_MAX: Final = 1 << 30
"""Memory for the words of one report."""

PRODUCTS_MAX: Final = 1 << 38
"""Multiplications of one report: a few seconds on compiled kernels."""

REPORTS_KEPT_MAX: Final = 32
UNDER_WAY_MAX: Final = 16
PIECE_BYTES: Final = 4 << 20
_Place = tuple[str, int]


class ReportDesk:
    """Computes reports one at a time, whether or not who asked goes on waiting, and remembers the latest."""

    def __init__(self) -> None:
        """Begin without any."""
        self._turn = asyncio.Lock()
        self._kept: dict[_Place, RoundReportAnswer] = {}
        self._under_way: dict[_Place, asyncio.Task[RoundReportAnswer]] = {}

    async def report(self, view: NodeView, one: RoundState) -> RoundReportAnswer:
        """Return a certified round's report.

        Raises:
            Problem: 409 `round.uncertified`, 410 `round.words_gone`, 422 `round.too_large`, 503 `node.busy`.
        """
        place = (one.task, one.number)
        if place in self._kept:
            return self._kept[place]
        if place not in self._under_way:
            if len(self._under_way) >= UNDER_WAY_MAX:
                detail = f"{UNDER_WAY_MAX} reports are being made already: try again"
                raise Problem(503, "node.busy", detail, headers={"Retry-After": "1"})
            task = asyncio.create_task(self._make(view, one))
            self._under_way[place] = task
            task.add_done_callback(lambda done: self._end(place, done))
        return await asyncio.shield(self._under_way[place])

    async def close(self) -> None:
        """Give up what is being made."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, place: _Place, done: asyncio.Task[RoundReportAnswer]) -> None:
        del self._under_way[place]
        if not done.cancelled():
            done.exception()  # who asked may be gone; it was said to all who wait

    async def _make(self, view: NodeView, one: RoundState) -> RoundReportAnswer:
        async with self._turn:
            made = await _computed(view, one)
        while len(self._kept) >= REPORTS_KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[one.task, one.number] = made
        return made


DESK: Final[web.AppKey[ReportDesk]] = web.AppKey("reports", ReportDesk)


async def round_report(request: web.Request) -> web.Response:
    """Explain a certified round: lengths, distances, shares, influence, twins, and why each update was used or not.

    For members alone, also where reading is open: it is made of the words of the updates.
    """
    return json(await request.app[DESK].report(request.app[VIEW], require_round(request)))


async def _computed(view: NodeView, one: RoundState) -> RoundReportAnswer:
    state = view.state()
    result = result_of(state, one.task, one.number)
    if result is None:
        detail = f"round {one.number} of {one.task} is {one.status}: only a certified round has an aggregate to explain"
        raise Problem(409, "round.uncertified", detail)
    job = job_of(state, one)
    _require_bounded(job)
    words = await _words(view, job)
    geometry = await asyncio.to_thread(_measured, job, words)
    looked_at, last = retention(state, one.task, one.number)
    return report_answer(report(job, result, geometry, looked_at, last))


def _measured(job: AggregationJob, words: NDArray[np.int16]) -> RoundGeometry:
    try:
        return measure(job, words.astype(np.int16, copy=False))
    except (InputError, AggregationError) as error:
        raise Problem(
            410, "round.words_gone", f"the round cannot be computed again from what is here: {error}"
        ) from error


def _require_bounded(job: AggregationJob) -> None:
    rows, size = len(job.updates) + 1, job.spec.schema.size
    if 2 * rows * size > WORDS_BYTES_MAX or rows * rows * size > PRODUCTS_MAX:
        detail = (
            f"{rows - 1} updates of {size} words: at most {WORDS_BYTES_MAX} bytes and {PRODUCTS_MAX} products are "
            f"looked at for one request; `foedus audit --report` computes it on a copy"
        )
        raise Problem(422, "round.too_large", detail)


async def _words(view: NodeView, job: AggregationJob) -> NDArray[np.int16]:
    words: NDArray[np.int16] = np.empty((len(job.updates) + 1, job.spec.schema.size), "<i2")
    for row, update in enumerate(job.updates):
        await _read(view, update, memoryview(words[row]).cast("B"))
    return words


async def _read(view: NodeView, update: UpdateState, target: memoryview) -> None:
    try:
        for start in range(0, len(target), PIECE_BYTES):
            length = min(PIECE_BYTES, len(target) - start)
            target[start : start + length] = await view.payloads.read(update.payload.id, SALT_BYTES + start, length)
    except (PayloadError, ValueError) as error:
        detail = f"the words of {update.participant} are not here, erased or never fetched ({error}): ask another node"
        raise Problem(410, "round.words_gone", detail) from error


ROUTES = (
    get(
        "/v1/tasks/{task}/rounds/{round}/report",
        round_report,
        RoundReportAnswer,
        problems=("task.unknown", "round.unknown", "round.uncertified", "round.words_gone", "round.too_large"),
        access="member",
        allow_head=False,
    ),
)
