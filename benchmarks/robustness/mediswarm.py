"""How far one site of six moves the aggregate, by how much data it has. One law: one round, no training hides anything.

The question of MediSwarm#566 (pull request 566 of KatherLab/MediSwarm): relative error |aggregate - optimum| /
|optimum| when a site that has 0.6 % of all data, or one that has 51.7 %, sends a thousand times its update the other
way. Sites' updates are the optimum plus noise that falls with the root of their samples.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from benchmarks.robustness.contestants import RULES
from fl.aggregators import aggregate
from fl.schema import Segment
from tests.attacks import saturated

SAMPLES: Final = (190, 17_834, 6_200, 4_150, 3_520, 2_600)
"""Of six sites: the smallest and the largest are those of the pull request, 0.6 % and 51.7 %."""

SMALL, LARGE = 0, 1
FACTOR: Final = -1000.0
WORDS: Final = 2_000
TYPICAL: Final = 400.0
"""Of the optimum's words, within 8191: the grid gives a liar room for twenty times an honest update."""

NOISE_OF_THE_SMALLEST: Final = 0.3
"""Relative to the optimum."""

CLIPPED_MEAN: Final = "mean, clipped"
CLIP: Final = 1.3
"""Times the optimum's length: a bound that a consortium knows from earlier rounds."""

BOUNDS: Final = {"small": 0.04, "large": 1.0}
CONTESTANTS: Final = (
    "mean",
    CLIPPED_MEAN,
    "weighted-trimmed-mean",
    "weighted-geometric-median",
    "arc-nnm",
    "nnm",
    "median",
    "krum",
)


def errors(seeds: int) -> dict[str, dict[str, float]]:
    """Return, for each rule, the error without a liar and with the small and the large site lying; means over seeds."""
    found = [_errors(seed) for seed in range(seeds)]
    return {
        rule: {case: float(np.mean([one[rule][case] for one in found])) for case in found[0][rule]}
        for rule in CONTESTANTS
    }


def _errors(seed: int) -> dict[str, dict[str, float]]:
    random = np.random.default_rng([seed, 6])
    optimum = random.normal(0, TYPICAL, WORDS)
    noise = NOISE_OF_THE_SMALLEST * TYPICAL * np.sqrt(SAMPLES[SMALL] / np.array(SAMPLES))
    values = optimum + random.normal(0, 1, (len(SAMPLES), WORDS)) * noise[:, None]
    rows = saturated(values)
    length = float(np.linalg.norm(optimum))
    result: dict[str, dict[str, float]] = {}
    for rule in CONTESTANTS:
        spec, clip = RULES[rule](1) if rule in RULES else RULES["mean"](0), 0
        if rule == CLIPPED_MEAN:
            clip = int(CLIP * length)
        result[rule] = {}
        for case, liar in (("none", None), ("small", SMALL), ("large", LARGE)):
            sent = rows.copy()
            if liar is not None:
                sent[liar] = saturated(FACTOR * values[liar])
            got = aggregate(spec, sent, SAMPLES, (Segment(0, WORDS, 0),), clip_norm=clip)
            result[rule][case] = float(np.linalg.norm(got.numerator / got.denominator - optimum)) / length
    return result
