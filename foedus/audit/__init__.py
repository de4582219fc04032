"""The offline audit: everything a node stored is recomputed from the genesis document. One law: it only reads.

`history` says what is audited (a node's data directory or an export), `replay` goes through it and recomputes,
`aggregates` runs every round's aggregation again, `report` holds what was checked and what differs.

    >>> with open_history(Path("data")) as history:      # doctest: +SKIP
    ...     report = audit(history)
"""

from foedus.audit.history import Damage, History, HistoryError, open_history
from foedus.audit.replay import audit
from foedus.audit.report import Difference, Report

__all__ = ["Damage", "Difference", "History", "HistoryError", "Report", "audit", "open_history"]
