"""What a replica reports beside what it does. One law: a report is counted and logged, and changes nothing here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import structlog

from consensus import Drop, DropReason, Effect, Evidence, Notice, NoticeKind
from ledger.fields import Height, View
from ledger.validators import ValidatorSet
from node.metrics import NodeMetrics
from node.overlooked import TurnedDown
from node.transport import Worth

_FALSE: Final = frozenset({DropReason.MALFORMED, DropReason.BAD_SIGNATURE, DropReason.NOT_A_MEMBER})

log = structlog.get_logger(__name__)


class Reports:
    """Takes drops, evidence and notices."""

    def __init__(
        self,
        metrics: NodeMetrics,
        on_evidence: Callable[[Evidence], None],
        validators: Callable[[], ValidatorSet],
        clock_ms: Callable[[], int],
    ) -> None:
        """Count in `metrics`.

        Args:
            metrics: of the node.
            on_evidence: told when a validator has signed two things of which an honest one signs one.
            validators: the set that decides the next height.
            clock_ms: the time of day.
        """
        self._metrics: Final = metrics
        self._on_evidence: Final = on_evidence
        self._validators: Final = validators
        self._clock_ms: Final = clock_ms
        self.turned_down: TurnedDown | None = None
        """The last proposal that was not waited for, since it passed a transaction over (R10)."""

    def take(self, report: Drop | Evidence | Notice) -> None:
        """Count and log a report."""
        match report:
            case Drop(kind, sender, reason, detail):
                self._metrics.messages_dropped.labels(reason.value).inc()
                log.debug("message.dropped", kind=kind, sender=sender, reason=reason.value, detail=detail)
            case Evidence(offender):
                self._metrics.evidence.inc()
                self._on_evidence(report)
                log.error("consensus.evidence", offender=offender)
            case Notice(kind, height, view, detail):
                if kind is NoticeKind.VIEW_CHANGE_ASKED:
                    self._metrics.view_changes.inc()
                if kind is NoticeKind.TRANSACTION_PASSED_OVER:
                    self._note_passed_over(height, view, detail)
                log.info("consensus.notice", kind=kind.value, height=height, view=view, detail=detail)

    def _note_passed_over(self, height: Height, view: View, detail: str) -> None:
        self._metrics.passed_over.inc()
        validators = self._validators()
        primary = validators.members[validators.primary(height, view)].name
        self.turned_down = TurnedDown(self._clock_ms(), height, view, primary, detail)


def worth_of(effects: Sequence[Effect]) -> Worth:
    """Return what a message was worth that had these effects."""
    drops = [effect.reason for effect in effects if isinstance(effect, Drop)]
    if not effects:
        return Worth.COUNTED
    if not drops:
        return Worth.USEFUL
    return Worth.FALSE if _FALSE & set(drops) else Worth.KNOWN
