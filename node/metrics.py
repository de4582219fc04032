"""A node's figures for Prometheus. One law: names say their unit, and labels take few values.

The node counts what happens as it happens; what can be read off its status is taken when somebody asks.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ledger.execution import Execution
from ledger.receipt import OK
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
        self.view_changes = Counter("foedus_view_changes_total", "Views given up.", registry=registry)
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

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
