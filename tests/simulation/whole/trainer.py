"""A participant beside a node. One law: what it contributes follows from its name and the round alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from fl.grid import update_to_bytes
from fl.records import EvaluationReport, RoundState, UpdateSubmission
from fl.state import present, round_of, task_of
from ledger.application import RefusalError
from ledger.certificate import CertificateError
from ledger.codec import Record, encode
from ledger.digest import digest
from ledger.execution import next_nonce
from ledger.identity import SigningKey
from ledger.state_map import StateMap
from ledger.transaction import sign_transaction
from node.mempool import MempoolError
from node.payloads.errors import PayloadError

if TYPE_CHECKING:
    from tests.simulation.whole.site import Process

TASK: Final = "tiny"
SIZE: Final = 6
PATIENCE_S: Final = 4.0
LOOK_S: Final = 0.7
TRAINING_S: Final = 0.6


async def train(process: Process, key: SigningKey) -> None:
    """Contribute to every open round, and begin again when something does not come to an end."""
    name = process.site.name
    while True:
        current = latest_round(process.core.chain.state)
        if current is not None and current.status == "open" and name not in current.participants:
            try:
                await asyncio.sleep(TRAINING_S)
                async with asyncio.timeout(PATIENCE_S):
                    await _contribute(process, key, current)
            except (TimeoutError, PayloadError):
                continue
            except CertificateError:
                await asyncio.sleep(LOOK_S)  # its node is no validator any more: nobody spreads what it trains
        await _a_block(process)


def evaluate(process: Process, key: SigningKey, samples: int) -> bytes | None:
    """Submit a small statement; return the transaction when it waits now."""
    return say(process, key, "evaluation", EvaluationReport(TASK, 0, samples, ()))


def say(process: Process, key: SigningKey, kind: str, payload: Record) -> bytes | None:
    """Submit what a participant says through its node."""
    core = process.core
    nonce = core.mempool.next_free_nonce(core.chain.state, key.public_key)
    raw = encode(sign_transaction(key, core.chain.chain_id, kind, nonce, payload))
    try:
        core.submit(raw)
    except (MempoolError, RefusalError):
        return None
    return raw


def latest_round(state: StateMap) -> RoundState | None:
    """Return the task's latest round while the task is active."""
    task = present(task_of(state, TASK), "the task")
    return round_of(state, TASK, task.round) if task.status == "active" else None


def payload_of(name: str, number: int) -> bytes:
    """Return salt and words of a participant's update to a round."""
    words = _words(name, number)
    return digest("simulated-salt", name.encode(), bytes([number])) + update_to_bytes(words)


def _words(name: str, number: int) -> NDArray[np.int16]:
    seed = digest("simulated-words", name.encode(), bytes([number]))
    return np.frombuffer(seed, "<i2", SIZE).astype(np.int16) >> 3  # within the grid


def waiting(process: Process, key: SigningKey) -> Iterator[int]:
    """Yield the nonces of a participant that are not used yet but taken."""
    core = process.core
    used = next_nonce(core.chain.state, key.public_key)
    yield from range(used, core.mempool.next_free_nonce(core.chain.state, key.public_key))


async def _contribute(process: Process, key: SigningKey, current: RoundState) -> None:
    name = process.site.name
    descriptor = await process.payload_store.add(payload_of(name, current.number), owner=name)
    certificate = await process.core.exchange.publish(descriptor)
    update = UpdateSubmission(TASK, current.number, current.base_version, 10, 0, (), certificate)
    if not list(waiting(process, key)):
        say(process, key, "update", update)
    await _a_block(process)


async def _a_block(process: Process) -> None:
    try:
        async with asyncio.timeout(LOOK_S):
            await process.block.wait()
    except TimeoutError:
        return
