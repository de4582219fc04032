"""Budgets: how much a peer may cost. One law: whoever is over waits; whoever lies stays away."""

from __future__ import annotations

from enum import Enum
from typing import Final

from ledger.identity import PublicKey

READ_S: Final = 60e-6
READ_BYTE_S: Final = 5e-9
"""About what a frame costs before anybody looks into it: decryption, unmasking, a turn of the loop."""

PING_S: Final = 1e-3
"""What a heartbeat is charged: honest peers send one a second and one when their connections change."""


class Worth(Enum):
    """What a frame turned out to be, and how many times over its neighbour pays for looking into it."""

    USEFUL = 0
    """A new transaction, or words that the replica acted upon: no more than reading."""

    COUNTED = 1
    """Kept, and nothing followed from it yet."""

    KNOWN = 4
    """Late, double, too early: honest peers send such as well, now and then."""

    FALSE = 20
    """Not signed by whom it names, or by nobody here. No honest peer writes it."""

    def cost_s(self, spent_s: float) -> float:
        """Return what a frame costs whose content took `spent_s` of processor time."""
        return self.value * (spent_s + READ_S)


class TokenBucket:
    """A rate, with bursts of what `burst_s` seconds are worth."""

    __slots__ = ("_at_s", "_burst", "_level", "_rate_per_s")

    def __init__(self, rate_per_s: float, now_s: float, *, burst_s: float = 1.0) -> None:
        self._rate_per_s: Final = rate_per_s
        self._burst: Final = rate_per_s * burst_s
        self._level = self._burst
        self._at_s = now_s

    def take(self, amount: float, now_s: float) -> float:
        """Take `amount`; return for how many seconds to wait before the next, 0 within the rate."""
        self._level = min(self._burst, self._level + max(0.0, now_s - self._at_s) * self._rate_per_s) - amount
        self._at_s = max(now_s, self._at_s)
        return -self._level / self._rate_per_s if self._level < 0 else 0.0


class Penalties:
    """Peers that sent garbage: each time they stay away for twice as long."""

    __slots__ = ("_ms_max", "_ms_min", "_until_s")

    def __init__(self, ms_min: int, ms_max: int) -> None:
        self._ms_min: Final = ms_min
        self._ms_max: Final = ms_max
        self._until_s: Final[dict[PublicKey, tuple[int, float]]] = {}

    def add(self, peer: PublicKey, now_s: float) -> int:
        """Send `peer` away; return for how many milliseconds."""
        last_ms, _ = self._until_s.get(peer, (0, 0.0))
        length_ms = min(max(self._ms_min, 2 * last_ms), self._ms_max)
        self._until_s[peer] = (length_ms, now_s + length_ms / 1000)
        return length_ms

    def left_s(self, peer: PublicKey, now_s: float) -> float:
        """Return for how many more seconds `peer` stays away; 0 when it may come."""
        _, until_s = self._until_s.get(peer, (0, 0.0))
        return max(0.0, until_s - now_s)

    def forget(self, peer: PublicKey) -> None:
        """Drop what is known of a peer that left the validator set."""
        self._until_s.pop(peer, None)
