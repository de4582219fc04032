"""Blocks fetched from several peers over real TLS, one of which lies in every way that it can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiohttp import web

from fl.records import EvaluationReport
from ledger.block import Block, CertifiedBlock
from ledger.certificate import QuorumCertificate
from ledger.codec import encode
from ledger.digest import Digest
from ledger.fields import Height
from ledger.validators import ValidatorSet
from node.background import apart_in, background_threads
from node.blocks import BLOCKS_PATH, BlockExchange, BlockRange
from node.sync.checking import CheckedBlock
from node.sync.sources import NobodyHasItError, Sources
from node.sync.spans import requested_span
from tests.node.consortium import make_site, running, until, validators
from tests.recorded import Recorded

BLOCKS = 200
HISTORY = Recorded.begin()
for _ in range(BLOCKS):
    HISTORY.block()
CHAIN_ID = HISTORY.document.chain_id
FOREIGN = HISTORY.transaction("cleveland", "evaluation", EvaluationReport("heart", 0, 1, ()))
MEMBERS = HISTORY.document.validators

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Shelf:
    """Blocks of a history, some of which may be pruned."""

    def __init__(self, blocks: Sequence[CertifiedBlock], blocks_from: int = 1) -> None:
        self.blocks = blocks
        self.blocks_from = Height(blocks_from)
        self.asked = 0

    def encoded_blocks(self, from_height: Height, *, limit: int, bytes_max: int) -> list[bytes]:
        self.asked += 1
        assert bytes_max > 0
        return [encode(block) for block in self.blocks[from_height - 1 : from_height - 1 + limit]]


def lying(change: Callable[[CertifiedBlock], CertifiedBlock]) -> Handler:
    """Serve the right blocks but for a change to the last one of each answer."""

    async def serve(request: web.Request) -> web.StreamResponse:
        span = requested_span(request)
        blocks = HISTORY.blocks[span.first - 1 : span.last]
        said = [*blocks[:-1], change(blocks[-1])]
        return web.Response(body=encode(BlockRange(tuple(encode(block) for block in said))))

    return serve


def hollow(certified: CertifiedBlock) -> CertifiedBlock:
    return CertifiedBlock(Block(certified.block.header, (FOREIGN,)), certified.certificate)


def few_signers(certified: CertifiedBlock) -> CertifiedBlock:
    return _with_seals(certified, certified.certificate.seals[:2])


def one_signer_twice(certified: CertifiedBlock) -> CertifiedBlock:
    seals = certified.certificate.seals
    return _with_seals(certified, (seals[0], seals[1], seals[1]))


def foreign_signature(certified: CertifiedBlock) -> CertifiedBlock:
    seals = certified.certificate.seals
    return _with_seals(certified, (*seals[:2], type(seals[2])(seals[2].validator, seals[0].signature)))


def of_another_height(certified: CertifiedBlock) -> CertifiedBlock:
    return HISTORY.blocks[certified.block.header.height % BLOCKS]


def _with_seals(certified: CertifiedBlock, seals: tuple[object, ...]) -> CertifiedBlock:
    certificate = certified.certificate
    changed = QuorumCertificate(certificate.height, certificate.view, certificate.block_id, seals)  # type: ignore[arg-type]
    return CertifiedBlock(certified.block, changed)


async def truncated(request: web.Request) -> web.StreamResponse:
    span = requested_span(request)
    blocks = HISTORY.blocks[span.first - 1 : span.last]
    return web.Response(body=encode(BlockRange(tuple(map(encode, blocks))))[:-7])


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(bytes(1 << 18))


async def too_many(request: web.Request) -> web.StreamResponse:
    span = requested_span(request)
    blocks = HISTORY.blocks[span.first - 1 : span.last]
    return web.Response(body=encode(BlockRange(tuple(map(encode, [*blocks, blocks[-1]])))))


async def withholding(_: web.Request) -> web.StreamResponse:
    return web.Response(body=encode(BlockRange(())))


async def silent(_: web.Request) -> web.StreamResponse:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("unreachable")


async def trickling(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"\x91")
        await asyncio.sleep(0.05)


@asynccontextmanager
async def peers(*handlers: Handler | Shelf) -> AsyncIterator[tuple[Sources, BlockExchange]]:
    """A fetching node, validator 0, and peers that serve with these."""
    members = validators(len(handlers) + 1)
    sites = [make_site(index, members) for index in range(len(handlers) + 1)]
    threads = background_threads(2, "test")
    for site, handler in zip(sites[1:], handlers, strict=True):
        if isinstance(handler, Shelf):
            BlockExchange(site.transport, handler)
        else:
            site.transport.add_routes([web.get(BLOCKS_PATH, handler)])
    mine = BlockExchange(sites[0].transport, Shelf(()), apart=apart_in(threads))
    try:
        async with running(sites, members):
            await until(lambda: sites[0].links() == len(handlers))
            yield mine.sources, mine
    finally:
        threads.shutdown()


@dataclass
class Followed:
    """What is known of the chain."""

    chain_id: Digest = CHAIN_ID
    validators: ValidatorSet = MEMBERS


async def fetched(
    mine: BlockExchange,
    *whom: int,
    last: int = BLOCKS,
    into: list[CheckedBlock] | None = None,
    members: ValidatorSet = MEMBERS,
) -> list[CheckedBlock]:
    found = [] if into is None else into
    async with mine.fetch(Height(1), Height(last), whom, Followed(validators=members)) as parts:
        async for part in parts:
            found += part
    return found


@pytest.mark.parametrize(
    "liar",
    [
        pytest.param(lying(hollow), id="wrong-body"),
        pytest.param(lying(few_signers), id="no-quorum"),
        pytest.param(lying(one_signer_twice), id="a-signer-twice"),
        pytest.param(lying(foreign_signature), id="a-signature-of-somebody-else"),
        pytest.param(lying(of_another_height), id="another-height"),
        truncated,
        endless,
        too_many,
    ],
)
async def test_a_peer_that_lies_is_found_out_and_costs_nothing_but_its_answer(liar: Handler) -> None:
    async with peers(liar, Shelf(HISTORY.blocks), Shelf(HISTORY.blocks)) as (sources, mine):
        found = await fetched(mine, 1, 2, 3)

    assert [block.certified for block in found] == HISTORY.blocks
    assert {block.checked_for for block in found} == {MEMBERS.hash}
    assert {block.peer for block in found} <= {2, 3}
    assert sources.faults >= 1


@pytest.mark.parametrize("useless", [withholding, silent, trickling])
async def test_a_peer_that_gives_nothing_or_is_slow_is_overtaken(useless: Handler) -> None:
    async with peers(useless, Shelf(HISTORY.blocks), Shelf(HISTORY.blocks)) as (sources, mine):
        async with asyncio.timeout(8):
            found = await fetched(mine, 1, 2, 3)

    assert [block.certified for block in found] == HISTORY.blocks
    assert sources.faults == 0


async def test_blocks_come_from_several_peers_at_once() -> None:
    shelves = [Shelf(HISTORY.blocks) for _ in range(3)]
    async with peers(*shelves) as (_, mine):
        found = await fetched(mine, 1, 2, 3)

    assert [block.certified for block in found] == HISTORY.blocks
    assert sum(shelf.asked > 0 for shelf in shelves) >= 2


async def test_what_nobody_has_ends_the_fetch_after_what_there_is() -> None:
    async with peers(Shelf(HISTORY.blocks[:70]), Shelf(HISTORY.blocks[:50])) as (sources, mine):
        found: list[CheckedBlock] = []
        with pytest.raises(NobodyHasItError) as ended:
            await fetched(mine, 1, 2, into=found)

    assert [block.certified for block in found] == HISTORY.blocks[:70]
    assert ended.value.gone == 0
    assert sources.faults == 0


async def test_who_has_pruned_blocks_says_so() -> None:
    async with peers(Shelf(HISTORY.blocks, 20), Shelf(HISTORY.blocks, 30)) as (_, mine):
        with pytest.raises(NobodyHasItError) as ended:
            await fetched(mine, 1, 2)

    assert ended.value.gone == 2
    assert "pruned" in str(ended.value)


async def test_blocks_of_a_set_that_is_not_known_are_left_to_the_replica() -> None:
    strangers = Recorded.begin(("east", "north", "south", "west"))
    known: ValidatorSet = strangers.document.validators
    async with peers(Shelf(HISTORY.blocks)) as (_, mine):
        found = await fetched(mine, 1, last=3, members=known)

    assert [(block.checked_for, block.signed) for block in found] == [(None, ())] * 3


async def test_signatures_of_transactions_are_checked_on_the_way() -> None:
    history = Recorded.begin()
    history.learn()
    async with peers(Shelf(history.blocks)) as (_, mine):
        found = await fetched(mine, 1, last=2)

    said = {receipt.transaction for execution in history.executions for receipt in execution.receipts[:-1]}
    assert {identity for block in found for identity in block.signed} == said
