"""Cheats among ten honest sites. One law: each figure is a part of all stakes of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from benchmarks.incentives import cheats
from benchmarks.incentives.federation import Outcome, Site, run
from benchmarks.incentives.sites import Data, Samples, deal, digits, with_flipped_labels
from fl.aggregators import RuleSpec, default_rule

HONEST: Final = 10
LIARS: Final = 3
ROUNDS: Final = 20
RULES: Final = {
    "weighted mean": RuleSpec("weighted-mean/1", LIARS),
    "default": default_rule(LIARS),
    "multi-Krum": RuleSpec("multi-krum/1", LIARS),
}
ALPHAS: Final[dict[str, float | None]] = {"Dirichlet 0.1": 0.1, "Dirichlet 0.3": 0.3, "Dirichlet 1": 1.0, "IID": None}
WITHOUT_DATA: Final[dict[str, tuple[cheats.Cheat, int]]] = {
    "stale copy": (cheats.stale, 1),
    "mixture of stale copies": (cheats.momentum, 1),
    "blurred stale copy": (cheats.blurred_stale, 1),
    "noise": (cheats.noise, 1),
    "cartel of f": (cheats.cartel, LIARS),
    "opposing cartel of f": (cheats.opposing_cartel, LIARS),
}
"""Name: what it sends, and how many of them there are."""

SEEDS: Final = (1, 2, 3, 4, 5)


def without_data(seeds: Sequence[int] = SEEDS) -> dict[str, dict[str, float]]:
    """Return, by cheat and rule, the largest part of the stakes that one participant without data got in any run."""
    found: dict[str, dict[str, float]] = {}
    for name, (cheat, count) in WITHOUT_DATA.items():
        found[name] = {}
        for rule_name, rule in RULES.items():
            shares = [
                outcome.share(f"x-{place}")
                for seed in seeds
                for alpha in (0.3, None)
                for outcome in [_with(digits(seed), alpha, seed, rule, cheat, count)]
                for place in range(count)
            ]
            found[name][rule_name] = round(max(shares), 5)
    return found


def with_data(seeds: Sequence[int] = SEEDS) -> dict[str, dict[str, float]]:
    """Return, by cheat and rule, what a site got with its cheat as a multiple of what it gets honestly, on average."""
    kinds: dict[str, Callable[[list[Site], Data, int], None]] = {
        "ten times as long": _inflate,
        "a hundred times the samples": _claim,
        "labels flipped": _flip,
        "duplicated": _duplicate,
        "tripled": _triple,
    }
    found: dict[str, dict[str, float]] = {}
    for name, change in kinds.items():
        found[name] = {}
        for rule_name, rule in RULES.items():
            ratios = [_ratio(rule, seed, change) for seed in seeds]
            found[name][rule_name] = round(float(np.mean(ratios)), 3)
    return found


def blurred_copies(seeds: Sequence[int] = SEEDS) -> dict[str, float]:
    """Return what a blurred copy of somebody's update of the same round gets: a stated limit."""
    return {
        name: round(
            float(np.mean([_with(digits(s), 0.3, s, rule, cheats.blurred_copy, 1).share("x-0") for s in seeds])), 4
        )
        for name, rule in RULES.items()
    }


def flagged(seeds: Sequence[int] = SEEDS) -> dict[str, dict[str, float]]:
    """Return, by heterogeneity and rule, how often an honest site did not pass the information test."""
    found: dict[str, dict[str, float]] = {}
    for name, alpha in ALPHAS.items():
        found[name] = {}
        for rule_name, rule in RULES.items():
            outcomes = [run(digits(s), _honest(digits(s), alpha, s), rule, ROUNDS, s) for s in seeds]
            failed = sum(sum(one.failed_tests.values()) for one in outcomes)
            found[name][rule_name] = round(failed / (HONEST * ROUNDS * len(seeds)), 4)
    return found


def _honest(data: Data, alpha: float | None, seed: int) -> list[Site]:
    return [Site(f"h{place}", part) for place, part in enumerate(deal(data, HONEST, alpha, seed))]


def _with(data: Data, alpha: float | None, seed: int, rule: RuleSpec, cheat: cheats.Cheat, count: int) -> Outcome:
    width = data.train.features.shape[1]
    empty = Samples(np.zeros((0, width)), np.zeros(0, np.int64))
    liars = [Site(f"x-{place}", empty, cheat, claimed=100) for place in range(count)]
    return run(data, [*_honest(data, alpha, seed), *liars], rule, ROUNDS, seed)


def _ratio(rule: RuleSpec, seed: int, change: Callable[[list[Site], Data, int], None]) -> float:
    data = digits(seed)
    honest, changed = _honest(data, 1.0, seed), _honest(data, 1.0, seed)
    change(changed, data, seed)
    before = run(data, honest, rule, ROUNDS, seed).share("h4")
    outcome = run(data, changed, rule, ROUNDS, seed)
    after = sum(outcome.share(site.name) for site in changed if site.name.startswith("h4"))
    return after / before


def _inflate(sites: list[Site], _data: Data, _seed: int) -> None:
    sites[4].cheat = cheats.inflated


def _claim(sites: list[Site], _data: Data, _seed: int) -> None:
    sites[4].claimed = 100 * len(sites[4].samples)


def _flip(sites: list[Site], data: Data, seed: int) -> None:
    sites[4].samples = with_flipped_labels(sites[4].samples, 1.0, data.classes, seed)


def _duplicate(sites: list[Site], _data: Data, _seed: int) -> None:
    sites.append(Site("h4-again", sites[4].samples))


def _triple(sites: list[Site], _data: Data, _seed: int) -> None:
    sites += [Site("h4-again", sites[4].samples), Site("h4-more", sites[4].samples)]
