"""When a snapshot takes the place of blocks, and of which height, over real TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from ledger.block import block_id
from ledger.chain import Anchor, CertifiedHeader
from ledger.fields import Height
from ledger.state_map import StateMap
from node.background import apart_in, background_threads
from node.store import HeaderAhead
from node.sync.headers import HeaderExchange
from node.sync.kept import KeptStates
from node.sync.progress import SyncProgress
from node.sync.snapshot import Snapshot, Snapshots, SnapshotUse
from node.sync.sources import Sources
from node.sync.state import StateExchange
from tests.node.consortium import make_site, running, until, validators
from tests.node.header_chain import HeaderChain, certificate, council

OLD, NEW = council("ash", "beech", "cedar", "elm"), council("fir", "hazel", "larch", "oak")
STATE = StateMap.build((b"key/%d" % number, b"value") for number in range(100))
HEIGHT = Height(64)
CHAIN = HeaderChain.of(63, {1: OLD, 30: NEW})
_plain = CHAIN.grow()
_header = msgspec.structs.replace(_plain.header, state_root=STATE.root)
CHAIN.headers[-1] = CertifiedHeader(_header, certificate(_header, NEW))


@dataclass
class NewNode:
    """What a snapshot is installed in."""

    progress: SyncProgress
    sources: Sources
    snapshots: Snapshots = field(init=False)
    installed: list[Snapshot] = field(default_factory=list)
    ahead: list[HeaderAhead] = field(default_factory=list)

    def anchor_ahead(self) -> Anchor:
        if not self.ahead:
            return CHAIN.anchor
        header, named = self.ahead[-1].certified.header, [one.named for one in self.ahead if one.named is not None]
        return Anchor(header.chain_id, header.height, block_id(header), header.time_ms, (named or [OLD])[-1])

    def keep_ahead(self, headers: Sequence[HeaderAhead]) -> None:
        self.ahead.extend(headers)

    def header_ahead(self, height: Height) -> CertifiedHeader | None:
        return next((one.certified for one in self.ahead if one.certified.header.height == height), None)

    async def install(self, snapshot: Snapshot) -> bool:
        self.installed.append(snapshot)
        return True


@asynccontextmanager
async def new_node(*kept: KeptStates, use: SnapshotUse, one_honest: int = 2) -> AsyncIterator[NewNode]:
    """Run a node, validator 0, among peers that keep these states."""
    members, threads = validators(len(kept) + 1), background_threads(2, "test")
    sites, apart = [make_site(index, members) for index in range(len(kept) + 1)], apart_in(threads)
    exchanges = []
    for site, states in zip(sites, (KeptStates(Height(0), StateMap.empty()), *kept), strict=True):
        sources = Sources(site.transport)
        headers = HeaderExchange(sources, CHAIN, CHAIN.set_bytes, apart=apart)
        state = StateExchange(sources, states, lambda: Height(1), apart=apart)
        site.transport.add_routes([*headers.routes(), *state.routes()])
        exchanges.append((sources, headers, state))
    sources, headers, state = exchanges[0]
    progress = SyncProgress()
    node = NewNode(progress, sources)
    node.snapshots = snapshots = Snapshots(
        headers,
        state,
        node,
        use=use,
        height=lambda: Height(0),
        one_honest=lambda: one_honest,
        peers=lambda: range(1, len(sites)),
        install=node.install,
        progress=progress,
    )
    try:
        async with running(sites, members):
            await until(lambda: sites[0].links() == len(kept))
            task = asyncio.create_task(snapshots.run())
            yield node
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    finally:
        threads.shutdown()


def kept() -> KeptStates:
    return KeptStates(HEIGHT, STATE)


async def test_a_new_node_follows_the_headers_and_takes_the_state_under_them() -> None:
    async with new_node(kept(), kept(), use="first") as node:
        assert node.snapshots.comes_first
        await until(lambda: not node.snapshots.is_wanted)

    (snapshot,) = node.installed
    assert snapshot.certified == CHAIN.headers[-1]
    assert dict(snapshot.state.items()) == dict(STATE.items())
    assert [one.certified for one in node.ahead] == CHAIN.headers
    assert node.sources.faults == 0


async def test_headers_that_were_followed_before_are_not_asked_for_again() -> None:
    async with new_node(kept(), kept(), use="needed") as node:
        node.keep_ahead([HeaderAhead(one, NEW if one.header.height == 29 else None) for one in CHAIN.headers[:40]])
        node.snapshots.missing(Height(1), gone=2)
        await until(lambda: not node.snapshots.is_wanted)

    assert [one.certified for one in node.ahead] == CHAIN.headers
    assert len(node.installed) == 1


async def test_fewer_than_f_plus_1_peers_cannot_make_a_node_skip_the_past() -> None:
    async with new_node(kept(), kept(), use="needed") as node:
        node.snapshots.missing(Height(1), gone=1)
        assert not node.snapshots.is_wanted
        assert node.progress.pruned_at == 1
        node.snapshots.missing(Height(1), gone=2)
        assert node.snapshots.is_wanted


async def test_who_wants_to_execute_everything_takes_no_snapshot() -> None:
    async with new_node(kept(), kept(), use="never") as node:
        node.snapshots.missing(Height(1), gone=2)
        assert not node.snapshots.is_wanted
        assert node.progress.pruned_at == 1


async def test_a_state_that_is_not_the_certified_one_is_never_installed() -> None:
    lie = KeptStates(HEIGHT, STATE.update({b"mine": b"all"}))
    async with new_node(lie, kept(), kept(), use="first") as node:
        await until(lambda: not node.snapshots.is_wanted)

    assert [one.state.root for one in node.installed] == [STATE.root]
    assert node.sources.faults >= 1


async def test_a_new_chain_has_nothing_to_begin_with() -> None:
    nothing = KeptStates(Height(0), StateMap.empty())
    async with new_node(nothing, nothing, use="first") as node:
        await until(lambda: not node.snapshots.is_wanted)

    assert node.installed == []
