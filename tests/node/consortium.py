"""A consortium of transports in one process, over real sockets and real TLS on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import msgspec

from ledger.digest import Digest, digest
from ledger.identity import SigningKey
from ledger.validators import Validator, ValidatorSet
from node.tls import TransportIdentity
from node.transport import Transport, TransportLimits, Worth
from node.wire import Channel

CHAIN: Digest = digest("test", b"chain")
LIMITS = TransportLimits(heartbeat_ms=200, silence_ms_max=2_000, penalty_ms_min=200)
PATIENCE_S = 10.0

Received = tuple[int, Channel, bytes]


async def until(condition: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> None:
    """Return when `condition` holds.

    Raises:
        TimeoutError: it does not within `patience_s`.
    """
    async with asyncio.timeout(patience_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.002)


def identity(index: int) -> TransportIdentity:
    return TransportIdentity(bytes([index + 1]) * 32)


def signing_key(index: int) -> SigningKey:
    return SigningKey(bytes([index + 101]) * 32)


def validator(index: int, address: str = "") -> Validator:
    return Validator(f"v{index}", signing_key(index).public_key, identity(index).public_key, address)


def validators(n: int) -> ValidatorSet:
    return ValidatorSet.of(tuple(validator(index) for index in range(n)))


@dataclass(slots=True)
class Site:
    """One node: its transport and what came."""

    index: int
    transport: Transport
    frames: asyncio.Queue[Received] = field(default_factory=asyncio.Queue)

    async def next(self) -> Received:
        return await asyncio.wait_for(self.frames.get(), PATIENCE_S)

    def links(self) -> int:
        return sum(status.connected for status in self.transport.peers())

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.transport.port}"


def make_site(
    index: int,
    members: ValidatorSet,
    *,
    chain_id: Digest = CHAIN,
    limits: TransportLimits = LIMITS,
    listen: tuple[str, int] | None = ("127.0.0.1", 0),
    boot_epoch: int = 1,
    cut_from: Iterable[int] = (),
    on_frame: Callable[[int, Channel, bytes], Worth | None] | None = None,
    on_peer_connected: Callable[[int], None] | None = None,
) -> Site:
    """A node that is not started yet; it never dials those it is `cut_from`."""
    frames: asyncio.Queue[Received] = asyncio.Queue()

    def keep(peer: int, channel: Channel, data: bytes) -> None:
        frames.put_nowait((peer, channel, data))

    transport = Transport(
        identity(index),
        chain_id,
        members,
        on_frame or keep,
        listen=listen,
        boot_epoch=boot_epoch,
        addresses={f"v{other}": "" for other in cut_from},
        limits=limits,
        on_peer_connected=on_peer_connected,
    )
    return Site(index, transport, frames)


def with_addresses(members: ValidatorSet, sites: Iterable[Site]) -> ValidatorSet:
    """The same set, with the addresses that the sites listen at."""
    by_name = {f"v{site.index}": site.address for site in sites if site.transport.port}
    return ValidatorSet(
        tuple(msgspec.structs.replace(member, address=by_name.get(member.name, "")) for member in members.members)
    )


@asynccontextmanager
async def running(sites: list[Site], members: ValidatorSet) -> AsyncIterator[ValidatorSet]:
    """Start all, let them know each other's ports, stop all."""
    try:
        for site in sites:
            await site.transport.start()
        known = with_addresses(members, sites)
        for site in sites:
            site.transport.update_validators(known)
        yield known
    finally:
        await asyncio.gather(*(site.transport.stop() for site in sites))


@asynccontextmanager
async def mesh(n: int, *, limits: TransportLimits = LIMITS) -> AsyncIterator[list[Site]]:
    """`n` nodes, everybody connected with everybody."""
    members = validators(n)
    sites = [make_site(index, members, limits=limits) for index in range(n)]
    async with running(sites, members):
        await until(lambda: all(site.links() == n - 1 for site in sites))
        yield sites


def quick(**changes: int) -> TransportLimits:
    """The test limits with some of them changed."""
    return replace(LIMITS, **changes)
