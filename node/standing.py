"""How a node is doing, in words and figures. One law: a chain that has work and does not go on says why."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import TYPE_CHECKING

from node.clocks import own_offset_ms
from node.diagnosis import reasons_of, why_stuck
from node.space import free_bytes
from node.view import NodeStatus, PeerLink, SyncStatus

if TYPE_CHECKING:
    from node.node import Node


def status_of(node: Node) -> NodeStatus:
    """Return the node's status."""
    chain, waiting_ms = node.chain, node.driver.waiting_ms
    links = tuple(
        PeerLink(
            name=peer.name,
            connected=peer.connected,
            reachable=peer.reachable,
            address=peer.address,
            round_trip_ms=peer.round_trip_ms,
            clock_offset_ms=peer.clock_offset_ms,
        )
        for peer in node.transport.peers()
        if not peer.is_guest
    )
    reasons, standing, usage = reasons_of(node, links), node.driver.standing, node.payloads.usage()
    return NodeStatus(
        name=node.config.node.name,
        chain_id=node.chain_id.hex(),
        version=program_version(),
        height=chain.height,
        tip_id=chain.tip_id.hex(),
        tip_time_ms=chain.tip_time_ms,
        view=node.driver.view,
        validator=chain.validators.index_of(node.key.public_key) is not None,
        boot_epoch=node.store.boot_epoch,
        blocks_from=node.store.blocks_from,
        sync=_sync_status(node),
        peers=links,
        mempool_transactions=len(node.mempool),
        mempool_bytes=node.mempool.size_bytes,
        commit_ms=median(node.commit_ms) if node.commit_ms else None,
        stuck=why_stuck(reasons, waiting_ms),
        waiting_ms=waiting_ms,
        quorum=chain.validators.quorum,
        behind=max(0, standing.goal - standing.height),
        signs=standing.can_sign,
        clock_offset_ms=own_offset_ms(links),
        disk_free_bytes=free_bytes(node.config.node.data_dir),
        payload_bytes=usage.used_bytes,
        payload_bytes_max=usage.bytes_max,
        reasons=reasons,
    )


def _sync_status(node: Node) -> SyncStatus:
    sync = node.core.sync
    return SyncStatus(
        phase=sync.phase,
        target=sync.target,
        headers=sync.at,
        headers_per_s=round(sync.per_second, 1),
        state_entries=sync.entries,
        pruned_at=sync.pruned_at,
        false_answers=node.core.blocks.sources.faults,
    )


def program_version() -> str:
    """Return the installed version; "source" when the tree is run without being installed."""
    try:
        return version("foedus")
    except PackageNotFoundError:
        return "source"
