"""What becomes of membership at the end of a block. One law: votes are counted before seats are changed."""

from __future__ import annotations

from fl.membership import proposals, seats
from ledger.application import BlockContext, Overlay, StateReader
from ledger.receipt import Event

AT_ONCE_MS = 0
"""A deadline that has passed, whatever the time."""


def end_block(state: Overlay, context: BlockContext) -> tuple[Event, ...]:
    """Enact what is ready, then change seats."""
    return (*proposals.end_block(state, context), *seats.end_block(state, context))


def due_ms(state: StateReader) -> int | None:
    """Return when a block is needed for the sake of membership alone; None when for nothing."""
    return AT_ONCE_MS if seats.is_due(state) else proposals.due_ms(state)
