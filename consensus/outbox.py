"""What one step leads to, in the order in which it must happen. One law: what must be persisted comes first.

To write earlier than needed is always safe, and one write costs one fsync however much it holds.
"""

from __future__ import annotations

from typing import Final

from consensus.events import (
    AppendBlock,
    Broadcast,
    CancelTimer,
    Drop,
    DropReason,
    Effect,
    Notice,
    NoticeKind,
    Persist,
    Send,
    SetTimer,
    Timer,
    TimerKind,
)
from consensus.messages import Message, encode_message
from ledger.block import CertifiedBlock
from ledger.fields import Height, View


class Outbox:
    """Collects the effects of a step and remembers which timers are armed."""

    def __init__(self) -> None:
        """Begin empty, with no timer armed."""
        self._records: list[bytes] = []
        self._height = Height(0)
        self._effects: list[Effect] = []
        self._last: AppendBlock | None = None
        self._armed: Final[dict[TimerKind, Timer]] = {}

    def take(self) -> list[Effect]:
        """Return what was collected: what to persist, the rest in order, at last a block to append."""
        first: list[Effect] = [Persist(self._height, tuple(self._records))] if self._records else []
        last: list[Effect] = [self._last] if self._last else []
        effects = [*first, *self._effects, *last]
        self._records, self._effects, self._last = [], [], None
        return effects

    def persist(self, height: Height, record: bytes) -> None:
        """Have a safety record written before anything leaves."""
        self._height = height
        self._records.append(record)

    def add(self, effect: Effect) -> None:
        """Have an effect carried out after those before it."""
        self._effects.append(effect)

    def broadcast(self, message: Message) -> None:
        """Send to all others."""
        self.add(Broadcast(encode_message(message)))

    def send(self, validator: int, message: Message) -> None:
        """Send to one."""
        self.add(Send(validator, encode_message(message)))

    def append(self, certified: CertifiedBlock) -> None:
        """Make a block final; the last thing of a step."""
        assert self._last is None, "a height has one block"
        self._last = AppendBlock(certified)

    def drop(self, message: Message, sender: int | None, reason: DropReason, detail: str = "") -> None:
        """Tell that a message changed nothing."""
        self.add(Drop(type(message).__name__, sender, reason, detail))

    def notice(self, kind: NoticeKind, height: Height, view: View, detail: str = "") -> None:
        """Tell what an operator may want to know."""
        self.add(Notice(kind, height, view, detail))

    # Timers

    def is_armed(self, kind: TimerKind) -> bool:
        """Tell whether the timer of this kind runs."""
        return kind in self._armed

    def arm(self, kind: TimerKind, height: Height, view: View, delay_ms: int) -> None:
        """Start the timer of this kind anew."""
        timer = Timer(kind, height, view)
        self._armed[kind] = timer
        self.add(SetTimer(timer, delay_ms))

    def cancel(self, kind: TimerKind) -> None:
        """Stop the timer of this kind, if it runs."""
        if self._armed.pop(kind, None) is not None:
            self.add(CancelTimer(kind))

    def has_expired(self, timer: Timer) -> bool:
        """Tell whether `timer` is the one that runs; it does not any more."""
        if self._armed.get(timer.kind) != timer:
            return False
        del self._armed[timer.kind]
        return True
