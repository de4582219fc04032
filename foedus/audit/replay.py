"""The audit itself: from genesis to the last block. One law: it goes on as far as anything can be believed.

After a block that is not as it should be nothing later has a meaning, so the replay ends there; a difference in what is
stored *about* a block is listed and the replay goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter

from fl.application import FederatedLearning
from foedus.audit.aggregates import AggregateAuditor, RoundName
from foedus.audit.headers import PrunedHistory, audit_headers
from foedus.audit.history import Damage, History
from foedus.audit.report import Difference, Report
from genesis.document import initial_state
from ledger.block import CertifiedBlock
from ledger.chain import ChainDifferenceError, genesis_anchor, verify_chain
from ledger.fields import Height
from ledger.state_map import StateMap


def audit(
    history: History,
    *,
    source: str = "",
    on_block: Callable[[int, int], None] | None = None,
    explain: RoundName | None = None,
) -> Report:
    """Recompute a whole history and compare.

    Args:
        history: what somebody keeps; only read.
        source: where it came from, for the report.
        on_block: told (height, last height) after each block.
        explain: a round whose report is wanted as well.

    Returns:
        What was checked and what differs; differences are never raised.
    """
    started = perf_counter()
    document = history.document
    report = Report(document.chain_id, source)
    if history.pruned is not None:
        _audit_pruned(history, history.pruned, report, on_block)
        report.seconds = perf_counter() - started
        return report
    state = initial_state(document)
    anchor = genesis_anchor(document.chain_id, document.time_ms, state)
    auditor = AggregateAuditor(history.payload, report, explain)
    end: StateMap | None = state
    try:
        for verified in verify_chain(anchor, state, FederatedLearning(), _blocks(history)):
            report.blocks += 1
            report.transactions += len(verified.certified.block.transactions)
            for difference in history.block_differences(verified):
                report.add(difference)
            auditor.take(state, verified)
            end = state = verified.execution.state
            if on_block is not None:
                on_block(report.blocks, history.height)
    except ChainDifferenceError as error:
        transaction = None if error.transaction is None else error.transaction.hex()
        report.add(Difference("chain", error.reason, error.height, error.index, transaction))
        end = None
    except Damage as damage:
        report.add(damage.difference)
        end = None
    report.state_entries = len(state)
    for difference in history.end_differences(end):
        report.add(difference)
    report.seconds = perf_counter() - started
    return report


def _audit_pruned(
    history: History, pruned: PrunedHistory, report: Report, on_block: Callable[[int, int], None] | None
) -> None:
    try:
        audit_headers(pruned, history.document, report, on_block)
    except Damage as damage:
        report.add(damage.difference)
    for difference in history.end_differences(None):
        report.add(difference)


def _blocks(history: History) -> Iterator[CertifiedBlock]:
    for height in range(1, history.height + 1):
        yield history.certified_block(Height(height))
