"""Which rule a task uses, with its parameters. One law: a spec that exists has a meaning.

Ids are versioned: whatever changes one bit of a rule's result gets a new id, because auditors replay old rounds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, get_args

from fl.aggregators.errors import RuleSpecError
from fl.aggregators.weights import SHARE_TOTAL, share_cap
from ledger.codec import Record
from ledger.fields import NAME_PATTERN, UINT_MAX

RuleId = Literal[
    "weighted-mean/1",
    "median/1",
    "trimmed-mean/1",
    "krum/1",
    "multi-krum/1",
    "geometric-median/1",
    "centred-clipping/1",
    "bulyan/1",
    "mean-around-median/1",
    "mda/1",
    "cge/1",
    "fltrust/1",
    "dnc/1",
    "caf/1",
    "flame/1",
    "foolsgold/1",
    "weighted-median/1",
    "weighted-trimmed-mean/1",
    "weighted-geometric-median/1",
]
PreId = Literal["arc/1", "nnm/1", "bucketing/1"]
PRE_ORDERS: Final[tuple[tuple[PreId, ...], ...]] = (
    (),
    ("arc/1",),
    ("nnm/1",),
    ("bucketing/1",),
    ("arc/1", "nnm/1"),
    ("arc/1", "bucketing/1"),
)
WEIGHTED_ROBUST: Final = ("weighted-median/1", "weighted-trimmed-mean/1", "weighted-geometric-median/1")
WEIGHTED: Final = ("weighted-mean/1", *WEIGHTED_ROBUST)

UPDATES_MAX: Final = 1024
"""Most updates of one round: the int32 and int64 sums of all rules are proven for it."""

BUCKET_MAX: Final = 16
"""Most rows of a bucket: common multiples of bucket sizes, and so the denominator, stay small."""


class RuleSpec(Record):
    """An aggregation rule with the pre-aggregations in front of it.

    The order is always: the task's static clip, then `pre` in its order, then the rule.
    """

    rule: RuleId

    f: int
    """How many of the round's updates may be Byzantine (organisations, not keys); 0 <= f, n > 2f at least."""

    pre: tuple[PreId, ...] = ()
    """Pre-aggregations, each at most once: clipping first, then one way of mixing."""

    keep: int = 0
    """Multi-Krum's m, how many rows are averaged; 0 means n - f."""

    weight_cap_permille: int = 0
    """Weighted rules: no row's share exceeds this many thousandths; 0 means no cap. The robust ones need one that f
    rows cannot make half of."""

    bucket: int = 0
    """Bucketing: rows of a bucket, 2..`BUCKET_MAX`."""

    radius_micros: int = 0
    """Centred clipping: how far, in millionths of a unit of value, a row pulls at most."""

    root: str = ""
    """FLTrust: the participant whose update the others are held against."""

    def __post_init__(self) -> None:
        faults = list(self._faults())
        if faults:
            raise RuleSpecError("; ".join(faults))

    def _faults(self) -> Iterator[str]:
        if self.rule not in get_args(RuleId):
            yield f"rule must be one of {get_args(RuleId)}, got {self.rule!r}"
        if self.pre not in PRE_ORDERS:
            yield f"pre must be one of {PRE_ORDERS}, got {self.pre}"
        if not 0 <= self.f <= UPDATES_MAX // 2:
            yield f"f must be within 0..{UPDATES_MAX // 2}, got {self.f}"
        if not 0 <= self.keep <= UPDATES_MAX:
            yield f"keep must be within 0..{UPDATES_MAX}, got {self.keep}"
        if self.keep and self.rule != "multi-krum/1":
            yield f"keep has no meaning for {self.rule}"
        yield from self._weight_faults()
        yield from self._parameter_faults()

    def _weight_faults(self) -> Iterator[str]:
        cap = self.weight_cap_permille
        if not (cap == 0 or 2 <= cap <= 1000):
            yield f"weight_cap_permille must be 0 or 2..1000, got {cap}"
        elif cap and self.rule not in WEIGHTED:
            yield f"weight_cap_permille has no meaning for {self.rule}"
        elif self.rule in WEIGHTED_ROBUST and 2 * self.f * share_cap(cap) >= SHARE_TOTAL:
            yield f"{self.rule} needs a weight_cap_permille of which {self.f} rows are less than half, got {cap}"

    def _parameter_faults(self) -> Iterator[str]:
        is_bucketing, is_clipping, is_rooted = (
            "bucketing/1" in self.pre,
            self.rule == "centred-clipping/1",
            self.rule == "fltrust/1",
        )
        low, high = (2, BUCKET_MAX) if is_bucketing else (0, 0)
        if not low <= self.bucket <= high:
            yield f"bucket must be within {low}..{high} with pre {self.pre}, got {self.bucket}"
        low, high = (1, UINT_MAX) if is_clipping else (0, 0)
        if not low <= self.radius_micros <= high:
            yield f"radius_micros must be within {low}..{high} for {self.rule}, got {self.radius_micros}"
        if is_rooted != bool(re.search(NAME_PATTERN, self.root)) or bool(self.root) != is_rooted:
            yield f"root must name a participant for fltrust/1 and be empty for others, got {self.root!r}"
        if is_bucketing and (self.rule in WEIGHTED or is_rooted):
            yield f"bucketing/1 cannot stand before {self.rule}, which tells its rows apart"
        if is_rooted and "nnm/1" in self.pre:
            yield "nnm/1 cannot stand before fltrust/1: the root's row would no longer be its own"


def default_rule(f: int) -> RuleSpec:
    """Return the default for `f` liars: ARC, then NNM, then the trimmed mean."""
    return RuleSpec("trimmed-mean/1", f, pre=("arc/1", "nnm/1"))
