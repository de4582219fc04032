"""What keeps this node and its chain from going on. One law: it only looks, and the graver reason comes first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from time import time_ns
from typing import TYPE_CHECKING, Final

from consensus import Awaited, Standing
from ledger.validators import ValidatorSet
from node.clocks import clock_reasons
from node.overlooked import passed_over
from node.reason import Reason, listed
from node.round_reasons import closed_rounds, open_rounds
from node.space import free_bytes, space_reasons
from node.sync.progress import SyncProgress
from node.sync.snapshot import SnapshotUse
from node.view import PeerLink

if TYPE_CHECKING:
    from node.node import Node

PATIENCE_MS: Final = 5_000
"""What takes longer than this has a reason."""

_GRAVITY: Final = ("chain", "node", "round", "nothing")
_CERTIFICATES: Final = {
    Awaited.PREPARED: "prepared",
    Awaited.COMMIT: "commit",
    Awaited.VIEW_CHANGE: "view-change",
}


def reasons_of(node: Node, links: Sequence[PeerLink]) -> tuple[Reason, ...]:
    """Return everything that something waits for, the graver first.

    Args:
        node: the node.
        links: its peers.
    """
    validators, parameters = node.chain.validators, node.chain.parameters
    found = chain(
        quorum_reasons(links, validators),
        height_reasons(node.driver.standing, validators, node.driver.waiting_ms),
        sync_reasons(node.core.sync, node.config.sync.snapshot),
        passed_over(node.driver.reports.turned_down, time_ns() // 1_000_000),
        _signing(node),
        _divergence(node.results.divergent),
        clock_reasons(links, parameters.clock_drift_ms_max),
        space_reasons(free_bytes(node.config.node.data_dir), node.payloads.usage(), node.config.node.data_dir),
        closed_rounds(node.results.progress(), validators, node.payloads, time_ns() // 1_000_000, PATIENCE_MS),
        open_rounds(node.chain.state, node.store),
    )
    return tuple(sorted(found, key=lambda reason: _GRAVITY.index(reason.stops)))


def why_stuck(reasons: Sequence[Reason], waiting_ms: int) -> str:
    """Return why the chain does not go on though there is work; empty when it does."""
    if waiting_ms < PATIENCE_MS:
        return ""
    stopping = [reason.detail for reason in reasons if reason.stops in {"chain", "node"}]
    return "; ".join(stopping) or f"no block for {waiting_ms // 1000} s though there is work"


def quorum_reasons(links: Sequence[PeerLink], validators: ValidatorSet) -> Iterator[Reason]:
    """Say who is away when those who can be reached are no quorum."""
    up = 1 + sum(link.reachable for link in links)
    away = tuple(link.name for link in links if not link.reachable)
    if up < validators.quorum:
        yield Reason(
            code="quorum.away",
            stops="chain",
            detail=f"{up} of {validators.quorum} validators that a quorum needs are connected; away: {listed(away)}",
            remedy=f"have {validators.quorum - up} of them back: start their nodes or mend the network between you; "
            "nothing that was decided is lost, and the chain goes on by itself",
            names=away,
        )


def height_reasons(standing: Standing, validators: ValidatorSet, waiting_ms: int) -> Iterator[Reason]:
    """Say what the next block waits for, and whose signatures.

    Args:
        standing: of the height that is being decided.
        validators: who decides it.
        waiting_ms: how long there has been work.
    """
    height, behind = standing.height, standing.goal - standing.height
    if behind > 0:
        yield Reason(
            code="chain.behind",
            stops="node",
            detail=f"this node decides height {height} while the others are at {standing.goal}: {behind} blocks behind",
            remedy="wait: it fetches them; if the number does not fall, see to the connections",
            height=height,
        )
    if waiting_ms < PATIENCE_MS or behind > 0:
        return
    names = [member.name for member in validators.members]
    if standing.awaited is Awaited.PROPOSAL:
        yield _no_proposal(standing, names[standing.primary], waiting_ms)
    elif standing.awaited is Awaited.BODY:
        yield _no_block(standing, tuple(names[signer] for signer in standing.signers), waiting_ms)
    else:
        yield _no_certificate(standing, names, validators.quorum, waiting_ms)


def sync_reasons(sync: SyncProgress, use: SnapshotUse) -> Iterator[Reason]:
    """Say that blocks are gone, and how the snapshot comes that takes their place.

    Args:
        sync: how it goes.
        use: when a snapshot may take the place of blocks.
    """
    if sync.phase:
        figures = (
            f"{sync.at} headers followed" if sync.phase == "headers" else f"{sync.entries} entries of the state here"
        )
        yield Reason(
            code="snapshot.fetching",
            stops="node",
            detail=f"the node fetches the state after height {sync.target}: {figures}",
            remedy="wait; if the number does not rise, see to the connections",
            height=sync.target,
        )
    if sync.pruned_at is not None:
        remedy = "wait: the node fetches a certified state instead, as soon as f + 1 peers say so"
        if use == "never":
            remedy = 'set sync.snapshot = "needed", or bring back a peer whose blocks_from is low enough'
        yield Reason(
            code="blocks.pruned",
            stops="node",
            detail=f"block {sync.pruned_at}, which comes next here, is pruned by the peers that answered",
            remedy=remedy,
            height=sync.pruned_at,
        )


def _no_proposal(standing: Standing, primary: str, waiting_ms: int) -> Reason:
    return Reason(
        code="proposal.missing",
        stops="chain",
        detail=f"height {standing.height} has waited {waiting_ms // 1000} s for a block of {primary}, whose turn it is "
        f"in view {standing.view}",
        remedy=f"ask {primary}'s operator for `foedus doctor`; the others pass on to the next in turn by themselves",
        names=(primary,),
        height=standing.height,
        view=standing.view,
        milliseconds=waiting_ms,
    )


def _no_block(standing: Standing, holders: tuple[str, ...], waiting_ms: int) -> Reason:
    return Reason(
        code="block.missing",
        stops="node",
        detail=f"block {standing.height} is decided, and its bytes have not come; they are at {listed(holders)}",
        remedy="see to the connections to them; the node goes on asking",
        names=holders,
        height=standing.height,
        view=standing.view,
        milliseconds=waiting_ms,
    )


def _no_certificate(standing: Standing, names: Sequence[str], quorum: int, waiting_ms: int) -> Reason:
    signed = tuple(names[signer] for signer in standing.signers)
    missing = tuple(name for name in names if name not in signed)
    certificate = _CERTIFICATES[standing.awaited]
    return Reason(
        code="certificate.missing",
        stops="chain",
        detail=f"the {certificate} certificate of height {standing.height}, view {standing.view} has {len(signed)} of "
        f"{quorum} signatures: {listed(signed)}; missing: {listed(missing)}",
        remedy="ask the missing ones for `foedus doctor`: their nodes are away, their clock is off, or they refuse the "
        "block (their log says why)",
        names=missing,
        signed=signed,
        certificate=certificate,
        height=standing.height,
        view=standing.view,
        milliseconds=waiting_ms,
    )


def _signing(node: Node) -> Iterator[Reason]:
    standing = node.driver.standing
    if node.chain.validators.index_of(node.key.public_key) is None:
        yield Reason(
            code="validator.none",
            stops="node",
            detail=f"{node.config.node.name} is no validator of height {standing.height}: it follows and signs nothing",
            remedy="if it should be one, ask the other members: the set was changed by vote",
            height=standing.height,
        )
    if node.observing_until_ms is not None:
        yield Reason(
            code="signing.observing",
            stops="node",
            detail="the node was started with --observe-first and signs nothing until a block of after "
            f"{node.observing_until_ms} ms since 1970",
            remedy="wait for the next block; if nothing waits for one, any transaction makes one",
            height=standing.height,
        )
    if standing.seen_elsewhere:
        yield Reason(
            code="signing.elsewhere",
            stops="node",
            detail=f"a word of height {standing.height} came back, signed with this node's key and not by this node: "
            "the key is in use twice, or the data directory is an older copy",
            remedy="stop the other process; after a restored copy it ends with the next block",
            height=standing.height,
        )


def _divergence(divergent: tuple[str, int] | None) -> Iterator[Reason]:
    if divergent is not None:
        task, number = divergent
        yield Reason(
            code="result.divergent",
            stops="node",
            detail=f"a quorum computed another result of {task}/{number} than this node",
            remedy="compare versions and machines: this build or its hardware is faulty; `foedus audit` tells",
            task=task,
            round=number,
        )
