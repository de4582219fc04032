"""What the default is held to. One law: a goal is named with its figure, whether reached or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from benchmarks.robustness.mediswarm import BOUNDS
from benchmarks.robustness.tables import Rows, worst

DEFAULT: Final = "arc-nnm"
SITES_RULE: Final = "weighted-trimmed-mean"
DESIGN_ATTACKS: Final = ("none", "sign flip", "FOE x10", "ALIE", "mimic", "label flip")
DESIGN_WORST: Final = 79.3

Reached = dict[str, dict[str, float]]
"""Goal to figure and bound."""


def reached(tables: Mapping[str, Rows], moved: Mapping[str, Mapping[str, float]]) -> Reached:
    """Return the goals that the tables say something about."""
    found: Reached = {}
    for title, rows in tables.items():
        if DEFAULT not in rows:
            continue
        cells = rows[DEFAULT]
        if "mean" in rows and "digits, 10 participants, 3 lie" in title and "client momentum 0.9" in title:
            clean = rows["mean"]["none"].accuracy
            if "Dirichlet 0.3" in title:
                found[f"points lost: {title}"] = {"figure": 100 * (clean - worst(cells)), "at_most": 3.0}
            if ", IID, " in title:
                found[f"points lost: {title}"] = {"figure": 100 * (clean - worst(cells)), "at_most": 0.5}
        if "15 participants" in title and set(DESIGN_ATTACKS) <= set(cells):
            figure = 100 * min(cells[attack].accuracy for attack in DESIGN_ATTACKS)
            found[f"worst of the design's attacks: {title}"] = {"figure": figure, "at_least": DESIGN_WORST}
    for case, bound in BOUNDS.items():
        if SITES_RULE in moved:
            found[f"error, {case} site lies"] = {"figure": moved[SITES_RULE][case], "at_most": bound}
    return found


def lines(goals: Reached) -> Iterator[str]:
    """Yield what to print."""
    for name, goal in goals.items():
        low, high = goal.get("at_least"), goal.get("at_most")
        holds = goal["figure"] >= low if low is not None else high is not None and goal["figure"] <= high
        bound = f"at least {low}" if low is not None else f"at most {high}"
        print_as = "reached" if holds else "MISSED"
        yield f"goal {print_as}: {name}: {goal['figure']:.2f}, {bound}"
