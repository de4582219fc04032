"""Whose clock is off. One law: the machine whose clock most others contradict is wrong, whoever it is.

Every validator says the time in its heartbeats. A liar can say any time, so no single one counts: what most say does.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_high, median_low
from typing import Final

from node.reason import Reason, listed
from node.view import PeerLink

ALARM_SHARE: Final = 2
"""A clock is called off at half of what blocks tolerate: early enough to set it before votes are lost."""


def own_offset_ms(peers: Sequence[PeerLink]) -> float | None:
    """Return how far this machine's clock is ahead of most; None while less than most of all clocks were heard.

    It is the median over all clocks, this one included; of two in the middle the one that is nearer to this one.
    """
    offsets = sorted([0.0, *(peer.clock_offset_ms for peer in peers if peer.clock_offset_ms is not None)])
    if 2 * len(offsets) <= 1 + len(peers):
        return None
    return -min(median_low(offsets), median_high(offsets), key=abs)


def clock_reasons(peers: Sequence[PeerLink], drift_ms_max: int) -> list[Reason]:
    """Name the clocks that are off by more than half of what a block's time may be.

    Args:
        peers: with what they say of their clocks.
        drift_ms_max: how far a block's time may be from a voter's clock.
    """
    own, limit = own_offset_ms(peers), drift_ms_max / ALARM_SHARE
    if own is None:
        return []
    if abs(own) > limit:
        stops = abs(own) > drift_ms_max
        detail = f"this machine's clock is {_off(own)} most others', {drift_ms_max / 1000:g} s are tolerated"
        remedy = "set this machine's clock (NTP); " + (
            "until then the node votes for no new block" if stops else "farther off, the node votes for no block"
        )
        return [
            Reason(
                code="clock.own",
                stops="node" if stops else "nothing",
                detail=detail,
                remedy=remedy,
                milliseconds=own,
            )
        ]
    off = [(peer.name, peer.clock_offset_ms + own) for peer in peers if peer.clock_offset_ms is not None]
    return [
        Reason(
            code="clock.peer",
            stops="nothing",
            detail=f"the clock of {name} is {_off(offset)} most others', {drift_ms_max / 1000:g} s are tolerated",
            remedy=f"tell {listed((name,))}'s operator to set the clock (NTP)",
            names=(name,),
            milliseconds=offset,
        )
        for name, offset in off
        if abs(offset) > limit
    ]


def _off(offset_ms: float) -> str:
    return f"{abs(offset_ms) / 1000:.1f} s {'ahead of' if offset_ms > 0 else 'behind'}"
