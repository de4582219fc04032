"""Who is compared: rules of the project by a short name, and the best of other libraries. One law: one f for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fl.aggregators import RuleSpec, default_rule

CAP_OF_ALL_LIARS_PERMILLE: Final = 480
RULES: Final[dict[str, Callable[[int], RuleSpec]]] = {
    "mean": lambda _: RuleSpec("weighted-mean/1", 0),
    "arc-nnm": default_rule,
    "nnm": lambda f: RuleSpec("trimmed-mean/1", f, ("nnm/1",)),
    "arc-nnm-gm": lambda f: RuleSpec("geometric-median/1", f, ("arc/1", "nnm/1")),
    "arc-nnm-cc": lambda f: RuleSpec("centred-clipping/1", f, ("arc/1", "nnm/1"), radius_micros=1_000_000),
    "cc": lambda f: RuleSpec("centred-clipping/1", f, radius_micros=1_000_000),
    "median": lambda f: RuleSpec("median/1", f),
    "trimmed-mean": lambda f: RuleSpec("trimmed-mean/1", f),
    "geometric-median": lambda f: RuleSpec("geometric-median/1", f),
    "krum": lambda f: RuleSpec("krum/1", f),
    "multi-krum": lambda f: RuleSpec("multi-krum/1", f),
    "dnc": lambda f: RuleSpec("dnc/1", f),
    "flame": lambda f: RuleSpec("flame/1", f),
    "mda": lambda f: RuleSpec("mda/1", f),
    "caf": lambda f: RuleSpec("caf/1", f),
    "weighted-trimmed-mean": lambda f: RuleSpec("weighted-trimmed-mean/1", f, weight_cap_permille=_cap(f)),
    "weighted-geometric-median": lambda f: RuleSpec("weighted-geometric-median/1", f, weight_cap_permille=_cap(f)),
}
PEERS: Final = {
    "byzfl": ("arc-nnm-trimmed-mean", "geometric-median"),
    "flower": ("multi-krum", "trimmed-mean"),
}
"""Rules of other libraries that are tried; the best is the one whose worst attack hurts least."""


def _cap(f: int) -> int:
    return CAP_OF_ALL_LIARS_PERMILLE // f if f else 0
