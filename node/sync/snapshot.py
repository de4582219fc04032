"""Beginning in the middle: headers from what is here, then a certified state. One law: no more trust than in a header.

Needed when the blocks that are missing are pruned by everybody, or wanted when a new node need not execute the past.
Whatever a peer offers is a guess until a quorum's certificate has been found under it: the headers are followed from
this node's last block (from genesis, on a new node) to the height of the state, and the state is checked part by part
against the root in that header. While all this is fetched, votes and blocks go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import structlog

from ledger.chain import Anchor, CertifiedHeader
from ledger.fields import Height
from ledger.state_map import StateMap
from node.store import HeaderAhead
from node.sync.headers import HeaderExchange
from node.sync.progress import SyncProgress
from node.sync.sources import FalseAnswerError, NobodyHasItError
from node.sync.state import StateExchange

SnapshotUse = Literal["needed", "first", "never"]

RETRY_S: Final = 1.0
ATTEMPTS_PER_OFFER_MAX: Final = 4
"""Heights that are tried before the peers are asked again what they offer."""

ROUNDS_FIRST_MAX: Final = 10
"""So often a new node that need not begin with a snapshot asks for one before it fetches the blocks."""

log = structlog.get_logger("node.sync")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after a certified block."""

    certified: CertifiedHeader
    state: StateMap

    @property
    def height(self) -> Height:
        """The block's."""
        return Height(self.certified.header.height)


class HeadersAhead(Protocol):
    """Where headers above the last block wait until a snapshot makes them part of the chain."""

    def anchor_ahead(self) -> Anchor:
        """Return the point from which headers are to be followed: the last one that waits, or the last block."""
        ...

    def keep_ahead(self, headers: Sequence[HeaderAhead]) -> None:
        """Keep verified headers that follow what is kept; durable when it returns."""
        ...

    def header_ahead(self, height: Height) -> CertifiedHeader | None:
        """Return a header that waits."""
        ...


class Snapshots:
    """Fetches a snapshot whenever one is needed."""

    def __init__(  # noqa: PLR0913 - what it asks and whom it tells
        self,
        headers: HeaderExchange,
        states: StateExchange,
        ahead: HeadersAhead,
        *,
        use: SnapshotUse,
        height: Callable[[], Height],
        one_honest: Callable[[], int],
        peers: Callable[[], Sequence[int]],
        install: Callable[[Snapshot], Awaitable[bool]],
        progress: SyncProgress,
    ) -> None:
        """Put the parts together; `run` does the work.

        Args:
            headers: fetches headers.
            states: fetches states.
            ahead: keeps headers.
            use: when a snapshot may take the place of blocks.
            height: of this node's last block.
            one_honest: among so many peers at least one is honest.
            peers: whom to ask.
            install: makes a snapshot the chain's state, unless the chain has come as far meanwhile; tells whether.
            progress: told how it goes.
        """
        self._headers: Final = headers
        self._states: Final = states
        self._ahead: Final = ahead
        self._use: Final = use
        self._height: Final = height
        self._one_honest: Final = one_honest
        self._peers: Final = peers
        self._install: Final = install
        self._progress: Final = progress
        self._wanted: Final = asyncio.Event()
        self._rounds = 0
        if use == "first" and height() == 0:
            self._wanted.set()

    @property
    def is_wanted(self) -> bool:
        """Whether one is being looked for."""
        return self._wanted.is_set()

    @property
    def comes_first(self) -> bool:
        """Whether a new node waits for a snapshot instead of fetching the blocks from genesis on."""
        return self._use == "first" and self._wanted.is_set() and self._height() == 0

    def missing(self, height: Height, gone: int) -> None:
        """Take note that nobody gave the block at a height, and that `gone` peers say that they have pruned it."""
        self._progress.pruned_at = height if gone else None
        if gone >= self._one_honest() and self._use != "never":
            log.warning("snapshot.needed", height=height, pruned_by=gone)
            self._wanted.set()

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await self._wanted.wait()
            if await self._try_offers():
                self._wanted.clear()
                self._progress.pruned_at = None
            else:
                self._progress.end()
                await asyncio.sleep(RETRY_S)

    async def _try_offers(self) -> bool:
        """Ask what there is and try it; tell whether that is over, for good or because blocks will do."""
        peers = self._peers()
        offers = await self._states.offers(peers)
        if len(offers.by_peer) < self._one_honest():
            return False
        self._rounds += 1
        heights = offers.heights(self._height())
        if self.comes_first and (not heights or self._rounds > ROUNDS_FIRST_MAX):
            log.info("snapshot.given_up", offered=len(heights), rounds=self._rounds)
            return True
        for height in heights[:ATTEMPTS_PER_OFFER_MAX]:
            try:
                return await self._try(height, peers)
            except (NobodyHasItError, FalseAnswerError) as error:
                log.info("snapshot.not_fetched", height=height, error=str(error))
        return False

    async def _try(self, height: Height, peers: Sequence[int]) -> bool:
        certified = await self._certified(height, peers)
        self._progress.begin("state", height)
        root = certified.header.state_root
        state = await self._states.fetch(height, root, peers, on_entries=self._progress.receive)
        installed = await self._install(Snapshot(certified, state))
        self._progress.end()
        log.info("snapshot.installed" if installed else "snapshot.late", height=height, entries=len(state))
        return True

    async def _certified(self, height: Height, peers: Sequence[int]) -> CertifiedHeader:
        anchor = self._ahead.anchor_ahead()
        self._progress.begin("headers", height)
        if anchor.height < height:
            async with aclosing(self._headers.follow(anchor, height, peers)) as parts:
                async for after, part in parts:
                    self._ahead.keep_ahead([HeaderAhead(one.certified, one.named) for one in part])
                    self._progress.count(after.height, len(part))
        found = self._ahead.header_ahead(height)
        if found is None:
            raise NobodyHasItError(f"header {height}", ["it is below the last block"], 0)
        return found
