"""Targets: what decoded words do to the machines behind the decoders. Whatever comes, they answer and go on."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np

from consensus import MessageReceived, Replica, WorkArrived
from fl.application import FederatedLearning
from fl.grid import GridError, model_from_bytes, update_from_bytes
from ledger.application import BlockContext, RefusalError
from ledger.codec import decode, encode
from ledger.execution import BlockBuilder, InvalidTransactionError, next_nonce
from ledger.fields import Height
from ledger.payload import CHUNK_BYTES, SALT_BYTES, describe
from ledger.receipt import Receipt
from ledger.reigns import validators_of
from ledger.transaction import TRANSACTION_BYTES_MAX, Transaction
from node.mempool import Mempool, MempoolError, MempoolLimits
from node.payloads.content import is_on_grid, verdict
from tests.fuzz import seeds
from tests.fuzz.target import Target
from tests.recorded import NAMES, key_of

KINDS: Final = ("update", "aggregate", "evaluation", "task.propose", "task.approve", "nothing")
STEPS_MAX: Final = 2_000
"""Messages that one replica takes before a fresh one is made, so that a finding depends on few inputs."""


class _Seat:
    """A replica that lives for many inputs."""

    def __init__(self) -> None:
        self.steps = STEPS_MAX
        self.replica: Replica | None = None

    def take(self, data: bytes) -> None:
        if self.replica is None or self.steps >= STEPS_MAX:
            self.replica, self.steps = seeds.council().replica(0), 0
            self.replica.step(WorkArrived())
        self.steps += 1
        self.replica.step(MessageReceived(data))


_seat: Final = _Seat()


def step(data: bytes) -> None:
    """A replica takes any bytes as a message, and neither falls nor grows."""
    _seat.take(data)


def execute(data: bytes) -> None:
    """Whatever a registered member says gets a receipt that is canonical; so does what it says as a validator."""
    recorded, builder = seeds.history(), _builder()
    kind, payload = KINDS[data[0] % len(KINDS)] if data else KINDS[0], data[1:]
    key = key_of(NAMES[0], "validator" if kind == "aggregate" else "participant")
    nonce = next_nonce(recorded.state, key.public_key)
    unsigned = Transaction(kind, key.public_key, nonce, payload, key.sign("none", recorded.document.chain_id, b""))
    try:
        receipt = builder.add(encode(unsigned))
    except InvalidTransactionError:
        if len(payload) < TRANSACTION_BYTES_MAX - 200:
            raise
        return
    assert decode(encode(receipt), Receipt, bytes_max=1 << 20) == receipt
    execution = builder.finish()
    assert execution.header.state_root == execution.state.root


def _builder() -> BlockBuilder:
    """Return a builder on the history that takes signatures for verified, so that content is what is tried."""
    recorded = seeds.history()
    last = recorded.blocks[-1].block
    context = BlockContext(
        recorded.document.chain_id,
        Height(last.height + 1),
        last.header.time_ms + 1,
        last.id,
        validators_of(recorded.state),
        0,
    )
    return BlockBuilder(FederatedLearning(), recorded.state, context, is_verified=lambda _: True)


@cache
def _pool() -> Mempool:
    limits = MempoolLimits(transactions_max=64, bytes_max=1 << 20, transactions_per_sender_max=16)
    return Mempool(FederatedLearning(), seeds.history().document.chain_id, limits)


def queue(data: bytes) -> None:
    """The mempool takes a transaction, or says why not, and stays within its bounds."""
    pool = _pool()
    try:
        pool.add(data, seeds.history().state)
    except (MempoolError, RefusalError):
        return
    assert len(pool) <= 64
    assert pool.size_bytes <= 1 << 20


def chunk(data: bytes) -> None:
    """Any bytes are a payload's chunk with a verdict; those of the right length are words, all others an error."""
    payload = data.ljust(SALT_BYTES, b"\0")[:CHUNK_BYTES]
    said = verdict(describe(payload), [is_on_grid(0, payload)])
    assert said in {"ok", "malformed", "out_of_range"}
    schema = seeds.history().document.learning.tasks[0].schema
    body = payload[SALT_BYTES:]
    for reader in (update_from_bytes, model_from_bytes):
        try:
            words = reader(body, schema)
        except GridError:
            continue
        assert words.dtype in {np.dtype(np.int16), np.dtype(np.int32)}


def _kinds_said() -> list[bytes]:
    said = [bytes([place]) + payload for place, kind in enumerate(KINDS) for payload in seeds.payloads(kind)]
    return [*said, b"\x05" + b"\xc0"]


def _chunks() -> list[bytes]:
    return list(seeds.history().payloads.values())


MACHINES: Final[tuple[Target, ...]] = (
    Target("replica", step, seeds.encoded_messages),
    Target("execution", execute, _kinds_said, is_packed=False),
    Target("mempool", queue, seeds.raws),
    Target("chunk", chunk, _chunks, is_packed=False),
)
