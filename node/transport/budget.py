"""Budgets: how much a peer may cost. One law: whoever is over waits; whoever lies stays away."""

from __future__ import annotations

from collections.abc import Iterable
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


class Accounts:
    """What peers' frames have cost: an account for each neighbour, and one for each that it says to pass frames on for.

    A neighbour pays itself for its own words. For what it passes on it pays the reading alone: an honest one cannot
    know what others will make of it. The rest is on the account of the pair, so that neither a liar's frames that an
    honest neighbour passed on, nor a liar that invents an origin, use up what honest peers have.
    """

    __slots__ = ("_of", "_rate")

    def __init__(self, rate: float) -> None:
        self._rate: Final = rate
        self._of: Final[dict[bytes, TokenBucket]] = {}

    def of(self, account: bytes, now_s: float) -> TokenBucket:
        """Return the account of a neighbour, or of a neighbour and an origin together."""
        return self._of.setdefault(account, TokenBucket(self._rate, now_s))

    def charge(self, account: bytes, spent_s: float, worth: Worth, now_s: float) -> None:
        """Put processor time that a frame took on an account, the more of it the less it was worth."""
        if worth is not Worth.USEFUL:
            self.of(account, now_s).take(worth.cost_s(spent_s), now_s)

    def bears(self, account: bytes, now_s: float) -> bool:
        """Tell whether an account is not overdrawn."""
        return self.of(account, now_s).take(0, now_s) == 0

    def keep(self, members: Iterable[bytes]) -> None:
        """Forget the accounts of those who are no members."""
        known = set(members)
        for account in [one for one in self._of if not {one[:32], one[-32:]} <= known]:
            del self._of[account]


class Penalties:
    """Peers that sent garbage: each time they stay away for twice as long; good behaviour halves that again."""

    __slots__ = ("_ms_max", "_ms_min", "_until_s")

    def __init__(self, ms_min: int, ms_max: int) -> None:
        self._ms_min: Final = ms_min
        self._ms_max: Final = ms_max
        self._until_s: Final[dict[PublicKey, tuple[int, float]]] = {}

    def add(self, peer: PublicKey, now_s: float) -> int:
        """Send `peer` away; return for how many milliseconds."""
        last_ms, until_s = self._until_s.get(peer, (0, 0.0))
        spells_behaved = int(max(0.0, now_s - until_s) * 1000) // self._ms_max
        length_ms = min(max(self._ms_min, 2 * last_ms >> min(spells_behaved, 32)), self._ms_max)
        self._until_s[peer] = (length_ms, now_s + length_ms / 1000)
        return length_ms

    def left_s(self, peer: PublicKey, now_s: float) -> float:
        """Return for how many more seconds `peer` stays away; 0 when it may come."""
        _, until_s = self._until_s.get(peer, (0, 0.0))
        return max(0.0, until_s - now_s)

    def forget(self, peer: PublicKey) -> None:
        """Drop what is known of a peer that left the validator set."""
        self._until_s.pop(peer, None)
