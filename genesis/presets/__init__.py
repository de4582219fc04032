"""Tasks to begin with: for hospitals, for banks and for ten strangers. One law: a preset is an ordinary task.

`PRESETS` names them; `rules.RULES` names the aggregation rules that a person may choose by one word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fl.aggregators import RuleSpec
from fl.records import TaskSpec
from genesis.presets.digits import digits_task
from genesis.presets.fraud import fraud_task
from genesis.presets.heart import heart_task
from genesis.presets.rules import RULES, UnknownRuleError, rule_named

__all__ = [
    "BANKS",
    "FREE_RIDER",
    "HOSPITALS",
    "PRESETS",
    "RULES",
    "Preset",
    "UnknownRuleError",
    "digits_task",
    "fraud_task",
    "heart_task",
    "rule_named",
]


@dataclass(frozen=True, slots=True)
class Preset:
    """A task, and the consortium it was made for."""

    organisations: tuple[str, ...]
    """Names of the nodes, when nobody gives others."""

    trainers: tuple[str, ...]
    """Names of the participants that train; dealt to the organisations in turn."""

    task: Callable[[Sequence[str], int | None, RuleSpec | None], TaskSpec]
    """Makes the task from the trainers' names, the number of rounds and the rule; None takes the preset's own."""


HOSPITALS: Final = ("cleveland", "hungary", "switzerland", "va-long-beach")

BANKS: Final = ("alder-bank", "birch-bank", "cedar-bank", "damson-bank")
FREE_RIDER: Final = "echo-bank"

PRESETS: Final[dict[str, Preset]] = {
    "heart": Preset(HOSPITALS, HOSPITALS, heart_task),
    "digits": Preset(
        tuple(f"site-{number}" for number in range(1, 5)),
        tuple(f"participant-{number:02d}" for number in range(1, 11)),
        digits_task,
    ),
    "fraud": Preset(BANKS, (*BANKS, FREE_RIDER), fraud_task),
}
