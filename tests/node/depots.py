"""A consortium whose nodes keep payloads: real transports, real files."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from ledger.payload import CHUNK_BYTES
from ledger.validators import ValidatorSet
from node.payloads import PayloadExchange, PayloadStore
from node.transport import TransportLimits
from node.wire import Channel
from tests.node.consortium import CHAIN, LIMITS, Site, make_site, signing_key, until, validators, with_addresses

QUOTA = 64 << 20


def make_payload(chunks: float, *, seed: int = 1) -> bytes:
    """Salt and words on the grid: `chunks` times 1 MiB together."""
    size = int(chunks * CHUNK_BYTES) & ~1
    source = random.Random(seed)
    words = [source.randint(-8191, 8191).to_bytes(2, "little", signed=True) for _ in range(4096)]
    return source.randbytes(32) + (b"".join(words) * (size // 8192 + 1))[: size - 32]


class Depot:
    """One node: transport, store and exchange."""

    def __init__(
        self,
        index: int,
        path: Path,
        members: ValidatorSet,
        *,
        cut_from: Iterable[int] = (),
        listen: tuple[str, int] | None = ("127.0.0.1", 0),
        limits: TransportLimits = LIMITS,
        owner_bytes_max: int = QUOTA,
    ) -> None:
        self.index = index
        self.path = path
        self.members = members
        self.owner_bytes_max = owner_bytes_max
        self.site: Site = make_site(
            index,
            members,
            on_frame=self._on_frame,
            on_peer_connected=self._on_peer_connected,
            cut_from=cut_from,
            listen=listen,
            limits=limits,
        )
        self.store: PayloadStore
        self.exchange: PayloadExchange

    async def start(self) -> None:
        self.store = await PayloadStore.open(self.path, bytes_max=QUOTA, owner_bytes_max=self.owner_bytes_max)
        self.exchange = PayloadExchange(self.site.transport, self.store, signing_key(self.index), CHAIN, self.members)
        await self.site.transport.start()
        await self.exchange.start()

    async def stop(self) -> None:
        await self.exchange.stop()
        await self.site.transport.stop()
        await self.store.close()

    def _on_peer_connected(self, peer: int) -> None:
        self.exchange.on_peer_connected(peer)

    def _on_frame(self, peer: int, channel: Channel, data: bytes) -> None:
        if channel is Channel.PAYLOAD:
            self.exchange.on_frame(peer, data)


def know_each_other(depots: Iterable[Depot]) -> None:
    """Tell every transport the ports that all listen at."""
    depots = list(depots)
    known = with_addresses(depots[0].members, [depot.site for depot in depots])
    for depot in depots:
        depot.site.transport.update_validators(known)


@asynccontextmanager
async def open_depots(depots: list[Depot]) -> AsyncIterator[list[Depot]]:
    """Start all and let them know each other; stop all."""
    async with AsyncExitStack() as stack:
        for depot in depots:
            await depot.start()
            stack.push_async_callback(depot.stop)
        know_each_other(depots)
        await until(lambda: all(peer.reachable for depot in depots for peer in depot.site.transport.peers()))
        yield depots


@asynccontextmanager
async def consortium(n: int, path: Path) -> AsyncIterator[list[Depot]]:
    """`n` nodes, everybody connected with everybody."""
    members = validators(n)
    async with open_depots([Depot(index, path / str(index), members) for index in range(n)]) as depots:
        yield depots


async def everywhere(depots: Iterable[Depot], payload_id: bytes) -> None:
    """Return when all these nodes have the payload."""
    depots = list(depots)
    await until(lambda: all(depot.store.has(payload_id) for depot in depots))  # type: ignore[arg-type]
