"""Whom to ask for a payload. One law: a source that fails waits, a source that lies is never asked again.

Known holders come first (who announced or acknowledged it), among them those with a direct link, among those the one
with the fewest requests under way. Others are asked only when no known holder can be.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Final

from node.transport import Links, PeerStatus

RETRY_S_MIN: Final = 0.25
RETRY_S_MAX: Final = 10.0


class Sources:
    """The possible sources of one payload, by validator name."""

    def __init__(self, transport: Links) -> None:
        self._transport: Final = transport
        self._holders: Final[set[str]] = set()
        self._liars: Final[set[str]] = set()
        self._failures: Final[Counter[str]] = Counter()
        self._again_s: Final[dict[str, float]] = {}
        self._under_way: Final[Counter[str]] = Counter()

    def note_holder(self, name: str) -> None:
        """Take that a validator says it has the payload; it may be asked at once."""
        self._holders.add(name)
        self._again_s.pop(name, None)

    def pick(self, now_s: float) -> PeerStatus | None:
        """Return whom to ask now, or None."""
        able = [peer for peer in self._askable() if self._again_s.get(peer.name, 0.0) <= now_s]
        return min(able, key=self._rank, default=None)

    def wait_s(self, now_s: float) -> float:
        """Return for how long nobody can be asked."""
        waits = [self._again_s.get(peer.name, 0.0) - now_s for peer in self._askable()]
        return max(0.0, min(waits, default=RETRY_S_MAX))

    def asked(self, name: str) -> None:
        """Take that a request to a source begins."""
        self._under_way[name] += 1

    def answered(self, name: str) -> None:
        """Take that a source gave what it was asked for: it is a holder."""
        self._under_way[name] -= 1
        self._holders.add(name)
        self._failures.pop(name, None)

    def failed(self, name: str, now_s: float) -> None:
        """Take that a request to a source failed: it is left alone, longer each time."""
        self._under_way[name] -= 1
        self._again_s[name] = now_s + min(RETRY_S_MIN * 2 ** self._failures[name], RETRY_S_MAX)
        self._failures[name] += 1

    def lied(self, name: str) -> None:
        """Take that a source gave something else than it was asked for."""
        self._under_way[name] -= 1
        self._liars.add(name)

    def _askable(self) -> list[PeerStatus]:
        return [
            peer
            for peer in self._transport.peers()
            if not peer.is_guest and peer.name not in self._liars and self._transport.is_dialable(peer.index)
        ]

    def _rank(self, peer: PeerStatus) -> tuple[bool, bool, int, float]:
        tie = random.random()  # noqa: S311 - spreads load
        return (peer.name not in self._holders, not peer.connected, self._under_way[peer.name], tie)
