"""Blocks between nodes: served and fetched by range over bulk connections. One law: nothing fetched is believed here.

The replica verifies each block's certificate; this module only bounds what it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Protocol

import structlog
from aiohttp import web
from msgspec import Meta

from ledger.block import BLOCK_BYTES_MAX, CertifiedBlock
from ledger.codec import CodecError, Record, decode, encode
from ledger.fields import Height
from node.transport import Links, PeerRefusedError, PeerUnreachableError

BLOCKS_PATH: Final = "/peer/blocks"
BLOCKS_MAX: Final = 256
"""Blocks of one answer."""

RANGE_BYTES_MAX: Final = 8 << 20
CERTIFIED_BLOCK_BYTES_MAX: Final = BLOCK_BYTES_MAX + 65_536
"""A block with its header and the largest validator set's certificate."""

log = structlog.get_logger(__name__)


class BlockRange(Record):
    """Consecutive certified blocks, each in its encoded form."""

    blocks: Annotated[tuple[bytes, ...], Meta(max_length=BLOCKS_MAX)]


class ServedBlocks(Protocol):
    """Where this node's blocks are."""

    def encoded_blocks(self, from_height: Height, *, limit: int, bytes_max: int) -> list[bytes]:
        """Return encoded `CertifiedBlock`s from a height on, ascending, the first one always."""
        ...


class BlockExchange:
    """Serves this node's blocks and fetches those of others."""

    def __init__(self, transport: Links, store: ServedBlocks) -> None:
        """Register the route; before `transport.start()`."""
        self._transport = transport
        self._store = store
        transport.add_routes([web.get(BLOCKS_PATH, self._serve)])

    async def fetch(self, first: Height, last: Height, validators: Sequence[int]) -> list[CertifiedBlock]:
        """Return certified blocks from `first` on, as the first validator that has any gives them.

        Args:
            first: lowest height wanted.
            last: highest height wanted; fewer blocks may come.
            validators: whom to ask, in this order.
        """
        path = f"{BLOCKS_PATH}?from={first}&to={last}"
        for validator in validators:
            try:
                answer = await self._transport.fetch(validator, path, bytes_max=RANGE_BYTES_MAX + (1 << 20))
                blocks = _read(answer)
            except (PeerUnreachableError, PeerRefusedError, CodecError) as error:
                log.info("blocks.not_fetched", validator=validator, first=first, error=str(error))
                continue
            if blocks:
                return blocks
        return []

    async def _serve(self, request: web.Request) -> web.Response:
        try:
            first, last = int(request.query["from"]), int(request.query["to"])
        except (KeyError, ValueError) as error:
            raise web.HTTPBadRequest(text="needs ?from=HEIGHT&to=HEIGHT") from error
        if not 1 <= first <= last:
            raise web.HTTPBadRequest(text=f"needs 1 <= from <= to, got {first} and {last}")
        limit = min(BLOCKS_MAX, last - first + 1)
        blocks = self._store.encoded_blocks(Height(first), limit=limit, bytes_max=RANGE_BYTES_MAX)
        return web.Response(body=encode(BlockRange(tuple(blocks))), content_type="application/msgpack")


def _read(answer: bytes) -> list[CertifiedBlock]:
    raws = decode(answer, BlockRange, bytes_max=RANGE_BYTES_MAX + (1 << 20)).blocks
    return [decode(raw, CertifiedBlock, bytes_max=CERTIFIED_BLOCK_BYTES_MAX) for raw in raws]
