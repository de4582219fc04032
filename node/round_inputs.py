"""A closed round's inputs, from disk to memory. One law: a payload has exactly the bytes that its schema says."""

from __future__ import annotations

from collections.abc import Callable

from fl.results import AggregationJob, InputError, RoundInputs
from ledger.payload import SALT_BYTES, PayloadDescriptor

ReadInto = Callable[[PayloadDescriptor, int, memoryview], None]
"""Fills memory with the bytes of a payload from an offset on; blocks."""


def read_inputs(job: AggregationJob, used: RoundInputs | None, read_into: ReadInto) -> RoundInputs:
    """Return a job's inputs; blocks, for worker threads.

    Args:
        job: what will be computed.
        used: of an earlier job: its memory serves again, and a base model that is already in it is not read.
        read_into: reads payloads that are here.

    Raises:
        InputError: a payload has another length than the task's schema says.
        PayloadError: it is not here or damaged.
    """
    inputs = RoundInputs(job, used)
    read_base(inputs, read_into)
    for index, update in enumerate(job.updates):
        row = inputs.row(index)
        require_size(update.payload, SALT_BYTES + len(row))
        read_into(update.payload, SALT_BYTES, row)
    return inputs


def read_base(inputs: RoundInputs, read_into: ReadInto) -> None:
    """Read the base model, unless it is in memory already; errors as `read_inputs`."""
    base = inputs.job.base.payload
    if base is not None and base != inputs.holds:
        inputs.holds = None
        require_size(base, len(inputs.base))
        read_into(base, 0, inputs.base)


def require_size(payload: PayloadDescriptor, needed: int) -> None:
    """Check a payload's length.

    Raises:
        InputError: it has another one.
    """
    if payload.size != needed:
        raise InputError(f"payload {payload.id.hex()}: {needed} bytes are needed, it has {payload.size}")
