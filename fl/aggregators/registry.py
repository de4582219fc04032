"""Every rule by its id. One law: a published id never changes its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fl.aggregators.bulyan import BULYAN
from fl.aggregators.caf import CAF
from fl.aggregators.centred_clipping import CENTRED_CLIPPING
from fl.aggregators.cge import CGE
from fl.aggregators.dnc import DNC
from fl.aggregators.flame import FLAME
from fl.aggregators.fltrust import FLTRUST
from fl.aggregators.foolsgold import FOOLSGOLD
from fl.aggregators.geometric_median import GEOMETRIC_MEDIAN
from fl.aggregators.krum import KRUM
from fl.aggregators.mda import MDA
from fl.aggregators.mean_around_median import MEAN_AROUND_MEDIAN
from fl.aggregators.median import MEDIAN
from fl.aggregators.multi_krum import MULTI_KRUM
from fl.aggregators.plan import Rule
from fl.aggregators.spec import UPDATES_MAX, RuleId, RuleSpec
from fl.aggregators.trimmed_mean import TRIMMED_MEAN
from fl.aggregators.weighted_geometric_median import WEIGHTED_GEOMETRIC_MEDIAN
from fl.aggregators.weighted_mean import WEIGHTED_MEAN
from fl.aggregators.weighted_median import WEIGHTED_MEDIAN
from fl.aggregators.weighted_trimmed_mean import WEIGHTED_TRIMMED_MEAN

RULES: Final[Mapping[RuleId, Rule]] = {
    "weighted-mean/1": WEIGHTED_MEAN,
    "median/1": MEDIAN,
    "trimmed-mean/1": TRIMMED_MEAN,
    "krum/1": KRUM,
    "multi-krum/1": MULTI_KRUM,
    "geometric-median/1": GEOMETRIC_MEDIAN,
    "centred-clipping/1": CENTRED_CLIPPING,
    "bulyan/1": BULYAN,
    "mean-around-median/1": MEAN_AROUND_MEDIAN,
    "mda/1": MDA,
    "cge/1": CGE,
    "fltrust/1": FLTRUST,
    "dnc/1": DNC,
    "caf/1": CAF,
    "flame/1": FLAME,
    "foolsgold/1": FOOLSGOLD,
    "weighted-median/1": WEIGHTED_MEDIAN,
    "weighted-trimmed-mean/1": WEIGHTED_TRIMMED_MEAN,
    "weighted-geometric-median/1": WEIGHTED_GEOMETRIC_MEDIAN,
}


def minimum_updates(spec: RuleSpec) -> int:
    """Return how many updates a round needs for its rule to hold.

    Clipping and neighbours need no more than 2f + 1; before bucketing s times as many are needed, less what the last
    bucket may lack.
    """
    needed = RULES[spec.rule].minimum(spec)
    return (needed - 1) * spec.bucket + 1 if spec.bucket else needed


def maximum_updates(spec: RuleSpec) -> int:
    """Return how many updates a round may have."""
    return min(RULES[spec.rule].maximum * max(spec.bucket, 1), UPDATES_MAX)
