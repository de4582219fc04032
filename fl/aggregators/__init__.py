"""Exact Byzantine-robust aggregation, one file a rule. One law: integers only, so every validator gets the same bits.

`aggregate(spec, updates, weights, segments)` is the one entry; `RuleSpec` says which rule with which pre-aggregations.
"""

from fl.aggregators.aggregation import Aggregation, Decision, Retained, aggregate, decide
from fl.aggregators.clip import ClipFactor, clip_norm_in_units
from fl.aggregators.combine import LastPass
from fl.aggregators.errors import (
    AggregationError,
    RootMissingError,
    RuleSpecError,
    TooFewUpdatesError,
    TooManyUpdatesError,
    UpdateArrayError,
    UpdateRangeError,
    WeightError,
)
from fl.aggregators.registry import maximum_updates, minimum_updates
from fl.aggregators.rows import IN_TURN, Run, Work
from fl.aggregators.spec import UPDATES_MAX, RuleSpec, default_rule

__all__ = [
    "IN_TURN",
    "UPDATES_MAX",
    "Aggregation",
    "AggregationError",
    "ClipFactor",
    "Decision",
    "LastPass",
    "Retained",
    "RootMissingError",
    "RuleSpec",
    "RuleSpecError",
    "Run",
    "TooFewUpdatesError",
    "TooManyUpdatesError",
    "UpdateArrayError",
    "UpdateRangeError",
    "WeightError",
    "Work",
    "aggregate",
    "clip_norm_in_units",
    "decide",
    "default_rule",
    "maximum_updates",
    "minimum_updates",
]
