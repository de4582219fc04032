"""How much payloads take of what is set aside for them. One law: what is reserved counts as if it were there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ledger.payload import PayloadDescriptor
from node.payloads.errors import QuotaError
from node.payloads.files import Card
from node.payloads.sealing import HEAD_BYTES

OVERHEAD_BYTES: Final = 16 << 10
"""What a payload counts beside its sealed chunks, so that quotas also bound how many there are."""


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """How full a store is."""

    stored: int
    """Payloads that are whole."""

    staged: int
    used_bytes: int
    """Stored and reserved."""

    bytes_max: int


def needed_bytes(payload: PayloadDescriptor) -> int:
    """Return what a payload counts."""
    return payload.size + payload.chunk_count * HEAD_BYTES + OVERHEAD_BYTES


def used_bytes(cards: Iterable[Card]) -> int:
    """Return what payloads count together."""
    return sum(needed_bytes(card.payload) for card in cards)


def require_space(whose: str, needed: int, bytes_max: int, cards: Iterable[Card]) -> None:
    """Check that there is room beside other payloads.

    Raises:
        QuotaError: there is not.
    """
    free = bytes_max - used_bytes(cards)
    if needed > free:
        raise QuotaError(whose=whose, needed=needed, free=free)
