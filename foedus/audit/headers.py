"""What can be audited of a chain whose past is pruned. One law: it is said that nothing was executed.

Headers and certificates are all there, so they are followed from genesis through every change of the validator set; the
state that is stored must have the root that the last header says, and each block that is here the transactions and the
receipts of its header. That is as good as the word of the quorums that signed, and no better: whoever wants the blocks
executed and the aggregates computed again takes a node that keeps all, or an export of one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from foedus.audit.report import Difference, Report
from genesis.document import GenesisDocument, initial_state
from ledger.block import CertifiedBlock
from ledger.chain import Anchor, CertifiedHeader, ChainDifferenceError, genesis_anchor, verify_headers
from ledger.execution import transactions_root
from ledger.fields import Height
from ledger.merkle import merkle_root
from ledger.reigns import set_of
from ledger.state_map import StateMap


class PrunedHistory(Protocol):
    """A chain of which the lower blocks are headers alone."""

    @property
    def blocks_from(self) -> Height:
        """The lowest height from which on every block is here."""
        ...

    @property
    def height(self) -> Height:
        """The last block's."""
        ...

    def certified_header(self, height: Height) -> CertifiedHeader:
        """Return a header; raises `Damage` when it is missing or does not decode."""
        ...

    def certified_block(self, height: Height) -> CertifiedBlock:
        """Return a block from `blocks_from` on; raises `Damage`."""
        ...

    def receipts(self, height: Height) -> tuple[bytes, ...]:
        """Return the encoded receipts of a block; raises `Damage`."""
        ...

    def stored_state(self) -> StateMap:
        """Return the state as it is stored, whatever its root."""
        ...


def audit_headers(
    history: PrunedHistory,
    document: GenesisDocument,
    report: Report,
    on_block: Callable[[int, int], None] | None,
) -> None:
    """Check what is there; differences are added to the report.

    Raises:
        Damage: something does not read back.
    """
    report.blocks_from = history.blocks_from
    state = history.stored_state()
    report.state_entries = len(state)
    anchor = genesis_anchor(document.chain_id, document.time_ms, initial_state(document))
    headers = (history.certified_header(Height(height)) for height in range(1, history.height + 1))
    try:
        for after in verify_headers(anchor, headers, lambda one: set_of(state, one)):
            report.headers, anchor = report.headers + 1, after
            if after.height >= history.blocks_from:
                _require_body(history, after, report)
            if on_block is not None:
                on_block(after.height, history.height)
    except ChainDifferenceError as error:
        report.add(Difference("chain", error.reason, error.height))
        return
    last = history.certified_header(history.height).header
    if state.root != last.state_root:
        detail = f"the entries have root {state.root.hex()}, the last header says {last.state_root.hex()}"
        report.add(Difference("state", detail, history.height))


def _require_body(history: PrunedHistory, anchor: Anchor, report: Report) -> None:
    header = history.certified_header(anchor.height).header
    certified = history.certified_block(anchor.height)
    roots = (
        ("transactions", transactions_root(certified.block.transactions), header.transactions_root),
        ("receipts", merkle_root(history.receipts(anchor.height)), header.receipts_root),
    )
    for name, found, needed in roots:
        if found != needed:
            detail = f"the {name} have root {found.hex()}, the header says {needed.hex()}"
            report.add(Difference("row", detail, anchor.height))
