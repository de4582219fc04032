"""Aggregation rules by one word, as a person chooses them on a command line. One law: each says what it withstands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fl.aggregators import RuleSpec
from genesis.reading import nearest

RULES: Final[dict[str, Callable[[int], RuleSpec]]] = {
    "nnm": lambda f: RuleSpec("trimmed-mean/1", f, pre=("nnm/1",)),
    "arc-nnm": lambda f: RuleSpec("trimmed-mean/1", f, pre=("arc/1", "nnm/1")),
    "trimmed-mean": lambda f: RuleSpec("trimmed-mean/1", f),
    "median": lambda f: RuleSpec("median/1", f),
    "krum": lambda f: RuleSpec("krum/1", f),
    "multi-krum": lambda f: RuleSpec("multi-krum/1", f),
    "mean": lambda _: RuleSpec("weighted-mean/1", 0),
}
"""By name: what to use against f liars. `nnm` is nearest-neighbour mixing and trimmed mean; `arc-nnm` clips adaptively
before, which helps many participants and hurts few: with four, a liar's long update clipped to an honest length is no
longer far from the others. `mean` withstands none."""


class UnknownRuleError(ValueError):
    """Nobody knows a rule of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no rule is named {name}; {nearest(name, list(RULES))}")
        self.name = name


def rule_named(name: str, f: int) -> RuleSpec:
    """Return the rule of this name against `f` liars.

    Raises:
        UnknownRuleError: there is none.
    """
    if name not in RULES:
        raise UnknownRuleError(name)
    return RULES[name](f)
