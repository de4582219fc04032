"""Which rule a task uses, with its parameters. One law: a spec that exists has a meaning.

Ids are versioned: whatever changes one bit of a rule's result gets a new id, because auditors replay old rounds.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from fl.aggregators.errors import RuleSpecError
from ledger.codec import Record

RuleId = Literal["weighted-mean/1", "median/1", "trimmed-mean/1", "krum/1", "multi-krum/1"]
PreId = Literal["arc/1", "nnm/1"]

UPDATES_MAX: Final = 1024
"""Most updates of one round: the int32 and int64 sums of all rules are proven for it."""


class RuleSpec(Record):
    """An aggregation rule with the pre-aggregations in front of it.

    The order is always: the task's static clip, then `pre` in its order, then the rule.
    """

    rule: RuleId

    f: int
    """How many of the round's updates may be Byzantine (organisations, not keys); 0 <= f, n > 2f at least."""

    pre: tuple[PreId, ...] = ()
    """Pre-aggregations, each at most once, clipping before mixing."""

    keep: int = 0
    """Multi-Krum's m, how many rows are averaged; 0 means n - f."""

    weight_cap_permille: int = 0
    """Weighted mean: no row's share exceeds this many thousandths; 0 means no cap."""

    def __post_init__(self) -> None:
        faults = [fault for fault in self._faults() if fault]
        if faults:
            raise RuleSpecError("; ".join(faults))

    def _faults(self) -> list[str]:
        unknown = [name for name in self.pre if name not in get_args(PreId)]
        allowed = (("arc/1",), ("nnm/1",), ("arc/1", "nnm/1"), ())
        cap_min = 2 if self.weight_cap_permille else 0
        return [
            "" if self.rule in get_args(RuleId) else f"rule must be one of {get_args(RuleId)}, got {self.rule!r}",
            f"pre-aggregations must be of {get_args(PreId)}, got {unknown}" if unknown else "",
            "" if unknown or self.pre in allowed else f"pre is at most arc/1 and then nnm/1, got {self.pre}",
            "" if 0 <= self.f <= UPDATES_MAX // 2 else f"f must be within 0..{UPDATES_MAX // 2}, got {self.f}",
            "" if 0 <= self.keep <= UPDATES_MAX else f"keep must be within 0..{UPDATES_MAX}, got {self.keep}",
            f"keep has no meaning for {self.rule}" if self.keep and self.rule != "multi-krum/1" else "",
            ""
            if cap_min <= self.weight_cap_permille <= 1000
            else f"weight_cap_permille must be 0 or 2..1000, got {self.weight_cap_permille}",
            f"weight_cap_permille has no meaning for {self.rule}"
            if self.weight_cap_permille and self.rule != "weighted-mean/1"
            else "",
        ]


def default_rule(f: int) -> RuleSpec:
    """Return the default for `f` liars: ARC, then NNM, then the trimmed mean."""
    return RuleSpec("trimmed-mean/1", f, pre=("arc/1", "nnm/1"))
