"""Pay against exact Shapley values. One law: the value of a coalition is measured by training it, all 2^n of them.

The value of a coalition is how much lower the test loss of what it learns together is than that of the first model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from math import factorial
from typing import Final

import numpy as np

from benchmarks.incentives.federation import Floats, Site, log_loss, run, train
from benchmarks.incentives.sites import Data, Samples, breast_cancer, deal, digits, with_random_labels
from fl.aggregators import RuleSpec

SITES: Final = 8
ROUNDS: Final = 10
NOISE: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""Part of each site's labels that say nothing: eight sites of eight qualities."""

SEEDS: Final = (1, 2, 3, 4, 5)
DATA: Final[dict[str, Callable[[int], Data]]] = {"digits": digits, "breast-cancer": breast_cancer}


def correlations(seeds: Sequence[int] = SEEDS) -> dict[str, list[float]]:
    """Return Spearman's rank correlation of pay and Shapley value, by data set, one a seed."""
    return {name: [round(_correlation(load(seed), seed), 3) for seed in seeds] for name, load in DATA.items()}


def exact_shapley(values: dict[tuple[int, ...], float], count: int) -> list[float]:
    """Return Shapley's values.

    Args:
        values: of every coalition, as ascending tuples of 0..count - 1.
        count: how many there are.

    Source: Shapley, "A Value for n-Person Games", 1953.
    """
    found = []
    for who in range(count):
        others = [one for one in range(count) if one != who]
        total = 0.0
        for size in range(count):
            share = factorial(size) * factorial(count - size - 1) / factorial(count)
            for part in combinations(others, size):
                total += share * (values[tuple(sorted((*part, who)))] - values[part])
        found.append(total)
    return found


def spearman(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the correlation of ranks; there are no ties."""
    ranks = [np.argsort(np.argsort(one)).astype(float) for one in (left, right)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _correlation(data: Data, seed: int) -> float:
    parts = deal(data, SITES, None, seed)
    order = np.random.RandomState(seed).permutation(SITES)
    held = [
        with_random_labels(part, NOISE[order[place]], data.classes, seed + place) for place, part in enumerate(parts)
    ]
    sites = [Site(f"s{place}", samples) for place, samples in enumerate(held)]
    outcome = run(data, sites, RuleSpec("weighted-mean/1", 0), ROUNDS, seed)
    pay = [outcome.rewards[site.name] for site in sites]
    values = {
        part: _value(data, [held[place] for place in part])
        for size in range(SITES + 1)
        for part in combinations(range(SITES), size)
    }
    return spearman(pay, exact_shapley(values, SITES))


def _value(data: Data, held: Sequence[Samples]) -> float:
    """Return by how much a coalition's training lowers the test loss."""
    width = data.train.features.shape[1]
    model: Floats = {"weight": np.zeros((width, data.classes)), "bias": np.zeros(data.classes)}
    before = log_loss(model, data.test)
    for _ in range(ROUNDS if held else 0):
        updates = [train(model, samples, data.classes) for samples in held]
        weights = np.array([len(samples) for samples in held], np.float64)
        model = {
            name: values + sum(w * update[name] for w, update in zip(weights / weights.sum(), updates, strict=True))
            for name, values in model.items()
        }
    return before - log_loss(model, data.test)
