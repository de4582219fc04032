"""A member's node that votes as it should and lies to whoever catches up. One law: its lies are the attacker's best.

    python -m tests.processes.lying_node node run --config PATH

Everything is as in an honest node but for what it serves of the past: blocks, headers and states come changed,
truncated, withheld, without end, or not at all, one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

from aiohttp import web

from foedus.cli import main
from ledger.block import CertifiedBlock
from ledger.certificate import QuorumCertificate
from ledger.chain import CertifiedHeader
from ledger.codec import decode, encode
from ledger.fields import Height
from ledger.state_parts import StateEntry, StatePart
from node.blocks import ANSWER_BYTES_MAX, BlockExchange, BlockRange
from node.sync.headers import HeaderExchange, HeaderRange
from node.sync.state import StateExchange, StateOffer

BYTES_MAX = 1 << 24
Change = Callable[[bytes], bytes]
Serve = Callable[..., Awaitable[web.Response]]
_numbers = count()


def lying(serve: Serve, change: Change) -> Serve:
    """Return a handler whose answers are no good."""

    async def lie(self: object, request: web.Request) -> web.StreamResponse:
        answer = await serve(self, request)
        if answer.status != 200 or not isinstance(answer.body, bytes):
            return answer
        match next(_numbers) % 5:
            case 0:
                return web.Response(body=answer.body[:-5])
            case 1:
                return await _endless(request)
            case 2:
                return web.Response(body=encode(([],)))
            case 3 if next(_numbers) % 3 == 0:
                await asyncio.sleep(3_600)
        return web.Response(body=change(answer.body))

    return lie  # type: ignore[return-value]


def false_blocks(body: bytes) -> bytes:
    """Leave the last block without its quorum: one signer stands there twice."""
    *raws, last = decode(body, BlockRange, bytes_max=ANSWER_BYTES_MAX).blocks
    certified = decode(last, CertifiedBlock, bytes_max=BYTES_MAX)
    return encode(BlockRange((*raws, encode(CertifiedBlock(certified.block, _doubled(certified.certificate))))))


def false_headers(body: bytes) -> bytes:
    """The same with headers."""
    said = decode(body, HeaderRange, bytes_max=BYTES_MAX)
    certified = decode(said.headers[-1], CertifiedHeader, bytes_max=BYTES_MAX)
    last = encode(CertifiedHeader(certified.header, _doubled(certified.certificate)))
    return encode(HeaderRange((*said.headers[:-1], last), said.sets))


def false_state(body: bytes) -> bytes:
    """Give an entry another value."""
    nodes = list(decode(body, StatePart, bytes_max=BYTES_MAX).nodes)
    place, entry = next((place, node) for place, node in enumerate(nodes) if isinstance(node, StateEntry))
    nodes[place] = StateEntry(entry.key, entry.value + b"\x00")
    return encode(StatePart(tuple(nodes)))


def false_offer(body: bytes) -> bytes:
    """Offer what does not exist, and blocks that are long gone."""
    said = decode(body, StateOffer, bytes_max=BYTES_MAX)
    return encode(StateOffer((*said.heights[:2], Height(2**50)), Height(1)))


def _doubled(certificate: QuorumCertificate) -> QuorumCertificate:
    seals = certificate.seals
    return QuorumCertificate(certificate.height, certificate.view, certificate.block_id, (*seals[:-1], seals[-2]))


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while request.transport is not None and not request.transport.is_closing():
        await response.write(bytes(1 << 18))
        await asyncio.sleep(0)  # a write may not wait, and this node goes on voting
    return response


if __name__ == "__main__":
    BlockExchange._serve = lying(BlockExchange._serve, false_blocks)  # type: ignore[method-assign,assignment]
    HeaderExchange._serve = lying(HeaderExchange._serve, false_headers)  # type: ignore[method-assign,assignment]
    StateExchange._serve = lying(StateExchange._serve, false_state)  # type: ignore[method-assign,assignment]
    StateExchange._offer = lying(StateExchange._offer, false_offer)  # type: ignore[method-assign,assignment]
    main()
