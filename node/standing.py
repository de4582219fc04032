"""How a node is doing, in words and figures. One law: a chain that has work and does not go on says why."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import TYPE_CHECKING, Final

from node.view import NodeStatus, PeerLink

if TYPE_CHECKING:
    from node.node import Node

STUCK_MS_MIN: Final = 5_000
"""A chain with work whose last block is older than this is called stuck."""


def status_of(node: Node) -> NodeStatus:
    """Return the node's status."""
    chain = node.chain
    links = tuple(
        PeerLink(name=peer.name, connected=peer.connected, round_trip_ms=peer.round_trip_ms)
        for peer in node.transport.peers()
    )
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
        peers=links,
        mempool_transactions=len(node.mempool),
        mempool_bytes=node.mempool.size_bytes,
        commit_ms=median(node.commit_ms) if node.commit_ms else None,
        stuck=_why_stuck(node, links),
    )


def program_version() -> str:
    """Return the installed version; "source" when the tree is run without being installed."""
    try:
        return version("foedus")
    except PackageNotFoundError:
        return "source"


def _why_stuck(node: Node, links: Sequence[PeerLink]) -> str:
    waited_ms = node.driver.waiting_ms
    if waited_ms < STUCK_MS_MIN:
        return ""
    quorum, up = node.chain.validators.quorum, 1 + sum(link.connected for link in links)
    if up < quorum:
        away = ", ".join(link.name for link in links if not link.connected)
        return f"{up} of {quorum} validators that a quorum needs are connected; away: {away}"
    if node.results.divergent is not None:
        task, number = node.results.divergent
        return f"a quorum computed another result of {task}/{number} than this node: compare versions and machines"
    return f"view {node.driver.view} of height {node.chain.next_height} has not decided for {waited_ms // 1000} s"
