"""Saying again what still waits. One law: a lost frame or a peer that was away stalls nothing, at a bounded price.

Waiting transactions go to one peer after the other, not to all: if every node told every other, the repetitions alone
would keep sixteen validators from agreeing. Whoever is to propose hears the first of them each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from node.mempool import Mempool
from node.results import ResultBook
from node.transport import Links
from node.wire import Channel

PAUSE_SECONDS: Final = 0.5
TRANSACTIONS_MAX: Final = 256
"""Waiting transactions that one peer is told at a time."""

TO_PRIMARY_MAX: Final = 32


class Repetition:
    """Repeats until cancelled."""

    def __init__(self, transport: Links, mempool: Mempool, results: ResultBook, primary: Callable[[], int]) -> None:
        """Know what may wait, and who is to propose now."""
        self._transport = transport
        self._mempool = mempool
        self._results = results
        self._primary = primary
        self._waiting_before: frozenset[bytes] = frozenset()
        self._turn = 0

    async def run(self) -> None:
        """Say what has waited for a while, again and again."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            self.say_again()

    def say_again(self) -> None:
        """Say own results to all, and to the next peer and the primary what waited the last time already."""
        self._results.resend()
        waiting = self._mempool.raws(TRANSACTIONS_MAX)
        self._say([raw for raw in waiting if raw in self._waiting_before])
        self._waiting_before = frozenset(waiting)

    def tell(self, peer: int) -> None:
        """Tell one peer what waits, as when it has just come."""
        self._send(peer, self._mempool.raws(TRANSACTIONS_MAX))

    def _say(self, raws: list[bytes]) -> None:
        peers = [peer.index for peer in self._transport.peers() if peer.connected and not peer.is_guest]
        if not raws or not peers:
            return
        self._turn += 1
        told, primary = peers[self._turn % len(peers)], self._primary()
        self._send(told, raws)
        if primary != told and primary in peers:
            self._send(primary, raws[:TO_PRIMARY_MAX])

    def _send(self, peer: int, raws: list[bytes]) -> None:
        for raw in raws:
            self._transport.send(peer, Channel.TRANSACTION, raw)
