"""The session for scripts without asyncio. One law: every call is the asynchronous one, run in a thread of its own.

The thread keeps connections alive while the script trains; it ends with the `with` block.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self, TypeVar

from fl.records import Participant, TaskState
from foedus.client import opening
from foedus.client import session as asynchronous
from foedus.client.opening import Genesis
from foedus.client.progress import Report
from foedus.client.session import Model, Submission
from foedus.client.updates import Arrays
from foedus.client.wire import PATIENCE_SECONDS_DEFAULT
from ledger.identity import SigningKey
from node.api.answers import BlockAnswer, BlocksAnswer, TransactionsAnswer
from node.view import NodeStatus

ResultT = TypeVar("ResultT")


class Session:
    """Facts, models and statements of one task; use it as a context manager."""

    def __init__(self, opening: AbstractAsyncContextManager[asynchronous.Session]) -> None:
        """Prepare; `with` opens the connection."""
        self._opening = opening
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="foedus", daemon=True)
        self._inner: asynchronous.Session | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._inner = self._run(self._opening.__aenter__())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._run(self._opening.__aexit__(None, None, None))
        finally:
            self._end()

    @property
    def participant(self) -> Participant | None:
        """Who this session speaks for; None without a key."""
        return self._session.participant

    @property
    def verified(self) -> bool:
        """Whether every fact is checked against the quorum's signatures; needs the genesis document."""
        return self._session.verified

    def status(self) -> NodeStatus:
        """Return how the node is doing."""
        return self._run(self._session.status())

    def blocks(self, *, before: int | None = None, limit: int = 50) -> BlocksAnswer:
        """Return blocks, newest first."""
        return self._run(self._session.blocks(before=before, limit=limit))

    def block(self, which: int | str = "latest") -> BlockAnswer:
        """Return one block by height, id or `latest`."""
        return self._run(self._session.block(which))

    def transactions(self, *, before: int | None = None, limit: int = 50) -> TransactionsAnswer:
        """Return transactions, newest first."""
        return self._run(self._session.transactions(before=before, limit=limit))

    def task(self) -> TaskState:
        """Return where the task stands."""
        return self._run(self._session.task())

    def model(self, version: int | None = None) -> Model:
        """Return a version of the task's model as float32 arrays; the latest when None."""
        return self._run(self._session.model(version))

    def rounds(self) -> Iterator[Round]:
        """Yield each round that is open for this participant, until the task is finished."""
        rounds = self._session.rounds()
        try:
            while (current := self._run(_next(rounds))) is not None:
                yield Round(self, current)
        finally:
            if not self._loop.is_closed():
                self._run(rounds.aclose())

    def evaluate(self, metrics: Mapping[str, float], *, samples: int, version: int | None = None) -> None:
        """Report figures of a model version (the latest when None) on this participant's held-out data.

        Raises:
            EvaluationRefusedError: not enrolled, no such model, or other figures have been reported before.
        """
        self._run(self._session.evaluate(metrics, samples=samples, version=version))

    @property
    def _session(self) -> asynchronous.Session:
        assert self._inner is not None, "a session is used inside `with`"
        return self._inner

    def _run(self, work: Coroutine[object, object, ResultT]) -> ResultT:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _end(self) -> None:
        self._run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Round:
    """An open round, with the model to train from."""

    def __init__(self, session: Session, inner: asynchronous.Round) -> None:
        self._owner = session
        self._inner = inner

    @property
    def model(self) -> Model:
        """The global model that the round starts from, float32 by name; yours to change."""
        return self._inner.model

    @property
    def number(self) -> int:
        """Number of the round, from 1."""
        return self._inner.number

    @property
    def base_version(self) -> int:
        """Version of `model`."""
        return self._inner.base_version

    @property
    def deadline_ms(self) -> int:
        """When collecting ends, in milliseconds since 1970; 0 until the first update is in."""
        return self._inner.deadline_ms

    def submit(
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
            UpdateRefusedError: the chain did not take it (`update.late`, `update.conflicting`, ...).
            InvalidUpdateError: names, shapes or dtypes differ, or an entry is NaN or infinite.
            NoiseError: noise without a bound, or no such noise.
            NodeUnreachableError: the node did not answer for longer than the session is patient.
        """
        told = self._inner.submit(new, samples=samples, metrics=metrics, clip=clip, noise=noise)
        return self._owner._run(told)  # noqa: SLF001


def connect(  # noqa: PLR0913 - what a session may need to be told
    url: str | Sequence[str],
    *,
    key: SigningKey | str | Path | None = None,
    task: str | None = None,
    genesis: Genesis = None,
    timeout: float = PATIENCE_SECONDS_DEFAULT,
    passphrase: str | None = None,
    tls_ca: str | None = None,
    token: str | None = None,
    progress: bool | Report = False,
) -> Session:
    """Open a session with a node: `with foedus.connect(...) as session`.

    Args:
        url: of the node's API, such as `http://127.0.0.1:8001`; several of one institution's nodes are asked in turn
            when one does not answer.
        key: the participant's, or its file; without one the session only reads.
        task: what to take part in.
        genesis: the consortium's document, or its file: with it every fact is checked against the quorum's signatures.
            None looks for one: the file that `FOEDUS_GENESIS` names, or `genesis.json` beside the key file or one
            directory above. False trusts the node.
        timeout: seconds without any answer after which to give up.
        passphrase: of the key file; environment `FOEDUS_PASSPHRASE` when None.
        tls_ca: PEM file with the certificate of an `https` node; None for the system's authorities.
        token: of the node, where reading needs one; environment `FOEDUS_TOKEN` when None.
        progress: True draws how far transfers are, on standard error; a function is told instead, in a thread of the
            session's own.

    Raises (on `with`):
        NodeUnreachableError: the node does not answer.
        NotEnrolledError: the key belongs to no participant.
        UnverifiedError: the node follows another chain than the genesis document's.
    """
    opened = opening.connect(
        url,
        key=key,
        task=task,
        genesis=genesis,
        timeout=timeout,
        passphrase=passphrase,
        tls_ca=tls_ca,
        token=token,
        progress=progress,
    )
    return Session(opened)


async def _next(rounds: AsyncGenerator[asynchronous.Round, None]) -> asynchronous.Round | None:
    return await anext(rounds, None)
