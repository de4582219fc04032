"""Blocks between nodes: served and fetched by range over bulk connections. One law: nothing unchecked counts.

What a peer sends is checked in worker threads before the replica sees it: heights, bodies, and the certificates of the
sets that are known. The replica checks for itself whatever could not be checked here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Annotated, Final, Protocol

from aiohttp import web
from msgspec import Meta

from ledger.codec import Record, decode, encode
from ledger.digest import Digest
from ledger.fields import Height
from ledger.validators import ValidatorSet
from node.background import Apart, at_once
from node.sync.checking import CheckedBlock, check_blocks
from node.sync.sources import STATUS_GONE, Sources
from node.sync.spans import SPANS_AHEAD, Span, in_order, requested_span
from node.transport import Links

BLOCKS_PATH: Final = "/peer/blocks"
BLOCKS_MAX: Final = 256
"""Blocks of one answer."""

SPAN_BLOCKS_MAX: Final = 64
"""Blocks asked for at once, of one peer."""

RANGE_BYTES_MAX: Final = 2 << 20
"""Of one answer, unless its first block alone is larger."""

ANSWER_BYTES_MAX: Final = RANGE_BYTES_MAX + (1 << 20)


class BlockRange(Record):
    """Consecutive certified blocks, each in its encoded form."""

    blocks: Annotated[tuple[bytes, ...], Meta(max_length=BLOCKS_MAX)]


class ServedBlocks(Protocol):
    """Where this node's blocks are."""

    @property
    def blocks_from(self) -> Height:
        """The lowest height from which on every block is here."""
        ...

    def encoded_blocks(self, from_height: Height, *, limit: int, bytes_max: int) -> list[bytes]:
        """Return encoded `CertifiedBlock`s from a height on, ascending, the first one always."""
        ...


class FollowedChain(Protocol):
    """The chain that is caught up with."""

    @property
    def chain_id(self) -> Digest:
        """Its identity."""
        ...

    @property
    def validators(self) -> ValidatorSet:
        """The set that decides the next height."""
        ...


class BlockExchange:
    """Serves this node's blocks and fetches those of others."""

    def __init__(self, links: Links, store: ServedBlocks, *, apart: Apart = at_once) -> None:
        """Register the route; before the links carry.

        Args:
            links: reach the other validators.
            store: what is served.
            apart: where checking is done.
        """
        self.sources: Final = Sources(links)
        self._store: Final = store
        self.apart: Final = apart
        links.add_routes([web.get(BLOCKS_PATH, self._serve)])

    def fetch(
        self, first: Height, last: Height, validators: Sequence[int], chain: FollowedChain
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[CheckedBlock]]]:
        """Give certified blocks from `first` on in parts, ascending, from several peers at once.

        Args:
            first: lowest height wanted.
            last: highest height wanted; the parts end with `NobodyHasItError` where nobody has more.
            validators: whom to ask.
            chain: says which chain, and who decides the next height in the moment.
        """

        async def obtain(span: Span) -> Sequence[CheckedBlock]:
            return await self._obtain(span, validators, chain)

        return in_order(Span(first, last), obtain, heights_max=SPAN_BLOCKS_MAX, ahead=SPANS_AHEAD)

    async def _obtain(self, span: Span, validators: Sequence[int], chain: FollowedChain) -> Sequence[CheckedBlock]:
        async def read(answer: bytes) -> list[CheckedBlock]:
            members = chain.validators
            return await self.apart(lambda: _check(answer, span, chain.chain_id, members))

        path = f"{BLOCKS_PATH}?from={span.first}&to={span.last}"
        found = await self.sources.ask(path, validators, read, bytes_max=ANSWER_BYTES_MAX)
        return [replace(block, peer=found.peer) for block in found.answer]

    async def _serve(self, request: web.Request) -> web.Response:
        span = requested_span(request)
        if span.first < self._store.blocks_from:
            return web.Response(status=STATUS_GONE, text=f"the blocks below {self._store.blocks_from} are pruned here")
        limit = min(BLOCKS_MAX, span.last - span.first + 1)
        blocks = self._store.encoded_blocks(Height(span.first), limit=limit, bytes_max=RANGE_BYTES_MAX)
        return web.Response(body=encode(BlockRange(tuple(blocks))), content_type="application/msgpack")


def _check(answer: bytes, span: Span, chain_id: Digest, members: ValidatorSet) -> list[CheckedBlock]:
    raws = decode(answer, BlockRange, bytes_max=ANSWER_BYTES_MAX).blocks
    return check_blocks(raws, span, chain_id, {members.hash: members})
