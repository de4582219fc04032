"""Why a round came out as it did, in numbers that anybody can compute again. One law: integers only, same everywhere.

`geometry` measures the updates and their aggregate (the exact Gram matrix, what was cut off, how the rule weighed
them), `retention` counts what the rule let through in the last rounds, `report` makes of both what people read, and
`sentences` says it in words. Nothing here is voted on: two nodes and an auditor agree because they compute the same.
"""

from fl.explanation.geometry import RoundGeometry, measure
from fl.explanation.report import RoundReport, UpdateReport, report
from fl.explanation.retention import RETENTION_ROUNDS, Retention, retention

__all__ = [
    "RETENTION_ROUNDS",
    "Retention",
    "RoundGeometry",
    "RoundReport",
    "UpdateReport",
    "measure",
    "report",
    "retention",
]
