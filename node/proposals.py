"""What could stand in the next block, and what may. One law: no vote for a result that was not computed here.

Gathers the mempool's transactions, the results that a quorum agrees on, and deadlines; builds blocks from them and
checks those that others build.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from time import perf_counter
from typing import Final

from fl.application import AGGREGATE
from fl.governance.state import paused_until_ms
from fl.records import AggregateClaim
from fl.results import claimed_results, closed_jobs
from ledger.application import Application
from ledger.block import Block, CertifiedBlock
from ledger.codec import encode
from ledger.digest import Digest
from ledger.execution import Execution, InvalidBlockError, next_nonce
from ledger.identity import SigningKey
from ledger.transaction import decode_transaction, sign_transaction
from node.chain import Chain
from node.mempool import Mempool
from node.overlooked import Overlooked
from node.results import ResultBook
from node.sync.snapshot import Snapshot

CLAIMS_PER_BLOCK_MAX: Final = 4
"""Results of different tasks in one block."""

BUILDING_SHARE: Final = 4
"""A proposer executes for a fourth of the view's time-out at most: the others need as long to check its block."""


class Proposals:
    """Builds and checks blocks on top of the chain."""

    def __init__(
        self,
        chain: Chain,
        mempool: Mempool,
        results: ResultBook,
        application: Application,
        key: SigningKey,
        *,
        monotonic_s: Callable[[], float] = perf_counter,
    ) -> None:
        """Put the sources together.

        Args:
            chain: executes blocks.
            mempool: holds transactions.
            results: holds this node's and its peers' round results.
            application: knows deadlines.
            key: the validator's, which signs the transactions that carry results.
            monotonic_s: a clock that measures how long a block has been built.
        """
        self._chain = chain
        self._mempool = mempool
        self._results = results
        self._application = application
        self._key = key
        self._monotonic_s = monotonic_s
        self._overlooked = Overlooked(mempool, application, monotonic_s=monotonic_s)
        self._follow_rounds()

    def has_work(self, now_ms: int) -> bool:
        """Tell whether a block could be built now."""
        self._overlooked.look(self._chain.state)
        due = self.due_ms()
        return (due is not None and due <= now_ms) or self._mempool.has_next(self._chain.state) or bool(self._claims())

    def due_ms(self) -> int | None:
        """Time at which a block is needed even without transactions."""
        return self._application.due_ms(self._chain.state)

    def build(self, now_ms: int) -> Execution | None:
        """Build a block from all that waits; None when nothing does."""
        proposer = self._chain.validators.index_of(self._key.public_key)
        if proposer is None or not self.has_work(now_ms):
            return None
        limits = self._chain.parameters
        own = self._mempool.next_of(self._chain.state, self._key.public_key)
        claims = [*own, *self._claim_transactions(len(own))]
        room = limits.block_bytes_max - sum(map(len, claims))
        selected = self._mempool.select(self._chain.state, limits.block_transactions_max - len(claims), room)
        waiting = [raw for raw in selected if raw not in own]
        until_s = self._monotonic_s() + limits.view_timeout_ms / 1000 / BUILDING_SHARE
        return self._chain.build(
            chain(claims, self._in_time(waiting, until_s)),
            now_ms,
            proposer,
            is_verified=self._mempool.__contains__,
            on_invalid=self._mempool.discard,
        )

    def check(self, block: Block) -> Execution:
        """Execute a proposed block.

        Raises:
            InvalidBlockError: its header or a transaction is wrong, it does nothing, or it carries a refused result.
        """
        execution = self._chain.check(block, is_verified=self._mempool.__contains__)
        if not block.transactions and not execution.receipts[-1].events:
            message = f"block {block.header.height} is empty and no deadline is due"
            raise InvalidBlockError(message)
        for raw, receipt in zip(block.transactions, execution.receipts, strict=False):
            if not receipt.accepted and decode_transaction(raw).kind == AGGREGATE:
                message = f"block {block.header.height} carries a result that is refused: {receipt.detail}"
                raise InvalidBlockError(message)
        return execution

    def passes_over(self, block: Block) -> str:
        """Return which transaction a new proposal keeps off the chain (R10), or ""."""
        chain = self._chain
        return self._overlooked.why_not(block, chain.state, chain.parameters)

    @staticmethod
    def claims_nothing(block: Block) -> bool:
        """Tell whether a block carries no round result."""
        return next(claimed_results(block.transactions), None) is None

    async def wrong_claim(self, block: Block) -> str:
        """Compare the block's results with this node's own, waiting for them; return what is wrong, or ""."""
        for result in claimed_results(block.transactions):
            if not await self._results.agrees(result):
                return f"the result of {result.task}/{result.round} is not what this node computed"
        return ""

    def require_fresh(self, block: Block, now_ms: int) -> None:
        """Check the time of a block that nobody has prepared.

        Raises:
            InvalidBlockError: it is too far from this node's clock.
        """
        drift = self._chain.parameters.clock_drift_ms_max
        if abs(block.header.time_ms - now_ms) > drift:
            message = f"block time {block.header.time_ms} is more than {drift} ms from this node's clock {now_ms}"
            raise InvalidBlockError(message)

    def append(self, certified: CertifiedBlock, *, is_signed: Callable[[Digest], bool] = lambda _: False) -> Execution:
        """Make a certified block part of the chain and bring everything that depends on the state up to date.

        Args:
            certified: the block.
            is_signed: tells which transactions, beside the waiting ones, have had their signature checked.

        Raises:
            DivergedError: this node executes it differently.
        """
        chain = self._chain
        self._overlooked.take_block(certified.block, chain.state, chain.parameters)
        execution = chain.append(certified, is_verified=lambda one: one in self._mempool or is_signed(one))
        self._mempool.prune(execution.state)
        self._follow_rounds()
        return execution

    def install(self, snapshot: Snapshot) -> None:
        """Put a verified state in the place of the blocks up to it and bring what depends on it up to date."""
        self._chain.install(snapshot)
        self._mempool.prune(snapshot.state)
        self._follow_rounds()

    def _follow_rounds(self) -> None:
        self._results.turn_to(self._chain.validators)
        jobs = list(closed_jobs(self._chain.state))
        self._results.forget_except({(job.spec.id, job.round.number) for job in jobs})
        for job in jobs:
            self._results.open_job(job)

    def _claims(self) -> list[AggregateClaim]:
        """Return the results that a block may take: a quorum agrees on each, and its task is not paused."""
        state = self._chain.state
        return [claim for claim in self._results.claims() if paused_until_ms(state, claim.result.task) is None]

    def _claim_transactions(self, before: int) -> Iterator[bytes]:
        """Yield the results that a quorum agrees on, after so many transactions that this key has signed already."""
        nonce = next_nonce(self._chain.state, self._key.public_key) + before
        for offset, claim in enumerate(self._claims()[:CLAIMS_PER_BLOCK_MAX]):
            yield encode(sign_transaction(self._key, self._chain.chain_id, AGGREGATE, nonce + offset, claim))

    def _in_time(self, raws: list[bytes], until_s: float) -> Iterator[bytes]:
        """Yield transactions until the time is over; at least one."""
        for number, raw in enumerate(raws):
            if number and self._monotonic_s() > until_s:
                return
            yield raw
