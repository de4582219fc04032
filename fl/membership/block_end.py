"""What becomes of decisions at the end of a block. One law: votes are counted before seats are changed."""

from __future__ import annotations

from fl.governance import pauses
from fl.membership import proposals, seats
from ledger.application import BlockContext, Overlay, StateReader
from ledger.receipt import Event

AT_ONCE_MS = 0
"""A deadline that has passed, whatever the time."""


def end_block(state: Overlay, context: BlockContext) -> tuple[Event, ...]:
    """Enact what is ready, end pauses, then change seats."""
    decided = proposals.end_block(state, context)
    return (*decided, *pauses.end_block(state, context), *seats.end_block(state, context))


def due_ms(state: StateReader) -> int | None:
    """Return when a block is needed for the sake of a decision alone; None when for nothing."""
    if seats.is_due(state):
        return AT_ONCE_MS
    due = [moment for moment in (proposals.due_ms(state), pauses.due_ms(state)) if moment is not None]
    return min(due, default=None)
