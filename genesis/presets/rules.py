"""Aggregation rules by one word, as a person chooses them on a command line. One law: each says what it withstands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fl.aggregators import RuleSpec
from genesis.reading import nearest

CAP_OF_ALL_LIARS_PERMILLE: Final = 480
"""What f liars may weigh together under a weighted rule: less than half."""

RADIUS_MICROS: Final = 1_000_000

RULES: Final[dict[str, Callable[[int], RuleSpec]]] = {
    "nnm": lambda f: RuleSpec("trimmed-mean/1", f, pre=("nnm/1",)),
    "arc-nnm": lambda f: RuleSpec("trimmed-mean/1", f, pre=("arc/1", "nnm/1")),
    "bucketing": lambda f: RuleSpec("geometric-median/1", f, pre=("bucketing/1",), bucket=2),
    "trimmed-mean": lambda f: RuleSpec("trimmed-mean/1", f),
    "median": lambda f: RuleSpec("median/1", f),
    "mean-around-median": lambda f: RuleSpec("mean-around-median/1", f),
    "geometric-median": lambda f: RuleSpec("geometric-median/1", f),
    "centred-clipping": lambda f: RuleSpec("centred-clipping/1", f, radius_micros=RADIUS_MICROS),
    "krum": lambda f: RuleSpec("krum/1", f),
    "multi-krum": lambda f: RuleSpec("multi-krum/1", f),
    "bulyan": lambda f: RuleSpec("bulyan/1", f),
    "mda": lambda f: RuleSpec("mda/1", f),
    "cge": lambda f: RuleSpec("cge/1", f),
    "dnc": lambda f: RuleSpec("dnc/1", f),
    "caf": lambda f: RuleSpec("caf/1", f),
    "flame": lambda f: RuleSpec("flame/1", f),
    "foolsgold": lambda f: RuleSpec("foolsgold/1", f),
    "weighted-median": lambda f: RuleSpec("weighted-median/1", f, weight_cap_permille=_cap(f)),
    "weighted-trimmed-mean": lambda f: RuleSpec("weighted-trimmed-mean/1", f, weight_cap_permille=_cap(f)),
    "weighted-geometric-median": lambda f: RuleSpec("weighted-geometric-median/1", f, weight_cap_permille=_cap(f)),
    "mean": lambda _: RuleSpec("weighted-mean/1", 0),
}
"""By name: what to use against f liars; docs/rules.md says which when. `nnm` is nearest-neighbour mixing and trimmed
mean; `arc-nnm` clips adaptively before, which helps many participants and hurts few: with four, a liar's long update
clipped to an honest length is no longer far from the others. `mean` withstands none."""

TRUSTING: Final = "fltrust:"
"""Before the name of the participant who is trusted."""


class UnknownRuleError(ValueError):
    """Nobody knows a rule of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no rule is named {name}; {nearest(name, [*RULES, TRUSTING + 'PARTICIPANT'])}")
        self.name = name


def rule_named(name: str, f: int) -> RuleSpec:
    """Return the rule of this name against `f` liars.

    Raises:
        UnknownRuleError: there is none.
        RuleSpecError: it cannot stand against so many, or nobody can be named as it names who is trusted.
    """
    if name.startswith(TRUSTING):
        return RuleSpec("fltrust/1", f, root=name.removeprefix(TRUSTING))
    if name not in RULES:
        raise UnknownRuleError(name)
    return RULES[name](f)


def _cap(f: int) -> int:
    return CAP_OF_ALL_LIARS_PERMILLE // f if f else 0
