"""A participant's session with its node, for asyncio. One law: whatever restarts, a script goes on.

What the session says to the chain is idempotent: a round that has this participant's update is not offered again, and
an update or evaluation that is sent twice counts once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.grid import GridError, model_from_bytes, model_to_float
from fl.optimisers import model_body
from fl.records import (
    EvaluationReport,
    EvaluationState,
    ModelState,
    Participant,
    RoundState,
    TaskState,
    UpdateSubmission,
)
from fl.state import evaluation_key, model_key, round_key, task_key
from foedus.client.errors import (
    ClientError,
    EvaluationRefusedError,
    RefusedError,
    RoundOverError,
    UnverifiedError,
    UpdateRefusedError,
)
from foedus.client.facts import FactT, read_fact
from foedus.client.following import Trust
from foedus.client.noise import with_noise
from foedus.client.progress import Report
from foedus.client.statements import say
from foedus.client.transfers import download, upload
from foedus.client.updates import Arrays, metrics_of, prepare_update
from foedus.client.wire import Wire
from ledger.identity import SigningKey
from node.api.answers import BlockAnswer, BlocksAnswer, RoundsAnswer, SubmittedAnswer, TransactionsAnswer
from node.view import NodeStatus

Model = dict[str, NDArray[np.float32]]

POLL_SECONDS: Final = 25
_MODELS_KEPT: Final = 2


@dataclass(frozen=True, slots=True)
class Submission:
    """An update that is in its round."""

    transaction: str | None
    """Id in hex; None when an earlier submission of the same words is what counts."""

    height: int | None
    """Block that holds it."""

    payload: str
    """Payload id in hex."""

    saturated: int
    """Words that were cut off at the end of the grid's range; many of them mean a distorted update."""

    norm: float
    """L2 length of what was submitted."""


class Session:
    """Facts, models and statements of one task; made by `connect`."""

    def __init__(
        self,
        wire: Wire,
        trust: Trust,
        key: SigningKey | None,
        task: str | None,
        participant: Participant | None,
        report: Report | None = None,
    ) -> None:
        self._wire = wire
        self._trust = trust
        self._key = key
        self._task = task
        self._report = report
        self._models: dict[int, Model] = {}
        self.participant: Final = participant
        """Who this session speaks for; None without a key."""

    @property
    def verified(self) -> bool:
        """Whether every fact is checked against the quorum's signatures; needs the genesis document."""
        return self._trust.validators is not None

    async def status(self) -> NodeStatus:
        """Return how the node is doing."""
        return await self._wire.answer("/v1/status", NodeStatus)

    async def blocks(self, *, before: int | None = None, limit: int = 50) -> BlocksAnswer:
        """Return blocks, newest first."""
        cursor = "" if before is None else f"&before={before}"
        return await self._wire.answer(f"/v1/blocks?limit={limit}{cursor}", BlocksAnswer)

    async def block(self, which: int | str = "latest") -> BlockAnswer:
        """Return one block by height, id or `latest`."""
        return await self._wire.answer(f"/v1/blocks/{which}", BlockAnswer)

    async def transactions(self, *, before: int | None = None, limit: int = 50) -> TransactionsAnswer:
        """Return transactions, newest first."""
        cursor = "" if before is None else f"&before={before}"
        return await self._wire.answer(f"/v1/transactions?limit={limit}{cursor}", TransactionsAnswer)

    async def task(self) -> TaskState:
        """Return where the task stands.

        Raises:
            ClientError: there is no such task.
        """
        return _required(await self._fact(task_key(self._named), TaskState), f"task {self._named}")

    async def model(self, version: int | None = None) -> Model:
        """Return a version of the task's model as float32 arrays; the latest when None.

        Raises:
            UnverifiedError: what came is not what stands in the chain.
            ClientError: there is no such version.
        """
        task = await self.task()
        wanted = task.version if version is None else version
        return {name: array.copy() for name, array in (await self._model(task, wanted)).items()}

    async def rounds(self) -> AsyncGenerator[Round, None]:
        """Yield each round of the task that is open for this participant, until the task is finished.

        Waits for the next round, also while the node is being restarted; a round that has this participant's update
        already is not offered again.
        """
        participant, name = self._required_participant, self._named
        offered = 0
        while True:
            task = await self.task()
            if task.status == "finished":
                return
            current = await self._fact(round_key(name, task.round), RoundState) if task.round > offered else None
            if current is not None:
                offered = current.number
                if _is_open_for(participant, current):
                    base = await self._model(task, current.base_version)
                    yield Round(self, task, current, base)
            await self._wire.answer(
                f"/v1/tasks/{name}/rounds?limit=1&wait_after={offered}&timeout={POLL_SECONDS}", RoundsAnswer
            )

    async def evaluate(self, metrics: Mapping[str, float], *, samples: int, version: int | None = None) -> None:
        """Report figures of a model version (the latest when None) on this participant's held-out data.

        Raises:
            EvaluationRefusedError: not enrolled, no such model, or other figures have been reported before.
        """
        task = await self.task()
        report = EvaluationReport(
            self._named, task.version if version is None else version, samples, metrics_of(metrics)
        )
        try:
            await self._say("evaluation", report)
        except RefusedError as error:
            if error.code == "evaluation.duplicate" and await self._is_recorded(report):
                return
            raise EvaluationRefusedError(error.code, error.detail) from error

    async def _submit(
        self,
        current: RoundState,
        task: TaskState,
        base: Model,
        new: Arrays,
        *,
        samples: int,
        metrics: Mapping[str, float] | None,
        clip: float | None,
        noise: float | None,
    ) -> Submission:
        if noise is not None:
            new = with_noise(self._required_key, current, base, new, clip=clip, noise=noise)
            clip = None
        update = prepare_update(self._required_key, task.spec.schema, current, base, new, clip=clip)
        certificate = await upload(
            self._wire, update.payload, update.descriptor, update.chunk_hashes, report=self._report
        )
        statement = UpdateSubmission(
            task=current.task,
            round=current.number,
            base_version=current.base_version,
            samples=samples,
            saturated=update.saturated,
            metrics=metrics_of(metrics),
            availability=certificate,
        )
        payload = update.descriptor.id.hex()
        try:
            answer = await self._say("update", statement)
        except RefusedError as error:
            if error.code == "update.duplicate":  # the same words are in the round already: an earlier try got through
                return Submission(None, None, payload, update.saturated, update.norm)
            is_over = error.code in {"update.late", "update.not_active"}  # a task that was active has finished since
            refused = RoundOverError if is_over else UpdateRefusedError
            raise refused(error.code, error.detail) from error
        return Submission(answer.id, answer.height, payload, update.saturated, update.norm)

    async def _say(self, kind: str, statement: UpdateSubmission | EvaluationReport) -> SubmittedAnswer:
        return await say(self._wire, self._required_key, self._trust.chain_id, kind, statement)

    async def _is_recorded(self, report: EvaluationReport) -> bool:
        name = "" if self.participant is None else self.participant.name
        state = await self._fact(evaluation_key(report.task, report.version, name), EvaluationState)
        return state is not None and (state.samples, state.metrics) == (report.samples, report.metrics)

    async def _model(self, task: TaskState, version: int) -> Model:
        if version not in self._models:
            while len(self._models) >= _MODELS_KEPT:
                del self._models[min(self._models)]
            self._models[version] = await self._fetch_model(task, version)
        return self._models[version]

    async def _fetch_model(self, task: TaskState, version: int) -> Model:
        schema, name = task.spec.schema, task.spec.id
        state = _required(await self._fact(model_key(name, version), ModelState), f"model {version} of task {name}")
        if state.payload is None:
            return model_to_float(np.zeros(schema.size, np.int32), schema)
        path = f"/v1/tasks/{name}/models/{version}/payload"
        payload = await download(self._wire, path, state.payload, report=self._report)
        try:
            body = model_body(payload, schema, task.spec.optimiser)
            return model_to_float(model_from_bytes(body, schema), schema)
        except GridError as error:
            raise UnverifiedError(f"model {version} of task {name} does not fit its task: {error}") from error

    async def _fact(self, key: bytes, fact_type: type[FactT]) -> FactT | None:
        return await read_fact(self._wire, self._trust, key, fact_type)

    @property
    def _named(self) -> str:
        if self._task is None:
            raise ClientError("this needs a task: foedus.connect(url, task=...)")
        return self._task

    @property
    def _required_participant(self) -> Participant:
        if self.participant is None:
            raise ClientError("this needs a participant's key: foedus.connect(url, key=..., task=...)")
        return self.participant

    @property
    def _required_key(self) -> SigningKey:
        if self._key is None:
            raise ClientError("this needs a participant's key: foedus.connect(url, key=..., task=...)")
        return self._key


class Round:
    """An open round, with the model to train from."""

    def __init__(self, session: Session, task: TaskState, current: RoundState, base: Model) -> None:
        self._session = session
        self._task = task
        self._state = current
        self._base = base
        self.model: Final[Model] = {name: array.copy() for name, array in base.items()}
        """The global model that the round starts from, float32 by name; yours to change."""

    @property
    def number(self) -> int:
        """Number of the round, from 1."""
        return self._state.number

    @property
    def base_version(self) -> int:
        """Version of `model`."""
        return self._state.base_version

    @property
    def deadline_ms(self) -> int:
        """When collecting ends, in milliseconds since 1970; 0 until the first update is in."""
        return self._state.deadline_ms

    async def submit(
        self,
        new: Arrays,
        *,
        samples: int,
        metrics: Mapping[str, float] | None = None,
        clip: float | None = None,
        noise: float | None = None,
    ) -> Submission:
        """Submit a trained model; returns when the update stands in the chain.

        Args:
            new: the trained model, same names and shapes as `model`; its difference to the round's model is sent.
            samples: how many training examples are behind it.
            metrics: figures to put on record beside it.
            clip: longest L2 norm of the difference; longer ones are scaled down before they leave.
            noise: standard deviation, over `clip`, of the Gaussian noise that every coordinate gets after that
                (docs/privacy.md); none by default.

        Raises:
            RoundOverError: the round closed without it; the next one will do.
            UpdateRefusedError: the chain did not take it for another reason (`update.conflicting`, ...).
            InvalidUpdateError: names, shapes or dtypes differ, or an entry is NaN or infinite.
            NoiseError: noise without a bound, or no such noise.
            NodeUnreachableError: the node did not answer for longer than the session is patient.
        """
        return await self._session._submit(  # noqa: SLF001 - a round is a part of its session
            self._state, self._task, self._base, new, samples=samples, metrics=metrics, clip=clip, noise=noise
        )


def _is_open_for(participant: Participant, current: RoundState) -> bool:
    taken = participant.name in current.participants or participant.organisation in current.organisations
    return current.status == "open" and not taken


def _required(fact: FactT | None, what: str) -> FactT:
    if fact is None:
        raise ClientError(f"the chain has no {what}")
    return fact
