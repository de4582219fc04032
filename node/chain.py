"""The chain as this node holds it: blocks in the store, state in memory. One law: what is appended was executed here.

A block is executed once, when it is built or checked; the outcome is kept until its height is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

import structlog

from ledger.application import Application, BlockContext
from ledger.block import Block, CertifiedBlock, block_id
from ledger.chain import Anchor, CertifiedHeader
from ledger.digest import Digest
from ledger.execution import (
    BlockBuilder,
    Execution,
    InvalidBlockError,
    InvalidTransactionError,
    execute_block,
    parameters_of,
)
from ledger.fields import Height
from ledger.parameters import ConsensusParameters
from ledger.reigns import coming_validators_of, validators_of
from ledger.state_map import StateMap
from ledger.validators import ValidatorSet
from node.store import HeaderAhead, Tip
from node.sync.kept import KeptStates
from node.sync.snapshot import Snapshot

EXECUTIONS_MAX: Final = 8
"""Outcomes kept for one height; proposals of more views than this are executed again when they are decided."""

PRUNE_EVERY: Final = 16
"""Blocks are pruned so many at a time."""

log = structlog.get_logger(__name__)


class DivergedError(Exception):
    """A quorum certified a block that this node executes differently: it must stop, the network must not."""


class BlockLog(Protocol):
    """Where blocks and the state after the last one become durable."""

    def plant(self, genesis_state: StateMap) -> None:
        """Keep the state before block 1, unless a state is kept already."""
        ...

    def tip(self) -> Tip | None:
        """Return the last block's height, id and time; None before the first block."""
        ...

    def load_state(self) -> StateMap:
        """Return the state after the last block."""
        ...

    def append(self, certified: CertifiedBlock, execution: Execution) -> None:
        """Append a decided block with all its effects, or nothing of it; durable when it returns, or its batch ends."""
        ...

    def batch(self) -> AbstractContextManager[None]:
        """Let the blocks that are appended inside become durable together, before anything is signed or at the end."""
        ...

    def install(self, certified: CertifiedHeader, state: StateMap) -> None:
        """Make a header that is kept ahead the last one and put another state in place; durable when it returns."""
        ...

    def keep_ahead(self, headers: Sequence[HeaderAhead]) -> None:
        """Keep verified headers above the last block; durable when it returns."""
        ...

    def header_ahead(self, height: Height) -> CertifiedHeader | None:
        """Return a verified header, of the chain or ahead of it."""
        ...

    def last_ahead(self) -> tuple[CertifiedHeader, ValidatorSet | None] | None:
        """Return the last header that is kept ahead and the last set that one of them named."""
        ...

    def prune(self, below: Height) -> None:
        """Remove the blocks below a height, but for headers and certificates."""
        ...


class Chain:
    """Blocks, state and what is in force for the next height."""

    def __init__(
        self,
        store: BlockLog,
        application: Application,
        chain_id: Digest,
        genesis_state: StateMap,
        genesis_time_ms: int,
        *,
        blocks_kept: int = 0,
    ) -> None:
        """Take up the chain where the store has it.

        Args:
            store: open for writing.
            application: gives transactions their meaning.
            chain_id: of the genesis document.
            genesis_state: what the genesis document makes of an empty state.
            genesis_time_ms: its time.
            blocks_kept: how many blocks are kept in full; 0 keeps all.
        """
        self._store = store
        self._application = application
        self._executions: dict[Digest, Execution] = {}
        self.chain_id: Final = chain_id
        store.plant(genesis_state)
        self.height, self.tip_id, self.tip_time_ms = Height(0), chain_id, genesis_time_ms
        self.state = genesis_state
        tip, state = store.tip(), store.load_state()
        if tip is not None and state is not None:
            self.height, self.tip_id, self.tip_time_ms, self.state = tip.height, tip.block_id, tip.time_ms, state
        self._blocks_kept: Final = blocks_kept
        self.kept_states: Final = KeptStates(self.height, self.state)

    @property
    def next_height(self) -> Height:
        """Height that is being decided."""
        return Height(self.height + 1)

    @property
    def validators(self) -> ValidatorSet:
        """Set that decides the next height."""
        return validators_of(self.state)

    @property
    def coming_validators(self) -> ValidatorSet:
        """Set that decides the height after the next."""
        return coming_validators_of(self.state)

    @property
    def parameters(self) -> ConsensusParameters:
        """Consensus parameters for the next height."""
        return parameters_of(self.state)

    def build(
        self,
        raws: Iterable[bytes],
        time_ms: int,
        proposer: int,
        *,
        is_verified: Callable[[Digest], bool],
        on_invalid: Callable[[bytes], None],
    ) -> Execution:
        """Build the next block from transactions that may or may not fit.

        Args:
            raws: candidates in the order in which they are tried.
            time_ms: the proposer's clock; moved past the parent's time when it lags.
            proposer: index of this node.
            is_verified: tells whose signatures have been checked.
            on_invalid: told of each candidate that can stand in no block.
        """
        moment = max(time_ms, self.tip_time_ms + 1)
        context = BlockContext(self.chain_id, self.next_height, moment, self.tip_id, self.validators, proposer)
        builder = BlockBuilder(self._application, self.state, context, is_verified=is_verified)
        for raw in raws:
            try:
                builder.add(raw)
            except InvalidTransactionError as error:
                log.warning("transaction.invalid", error=str(error))
                on_invalid(raw)
        return self._remember(builder.finish())

    def check(self, block: Block, *, is_verified: Callable[[Digest], bool]) -> Execution:
        """Execute a block somebody proposed for the next height.

        Raises:
            InvalidBlockError: no honest validator votes for it.
        """
        known = self._executions.get(block.id)
        if known is not None and known.transactions == block.transactions:
            return known
        if block.header.chain_id != self.chain_id or block.header.height != self.next_height:
            message = (
                f"needed height {self.next_height} of chain {self.chain_id.hex()}, got height {block.header.height} "
                f"of chain {block.header.chain_id.hex()}"
            )
            raise InvalidBlockError(message)
        execution = execute_block(
            self._application, self.state, self.tip_id, self.tip_time_ms, block, is_verified=is_verified
        )
        return self._remember(execution)

    def append(self, certified: CertifiedBlock, *, is_verified: Callable[[Digest], bool]) -> Execution:
        """Make a certified block part of the chain, durably.

        Raises:
            DivergedError: executing it here gives something else than the quorum certified.
        """
        try:
            execution = self.check(certified.block, is_verified=is_verified)
        except InvalidBlockError as error:
            message = (
                f"block {certified.block.header.height} is certified by a quorum but invalid here: {error}. This "
                "node's software or data differs from the others': compare versions, run `foedus audit` on its data"
            )
            raise DivergedError(message) from error
        self._store.append(certified, execution)
        self.state = execution.state
        self.height = Height(certified.block.header.height)
        self.tip_id = certified.block.id
        self.tip_time_ms = certified.block.header.time_ms
        self._executions.clear()
        self.kept_states.take(self.height, self.state)
        if self._blocks_kept and self.height % PRUNE_EVERY == 0:
            self._store.prune(Height(max(1, self.height - self._blocks_kept + 1)))
        return execution

    def batch(self) -> AbstractContextManager[None]:
        """Let the blocks that are appended inside become durable together, before anything is signed or at the end."""
        return self._store.batch()

    def install(self, snapshot: Snapshot) -> None:
        """Put a verified state of a later height in the place of the present one, durably."""
        header = snapshot.certified.header
        self._store.install(snapshot.certified, snapshot.state)
        self.height, self.tip_time_ms = snapshot.height, header.time_ms
        self.tip_id, self.state = block_id(header), snapshot.state
        self._executions.clear()
        self.kept_states.take(self.height, self.state)

    def anchor_ahead(self) -> Anchor:
        """Return where headers above the last block go on: after the last one that is kept, or after the block."""
        last = self._store.last_ahead()
        if last is None or last[0].header.height <= self.height:
            return Anchor(self.chain_id, self.height, self.tip_id, self.tip_time_ms, self.validators)
        header, named = last[0].header, last[1] or self.validators
        assert named.hash == header.next_validators_hash, "the last set that a header named decides after it"
        return Anchor(self.chain_id, Height(header.height), block_id(header), header.time_ms, named)

    def keep_ahead(self, headers: Sequence[HeaderAhead]) -> None:
        """Keep verified headers above the last block."""
        self._store.keep_ahead(headers)

    def header_ahead(self, height: Height) -> CertifiedHeader | None:
        """Return a verified header, whether its block is reached or not."""
        return self._store.header_ahead(height)

    def _remember(self, execution: Execution) -> Execution:
        while len(self._executions) >= EXECUTIONS_MAX:
            del self._executions[next(iter(self._executions))]
        self._executions[execution.block.id] = execution
        return execution
