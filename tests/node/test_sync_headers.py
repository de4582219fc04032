"""The chain of headers through changes of the validator set, over real TLS, while a peer lies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import msgspec
import pytest
from aiohttp import web

from ledger.certificate import QuorumCertificate
from ledger.chain import Anchor, CertifiedHeader
from ledger.codec import encode
from ledger.fields import Height
from ledger.validators import ValidatorSet
from node.background import apart_in, background_threads
from node.sync.headers import HEADERS_PATH, HeaderExchange, HeaderRange
from node.sync.sources import FalseAnswerError, NobodyHasItError, Sources
from node.sync.spans import requested_span
from tests.node.consortium import make_site, running, until, validators
from tests.node.header_chain import HeaderChain, certificate, council

FIRST = council("ash", "beech", "cedar", "elm")
SECOND = council("ash", "beech", "cedar", "elm", "fir")
THIRD = council("fir", "hazel", "larch", "oak")
CHAIN = HeaderChain.of(300, {1: FIRST, 60: SECOND, 61: THIRD, 280: FIRST})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Lie = Callable[[CertifiedHeader], CertifiedHeader]


@asynccontextmanager
async def peers(*handlers: Handler | HeaderChain) -> AsyncIterator[tuple[Sources, HeaderExchange]]:
    """A following node, validator 0, and peers that serve with these."""
    members = validators(len(handlers) + 1)
    sites = [make_site(index, members) for index in range(len(handlers) + 1)]
    threads = background_threads(2, "test")
    for site, handler in zip(sites[1:], handlers, strict=True):
        if isinstance(handler, HeaderChain):
            exchange = HeaderExchange(Sources(site.transport), handler, handler.set_bytes, apart=apart_in(threads))
            site.transport.add_routes(exchange.routes())
        else:
            site.transport.add_routes([web.get(HEADERS_PATH, handler)])
    sources = Sources(sites[0].transport)
    try:
        async with running(sites, members):
            await until(lambda: sites[0].links() == len(handlers))
            yield sources, HeaderExchange(sources, CHAIN, CHAIN.set_bytes, apart=apart_in(threads))
    finally:
        threads.shutdown()


async def followed(
    mine: HeaderExchange, *whom: int, anchor: Anchor = CHAIN.anchor, last: int = 300
) -> tuple[Anchor, list[CertifiedHeader]]:
    """Follow to a height, beginning again wherever a lie was found."""
    found: list[CertifiedHeader] = []
    for _ in range(20):
        try:
            async with aclosing(mine.follow(anchor, Height(last), whom)) as parts:
                async for after, part in parts:
                    anchor = after
                    found += [one.certified for one in part]
        except FalseAnswerError:
            continue
        return anchor, found
    raise AssertionError("twenty attempts were not enough")


def lying(
    change: Lie, *, heights: range = range(2, 301), sets: tuple[ValidatorSet, ...] = (FIRST, SECOND, THIRD)
) -> Handler:
    """Serve the right headers but for changes at some heights."""

    async def serve(request: web.Request) -> web.StreamResponse:
        span = requested_span(request)
        right = CHAIN.headers[span.first - 1 : span.last]
        said = [encode(change(one) if one.header.height in heights else one) for one in right]
        return web.Response(body=encode(HeaderRange(tuple(said), tuple(map(encode, sets)))))

    return serve


def few(certified: CertifiedHeader) -> CertifiedHeader:
    return _sealed(certified, certified.certificate.seals[:-1])


def twice(certified: CertifiedHeader) -> CertifiedHeader:
    seals = certified.certificate.seals
    return _sealed(certified, (*seals[:-1], seals[-2]))


def of_another_state(certified: CertifiedHeader) -> CertifiedHeader:
    header = msgspec.structs.replace(certified.header, state_root=bytes(32))
    return CertifiedHeader(header, certified.certificate)


def signed_by_strangers(certified: CertifiedHeader) -> CertifiedHeader:
    """A whole quorum signed this, of a set that never decided this height."""
    strangers = council("mallory", "trudy", "eve", "craig")
    header = msgspec.structs.replace(
        certified.header, validators_hash=strangers.hash, next_validators_hash=strangers.hash
    )
    return CertifiedHeader(header, certificate(header, strangers))


def forked() -> HeaderChain:
    """Members of the first set go on among themselves as if they had never been voted out at height 61."""
    fork = HeaderChain({1: FIRST}, CHAIN.headers[:60])
    while len(fork.headers) < 300:
        fork.grow()
    fork.reigns = CHAIN.reigns
    return fork


def _sealed(certified: CertifiedHeader, seals: tuple[object, ...]) -> CertifiedHeader:
    one = certified.certificate
    changed = QuorumCertificate(one.height, one.view, one.block_id, seals)  # type: ignore[arg-type]
    return CertifiedHeader(certified.header, changed)


async def test_headers_are_followed_through_changes_of_the_set() -> None:
    async with peers(CHAIN, CHAIN) as (sources, mine):
        anchor, found = await followed(mine, 1, 2)

    assert found == CHAIN.headers
    assert (anchor.height, anchor.validators) == (300, FIRST)
    assert sources.faults == 0


@pytest.mark.parametrize(
    "liar",
    [
        pytest.param(lying(few), id="no-quorum"),
        pytest.param(lying(twice), id="a-signer-twice"),
        pytest.param(lying(of_another_state), id="another-state-root"),
        pytest.param(
            lying(
                signed_by_strangers,
                sets=(FIRST, SECOND, THIRD, council("mallory", "trudy", "eve", "craig")),
            ),
            id="signed-by-strangers",
        ),
        pytest.param(forked(), id="signed-by-who-was-voted-out"),
        pytest.param(lying(lambda one: one, sets=()), id="sets-withheld"),
    ],
)
async def test_a_peer_with_false_headers_is_found_out(liar: Handler | HeaderChain) -> None:
    async with peers(liar, CHAIN, CHAIN) as (sources, mine):
        anchor, found = await followed(mine, 1, 2, 3)

    assert found == CHAIN.headers
    assert anchor.validators == FIRST
    assert sources.faults >= 1


async def test_a_set_that_did_not_come_along_does_not_save_its_headers_from_being_checked() -> None:
    """Whoever keeps a set back cannot have headers of its reign pass unsigned."""
    late = lying(few, heights=range(257, 280), sets=(FIRST,))

    async def early(request: web.Request) -> web.StreamResponse:
        return await (lying(lambda one: one) if requested_span(request).first == 1 else late)(request)

    async with peers(early, early, CHAIN) as (sources, mine):
        _, found = await followed(mine, 1, 2, 3)

    assert found == CHAIN.headers
    assert sources.faults >= 1


async def test_a_height_that_nobody_has_is_no_height() -> None:
    """Whoever claims a height must have a quorum's certificate for every header on the way."""
    async with peers(CHAIN, lying(few)) as (_, mine):
        with pytest.raises(NobodyHasItError):
            await followed(mine, 1, 2, last=10**9)
