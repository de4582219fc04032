"""What the driver needs of the world. One law: a message may be lost, a safety record may not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from ledger.fields import Height
from node.sync.checking import CheckedBlock


class Network(Protocol):
    """Where consensus messages go and blocks come from."""

    def broadcast(self, data: bytes) -> None:
        """Send a consensus message to all."""
        ...

    def send(self, validator: int, data: bytes) -> None:
        """Send a consensus message to one."""
        ...

    def fetch_blocks(
        self, first: Height, last: Height, validators: Sequence[int]
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[CheckedBlock]]]:
        """Give certified blocks from `first` on in parts, ascending; `NobodyHasItError` where nobody has more."""
        ...

    def blame(self, validator: int, reason: str) -> None:
        """Take blocks from this validator last for a while: it gave a false one."""
        ...

    def missing(self, height: Height, gone: int) -> None:
        """Take note that nobody gave the block at a height, and that so many say that they have pruned it."""
        ...


class SafetyStore(Protocol):
    """Where safety records become durable."""

    def persist_safety(self, height: Height, records: Sequence[bytes]) -> None:
        """Return when the records are on the disk."""
        ...
