"""Transactions that proposers pass over (rule R10). One law: whoever may have a good reason is not accused.

A validator that wants to keep somebody's transactions off the chain proposes blocks without them. This node notices
what it has held for long enough that everybody must have heard of it, what could have stood in a block, and what the
block left out all the same. Once one block has passed a transaction over, the next proposal that does so too is not
waited for: consensus treats it as if the primary's time were over.

Nothing that others verify depends on it, so it is no agreed parameter; a node that is wrong about it costs a view at
the most, since a block with a quorum is decided without its vote.

Good reasons, each of which acquits the block:

* The transaction cannot be executed now: its nonce is not its sender's next, or the application would not admit it.
* It has not waited here for `PATIENCE_SECONDS`. In this time it was broadcast, told to peers that came later, and
  repeated to whoever was to propose (`node.repetition`): what only this node held has become what all hold.
* It is not among the first ones, which are repeated first.
* The block holds another transaction of its sender, who may have given different ones to different nodes.
* The block has no room for it, counting the places that round results may need.
* The proposer may have run out of time: senders take turns, so a long block in which nobody's turn came twice proves
  nothing about who was still to come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Final

from ledger.application import Application, RefusalError, StateReader
from ledger.block import Block
from ledger.codec import CodecError
from ledger.digest import Digest
from ledger.parameters import ConsensusParameters
from ledger.transaction import decode_transaction, transaction_id
from node.mempool import Mempool
from node.reason import Reason
from node.repetition import PAUSE_SECONDS, TO_PRIMARY_MAX

BLOCKS_MAX: Final = 1
"""So many blocks may pass a transaction over before the next proposal that does so is not waited for."""

SHORT_BLOCK_MAX: Final = 16
"""A proposer has time for so many transactions, however slow its machine."""

CLAIMS_ROOM: Final = 4
"""Places that round results may take."""

LOOKS_EVERY_SECONDS: Final = 0.1

PATIENCE_SECONDS: Final = 2 * PAUSE_SECONDS
"""How long a transaction must have waited here before a block can pass it over."""


REMEMBERED_MS: Final = 600_000
"""How long a proposal that was turned down is a reason to look at its proposer."""


@dataclass(frozen=True, slots=True)
class TurnedDown:
    """A proposal that this node did not wait for."""

    time_ms: int
    height: int
    view: int
    primary: str
    """Name of the validator that proposed."""

    transaction: str
    """Which one was passed over, and for how long."""


class Overlooked:
    """What waits here and was left out, of the first waiting transaction of each of a few senders."""

    def __init__(self, mempool: Mempool, application: Application, *, monotonic_s: Callable[[], float]) -> None:
        """Watch a pool.

        Args:
            mempool: holds what waits.
            application: tells what may wait at all.
            monotonic_s: measures how long something has waited.
        """
        self._mempool: Final = mempool
        self._application: Final = application
        self._monotonic_s: Final = monotonic_s
        self._looked_s = -inf
        self._since_s: dict[Digest, float] = {}
        self._passed_over: dict[Digest, int] = {}

    def look(self, state: StateReader) -> None:
        """Note what waits and forget what does not any more; call often; in a busy pool it looks now and then only.

        At most `TO_PRIMARY_MAX` transactions are known at a time.
        """
        now = self._monotonic_s()
        is_busy = (
            len(self._mempool) > TO_PRIMARY_MAX
        )  # then there is another call soon; in a quiet pool there may be none
        if is_busy and now < self._looked_s + LOOKS_EVERY_SECONDS:
            return
        self._looked_s = now
        waiting = [transaction_id(raw) for raw in self._mempool.heads(state, TO_PRIMARY_MAX)]
        self._since_s = {identity: self._since_s.get(identity, now) for identity in waiting}
        self._passed_over = {key: count for key, count in self._passed_over.items() if key in self._since_s}

    def take_block(self, block: Block, state: StateReader, parameters: ConsensusParameters) -> None:
        """Count what a final block has left out.

        Args:
            block: has become final.
            state: before the block.
            parameters: in force at its height.
        """
        for identity in self._left_out(block, state, parameters):
            self._passed_over[identity] = self._passed_over.get(identity, 0) + 1

    def why_not(self, block: Block, state: StateReader, parameters: ConsensusParameters) -> str:
        """Return which transaction a proposal passes over as others did before, or ""; arguments as `take_block`."""
        for identity in self._left_out(block, state, parameters):
            blocks = self._passed_over.get(identity, 0)
            if blocks >= BLOCKS_MAX:
                waited_s = self._monotonic_s() - self._since_s[identity]
                return f"transaction {identity.hex()} has waited for {waited_s:.1f} s, passed over by {blocks} blocks"
        return ""

    def _left_out(self, block: Block, state: StateReader, parameters: ConsensusParameters) -> list[Digest]:
        old = self._monotonic_s() - PATIENCE_SECONDS
        waiting = [identity for identity, since in self._since_s.items() if since <= old]
        if not waiting:
            return []
        senders = _senders(block)
        if len(block.transactions) > SHORT_BLOCK_MAX and max(senders.values()) == 1:
            return []
        if len(block.transactions) + CLAIMS_ROOM >= parameters.block_transactions_max:
            return []
        room = parameters.block_bytes_max - sum(map(len, block.transactions))
        return [identity for identity in waiting if self._could_stand(identity, room, senders, state)]

    def _could_stand(self, identity: Digest, room: int, senders: Counter[bytes], state: StateReader) -> bool:
        raw = self._mempool.get(identity)
        if raw is None or len(raw) > room:
            return False
        transaction = decode_transaction(raw)
        if transaction.sender in senders:
            return False
        try:
            self._application.admit(state, transaction)
        except RefusalError:
            return False
        return True


def passed_over(turned_down: TurnedDown | None, now_ms: int) -> Iterator[Reason]:
    """Say who kept transactions off the chain not long ago."""
    if turned_down is None or now_ms - turned_down.time_ms > REMEMBERED_MS:
        return
    one = turned_down
    yield Reason(
        code="proposal.censoring",
        stops="nothing",
        detail=f"{one.primary} proposed height {one.height} in view {one.view} without a transaction that all must "
        f"have had, and lost its turn: {one.transaction}",
        remedy=f"ask {one.primary}'s operator: the node censors, or does not receive transactions",
        names=(one.primary,),
        height=one.height,
        view=one.view,
    )


def _senders(block: Block) -> Counter[bytes]:
    senders: Counter[bytes] = Counter()
    for raw in block.transactions:
        try:
            senders[decode_transaction(raw).sender] += 1
        except CodecError:
            continue
    return senders
