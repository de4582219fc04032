"""One participant of `benchmarks.round`, as a process. One law: it trains nothing; the difference is made beforehand.

Speaks JSON, one object a line. `{"ready": ROUND, ...}` once the round's model is here and a trained model is made;
then it waits for a line and submits; `{"submitted": ROUND, "spans": ..., ...}` once the update stands in the chain.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, TypeVar

import numpy as np

import foedus.client.session as session_room
import foedus.client.transfers as transfers_room
from foedus.client.opening import connect
from foedus.client.session import Model

P = ParamSpec("P")
T = TypeVar("T")

NICENESS: Final = 5
SCALE: Final = np.float32(0.01)
spans: dict[str, tuple[float, float]] = {}


def tell(**said: object) -> None:
    """Say one line."""
    print(json.dumps(said), flush=True)


def timed(name: str, work: Callable[P, T]) -> Callable[P, T]:
    """Return `work` with a span around it."""

    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        began = time.time()
        try:
            return work(*args, **kwargs)
        finally:
            spans[name] = (began, time.time())

    return run


def timed_task(name: str, work: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """As `timed`, for a coroutine function."""

    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        began = time.time()
        try:
            return await work(*args, **kwargs)
        finally:
            spans[name] = (began, time.time())

    return run


def trained(model: Model, seed: int) -> Model:
    """Return a model that differs from `model` by noise."""
    generator = np.random.default_rng(seed)
    return {
        name: array + SCALE * generator.standard_normal(array.shape, dtype=np.float32) for name, array in model.items()
    }


async def take_part(options: argparse.Namespace) -> None:
    """Submit to every round until standard input ends."""
    async with connect(options.url, key=options.key, task=options.task, genesis=options.genesis) as session:
        async for current in session.rounds():
            new = trained(current.model, options.seed + current.number)
            tell(ready=current.number, at=time.time())
            if not await asyncio.to_thread(sys.stdin.readline):
                return
            spans.clear()
            began = time.time()
            submission = await current.submit(new, samples=100)
            tell(submitted=current.number, began=began, ended=time.time(), spans=spans, saturated=submission.saturated)


def main() -> None:
    """Read the options and take part; a participant is a machine of its own, so it gives way to the nodes."""
    os.nice(NICENESS)
    parser = argparse.ArgumentParser()
    for name in ("url", "key", "task", "genesis"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--seed", type=int, default=0)
    session_room.prepare_update = timed("prepare", session_room.prepare_update)
    session_room.upload = timed_task("upload", session_room.upload)
    transfers_room._send_missing = timed_task("send", transfers_room._send_missing)  # noqa: SLF001 - a span in it
    asyncio.run(take_part(parser.parse_args()))


if __name__ == "__main__":
    main()
