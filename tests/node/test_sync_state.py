"""States fetched part by part over real TLS, while a peer lies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from ledger.codec import encode
from ledger.fields import Height
from ledger.state_map import StateMap
from ledger.state_parts import StateEntry, StatePart, part_of
from node.background import apart_in, background_threads
from node.sync.kept import KeptStates
from node.sync.sources import NobodyHasItError, Sources
from node.sync.state import STATE_PATH, Offers, StateExchange, StateOffer
from tests.node.consortium import make_site, running, until, validators

HEIGHT = Height(64)
STATE = StateMap.build((b"key/%d" % number, bytes(20_000)) for number in range(400))
"""Eight megabytes: some twenty parts."""

OTHER = STATE.update({b"key/7": b"mine"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def serving(state: StateMap, change: Callable[[StatePart], bytes]) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        part = part_of(state, request.query["path"])
        return web.Response(body=b"" if part is None else change(part))

    return serve


def extra(part: StatePart) -> bytes:
    return encode(StatePart((*part.nodes, StateEntry(b"mine", b"all"))))


async def silent(_: web.Request) -> web.StreamResponse:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("unreachable")


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(bytes(1 << 18))


@asynccontextmanager
async def peers(*handlers: Handler | StateMap) -> AsyncIterator[tuple[Sources, StateExchange]]:
    """A new node, validator 0, and peers that serve with these."""
    members = validators(len(handlers) + 1)
    sites = [make_site(index, members) for index in range(len(handlers) + 1)]
    threads = background_threads(2, "test")
    for site, handler in zip(sites[1:], handlers, strict=True):
        if isinstance(handler, StateMap):
            kept = KeptStates(HEIGHT, handler)
            exchange = StateExchange(Sources(site.transport), kept, lambda: Height(9), apart=apart_in(threads))
            site.transport.add_routes(exchange.routes())
        else:
            site.transport.add_routes([web.get(STATE_PATH, handler)])
    sources = Sources(sites[0].transport)
    nothing = KeptStates(Height(0), StateMap.empty())
    try:
        async with running(sites, members):
            await until(lambda: sites[0].links() == len(handlers))
            yield sources, StateExchange(sources, nothing, lambda: Height(1), apart=apart_in(threads))
    finally:
        threads.shutdown()


async def test_a_state_comes_from_several_peers() -> None:
    counted: list[int] = []
    async with peers(STATE, STATE, STATE) as (sources, mine):
        found = await mine.fetch(HEIGHT, STATE.root, (1, 2, 3), on_entries=counted.append)

    assert dict(found.items()) == dict(STATE.items())
    assert sources.faults == 0
    assert counted == sorted(counted)
    assert counted[-1] == len(STATE)
    assert len(counted) >= 10


@pytest.mark.parametrize(
    "liar",
    [
        pytest.param(serving(OTHER, encode), id="another-state"),
        pytest.param(serving(STATE, extra), id="an-entry-more"),
        pytest.param(serving(STATE, lambda part: encode(part)[:-9]), id="truncated"),
        pytest.param(serving(STATE, lambda part: encode(StatePart(part.nodes[-1:]))), id="parts-of-nothing"),
        endless,
    ],
)
async def test_a_false_part_costs_one_answer(liar: Handler) -> None:
    async with peers(liar, STATE, STATE) as (sources, mine):
        found = await mine.fetch(HEIGHT, STATE.root, (1, 2, 3))

    assert found.root == STATE.root
    assert dict(found.items()) == dict(STATE.items())
    assert sources.faults >= 1


async def test_a_silent_peer_is_overtaken() -> None:
    async with peers(silent, STATE, STATE) as (_, mine), asyncio.timeout(15):
        found = await mine.fetch(HEIGHT, STATE.root, (1, 2, 3))

    assert found.root == STATE.root


async def test_a_state_that_nobody_keeps_any_more_is_given_up() -> None:
    async with peers(STATE, STATE) as (_, mine):
        with pytest.raises(NobodyHasItError) as ended:
            await mine.fetch(Height(65), STATE.root, (1, 2))

    assert ended.value.gone == 2


async def test_what_peers_offer_is_asked_of_all() -> None:
    async with peers(STATE, STATE, silent) as (_, mine):
        offers = await mine.offers((1, 2, 3))

    assert offers.by_peer == (StateOffer((HEIGHT,), Height(9)),) * 2


def test_the_height_most_peers_offer_and_keep_longest_is_tried_first() -> None:
    liar = StateOffer((Height(2**40),), Height(1))
    honest = StateOffer((Height(4_096), Height(5_120), Height(5_300)), Height(4_000))

    assert Offers((liar, honest, honest)).heights(0) == [4_096, 5_120, 5_300, 2**40]
    assert Offers((honest,)).heights(5_120) == [5_300]
    assert Offers((StateOffer((Height(64), Height(256)), Height(200)),)).heights(0) == [256]
    assert Offers(()).heights(0) == []
