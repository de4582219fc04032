"""An event loop on virtual time. One law: when nothing is ready, it is at once the time of what is due next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from contextvars import Context, ContextVar
from typing import Any, Protocol, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
THREAD_S = 0.002
"""How long work in a thread seems to take."""


class Owner(Protocol):
    """Whoever tasks belong to, and with whom they end."""

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Take a task that was made on this owner's behalf."""


OWNER: ContextVar[Owner | None] = ContextVar("owner", default=None)
"""On whose behalf code runs now; tasks and callbacks inherit it."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs coroutines without waiting; threads are calls that take virtual time."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self
        self._now_s = 0.0
        self.failure: BaseException | None = None
        """The first error that nobody caught."""

        self.set_task_factory(_make_task)
        self.set_exception_handler(self._note_failure)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now_s

    def select(self, timeout: float | None) -> tuple[()]:
        """Let time pass, as the selector of a real loop would."""
        if timeout is None:
            raise RuntimeError("nothing is due and nothing is ready: the simulation hangs")
        self._now_s += timeout
        return ()

    def run_in_executor(
        self,
        executor: Executor | None,  # noqa: ARG002 - there are no threads
        func: Callable[[*Ts], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        """Call `func` now and tell its result a little later."""
        future: asyncio.Future[T] = self.create_future()
        work: asyncio.Future[T] = self.create_future()
        try:
            work.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits the future
            work.set_exception(error)
            work.exception()  # perhaps nobody awaits it any more

        def tell() -> None:
            if future.done():
                return
            error = work.exception()
            if error is None:
                future.set_result(work.result())
            else:
                future.set_exception(error)

        self.call_later(THREAD_S, tell)
        return future

    def _process_events(self, _: object) -> None:
        """Do nothing: there are no sockets."""

    def _write_to_self(self) -> None:
        """Do nothing: there are no other threads."""

    def _note_failure(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseExceptionGroup):
            error = error.split(PowerCutError)[1]
        if self.failure is None and isinstance(error, BaseException) and not isinstance(error, PowerCutError):
            self.failure = error


class PowerCutError(BaseException):
    """The process is gone; nothing of it may handle this."""


def _make_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
    context: Context | None = None,
) -> asyncio.Task[T]:
    task: asyncio.Task[T] = asyncio.Task(coroutine, loop=loop, context=context)
    owner = OWNER.get()
    if owner is not None:
        owner.adopt(task)
    return task
