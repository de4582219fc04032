"""A node's figures for Prometheus. One law: names say their unit, and labels take few values.

The node counts what happens as it happens; what can be read off its status is taken when somebody asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ledger.execution import Execution
from ledger.receipt import OK
from node.reason import CLOSED_ROUND, REASONS, Reason
from node.view import NodeStatus

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_LATENCY_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_AGGREGATION_SECONDS: Final = (0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120)


class NodeMetrics:
    """All figures of one node, in a registry of its own."""

    def __init__(self) -> None:
        """Begin at zero."""
        registry = CollectorRegistry()
        self._registry = registry
        self.height = Gauge("foedus_height", "Height of the last block.", registry=registry)
        self.view = Gauge("foedus_view", "View of the height that is being decided.", registry=registry)
        self.peers = Gauge("foedus_peers_connected", "Peers with a working connection.", registry=registry)
        self.stuck = Gauge("foedus_stuck", "1 while there is work and the chain does not go on.", registry=registry)
        self.peers_reachable = Gauge(
            "foedus_peers_reachable", "Peers that messages get to, if through others.", registry=registry
        )
        self.peers_needed = Gauge(
            "foedus_peers_needed", "Peers that it takes to decide, beside this node.", registry=registry
        )
        self.peer_up = Gauge("foedus_peer_up", "1 while messages get to the peer.", ["peer"], registry=registry)
        self.peer_clock = Gauge(
            "foedus_peer_clock_offset_seconds",
            "How far the peer's clock is ahead of this machine's.",
            ["peer"],
            registry=registry,
        )
        self.clock = Gauge(
            "foedus_clock_offset_seconds",
            "How far this machine's clock is ahead of most validators'.",
            registry=registry,
        )
        self.waiting = Gauge(
            "foedus_waiting_seconds", "How long there has been work without a new block.", registry=registry
        )
        self.behind = Gauge("foedus_blocks_behind", "Blocks that others have and this node has not.", registry=registry)
        self.validator = Gauge("foedus_validator", "1 while the node is a validator.", registry=registry)
        self.signs = Gauge("foedus_signs", "1 while it signs at the height that is decided.", registry=registry)
        self.reason = Gauge(
            "foedus_reason", "1 while the status names this reason of waiting.", ["code"], registry=registry
        )
        self.result_waiting = Gauge(
            "foedus_round_result_waiting_seconds",
            "How long the closed round that waits longest has been without a certified result.",
            registry=registry,
        )
        self.disk_free = Gauge("foedus_disk_free_bytes", "Free space for the data directory.", registry=registry)
        self.payload_bytes = Gauge("foedus_payload_bytes", "Stored and reserved payloads.", registry=registry)
        self.payload_bytes_max = Gauge("foedus_payload_bytes_max", "What they may take.", registry=registry)
        self.mempool_transactions = Gauge(
            "foedus_mempool_transactions", "Transactions that wait for a block.", registry=registry
        )
        self.mempool_bytes = Gauge("foedus_mempool_bytes", "Their encoded size.", registry=registry)
        self.boot_epoch = Gauge("foedus_boot_epoch", "How many times the node has been started.", registry=registry)
        self.blocks = Counter("foedus_blocks_total", "Blocks appended since the start.", registry=registry)
        self.transactions = Counter(
            "foedus_transactions_total", "Transactions in them.", ["outcome"], registry=registry
        )
        self.events = Counter("foedus_events_total", "Application events in them.", ["kind"], registry=registry)
        self.block_bytes = Counter("foedus_block_bytes_total", "Bytes of transactions in them.", registry=registry)
        self.block_interval = Histogram(
            "foedus_block_interval_seconds",
            "Time between a block and the one before, by their headers.",
            buckets=_LATENCY_SECONDS,
            registry=registry,
        )
        self.snapshots = Counter(
            "foedus_snapshots_total", "Certified states that took the place of blocks.", registry=registry
        )
        self.blocks_from = Gauge(
            "foedus_blocks_from", "Lowest height from which on every block is here.", registry=registry
        )
        self.sync_target = Gauge(
            "foedus_sync_target", "Height of the snapshot that is being fetched; 0 without one.", registry=registry
        )
        self.sync_headers = Gauge(
            "foedus_sync_headers", "Height up to which headers have been followed to it.", registry=registry
        )
        self.sync_false_answers = Gauge(
            "foedus_sync_false_answers", "False answers of peers to this node while it caught up.", registry=registry
        )
        self.view_changes = Counter("foedus_view_changes_total", "Views given up.", registry=registry)
        self.passed_over = Counter(
            "foedus_transactions_passed_over_total",
            "Proposals not voted for because they kept a waiting transaction off the chain.",
            registry=registry,
        )
        self.evidence = Counter("foedus_evidence_total", "Proven misbehaviour of validators.", registry=registry)
        self.messages_dropped = Counter(
            "foedus_messages_dropped_total", "Consensus messages that were not used.", ["reason"], registry=registry
        )
        self.aggregation = Histogram(
            "foedus_aggregation_seconds",
            "Time to aggregate a round.",
            buckets=_AGGREGATION_SECONDS,
            registry=registry,
        )
        self.requests = Histogram(
            "foedus_http_request_seconds",
            "Time to answer a request of the HTTP API.",
            ["method", "route", "status"],
            buckets=_LATENCY_SECONDS,
            registry=registry,
        )
        self._last_block_ms: int | None = None

    def take_block(self, execution: Execution) -> None:
        """Count a block that has been appended."""
        header = execution.header
        self.blocks.inc()
        self.block_bytes.inc(sum(len(raw) for raw in execution.transactions))
        for receipt in execution.receipts[:-1]:
            self.transactions.labels("accepted" if receipt.code == OK else "refused").inc()
        for receipt in execution.receipts:
            for event in receipt.events:
                self.events.labels(event.kind).inc()
        if self._last_block_ms is not None:
            self.block_interval.observe((header.time_ms - self._last_block_ms) / 1000)
        self._last_block_ms = header.time_ms

    def take_status(self, status: NodeStatus) -> None:
        """Read off what the status says."""
        self.height.set(status.height)
        self.view.set(status.view)
        self.peers.set(sum(peer.connected for peer in status.peers))
        self.stuck.set(bool(status.stuck))
        self.mempool_transactions.set(status.mempool_transactions)
        self.mempool_bytes.set(status.mempool_bytes)
        self.boot_epoch.set(status.boot_epoch)
        self.blocks_from.set(status.blocks_from)
        self.sync_target.set(status.sync.target)
        self.sync_headers.set(status.sync.headers)
        self.sync_false_answers.set(status.sync.false_answers)
        self.waiting.set(status.waiting_ms / 1000)
        self.behind.set(status.behind)
        self.validator.set(status.validator)
        self.signs.set(status.signs)
        self.disk_free.set(status.disk_free_bytes)
        self.payload_bytes.set(status.payload_bytes)
        self.payload_bytes_max.set(status.payload_bytes_max)
        self._take_peers(status)
        self._take_reasons(status.reasons)

    def _take_peers(self, status: NodeStatus) -> None:
        self.peers_reachable.set(sum(peer.reachable for peer in status.peers))
        self.peers_needed.set(max(0, status.quorum - 1))
        self.clock.set(nan if status.clock_offset_ms is None else status.clock_offset_ms / 1000)
        self.peer_up.clear()
        self.peer_clock.clear()
        for peer in status.peers:
            self.peer_up.labels(peer.name).set(peer.reachable)
            if peer.clock_offset_ms is not None:
                self.peer_clock.labels(peer.name).set(peer.clock_offset_ms / 1000)

    def _take_reasons(self, reasons: Sequence[Reason]) -> None:
        codes = {reason.code for reason in reasons}
        for code in REASONS:
            self.reason.labels(code).set(code in codes)
        closed = [one.milliseconds or 0 for one in reasons if one.code in CLOSED_ROUND]
        self.result_waiting.set(max(closed, default=0) / 1000)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
