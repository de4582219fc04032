"""What an audit found. One law: the first difference is named so that somebody can look it up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from genesis.reading import Json
from ledger.digest import Digest
from node.api.report_answers import RoundReportAnswer

DIFFERENCES_MAX: Final = 100
"""Differences that are listed; all are counted."""

Kind = Literal["chain", "row", "state", "payload", "aggregate", "database"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not what it should be."""

    kind: Kind
    """`chain`: the block itself. `row`: what is stored about it. `state`: the stored state. `payload`: the bytes of an
    update or model. `aggregate`: a model that is not what its inputs give. `database`: the file around the rows."""

    detail: str
    """What was needed and what came."""

    height: int | None = None
    index: int | None = None
    """Place of the transaction in the block, from 0."""

    transaction: str | None = None
    """Its id in hex."""

    def to_json(self) -> dict[str, Json]:
        """Return the difference for scripts."""
        return {
            "kind": self.kind,
            "height": self.height,
            "index": self.index,
            "transaction": self.transaction,
            "detail": self.detail,
        }

    def __str__(self) -> str:
        place = "" if self.height is None else f"block {self.height}"
        if self.transaction is not None:
            place += f", transaction {self.index} ({self.transaction})"
        return f"{place}: {self.detail}" if place else self.detail


@dataclass(slots=True)
class Report:
    """What was checked, and what differs."""

    chain_id: Digest
    source: str
    blocks: int = 0
    """Executed again, with their certificates."""

    headers: int = 0
    """Followed by their certificates alone, since the past is pruned here and nothing could be executed."""

    blocks_from: int = 1
    """The lowest height from which on every block is here; above 1 nothing was executed."""

    transactions: int = 0
    updates: int = 0
    """Accepted updates among them."""

    aggregates: int = 0
    """Round results computed again from their updates."""

    aggregates_skipped: int = 0
    """Round results whose updates are not here (erased, or an export): certified, but not computed again."""

    payloads: int = 0
    """Updates and models whose bytes were here and were hashed again."""

    state_entries: int = 0
    differences: int = 0
    found: list[Difference] = field(default_factory=list)
    """The first `DIFFERENCES_MAX`, in the order of the chain."""

    seconds: float = 0.0
    explained: RoundReportAnswer | None = None
    """Report of the round that was asked for; None when none was, or when its words are not here."""

    def add(self, difference: Difference) -> None:
        """Count a difference and, while there is room, list it."""
        self.differences += 1
        if len(self.found) < DIFFERENCES_MAX:
            self.found.append(difference)

    def to_json(self) -> dict[str, Json]:
        """Return the report for scripts."""
        found: list[Json] = [difference.to_json() for difference in self.found]
        return {
            "chain_id": self.chain_id.hex(),
            "source": self.source,
            "blocks": self.blocks,
            "headers": self.headers,
            "blocks_from": self.blocks_from,
            "transactions": self.transactions,
            "updates": self.updates,
            "aggregates": self.aggregates,
            "aggregates_skipped": self.aggregates_skipped,
            "payloads": self.payloads,
            "state_entries": self.state_entries,
            "differences": self.differences,
            "first_difference": found[0] if found else None,
            "found": found,
            "round_report": None if self.explained is None else msgspec.to_builtins(self.explained),
            "seconds": round(self.seconds, 3),
        }
