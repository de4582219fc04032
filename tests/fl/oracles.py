"""What ByzFL and Flower make of updates on a grid. One law: they are judges, so nothing of ours is called here.

`PATH -m tests.fl.oracles > tests/vectors/aggregation/oracles.json`, with PATH an interpreter that has numpy, torch,
byzfl 0.0.11 and flwr 1.42.0, writes the vectors anew; an installation of the project has neither. Rows come from
SHA-256 (`words`), so that the file need not hold them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import numpy as np

Rows = Any
SIZE: Final = 12
CASES: Final[tuple[tuple[str, int, int], ...]] = (
    ("random", 11, 2),
    ("random", 16, 3),
    ("sign-flip", 11, 2),
    ("scale", 15, 3),
    ("alie", 11, 2),
    ("ipm", 15, 3),
    ("mimic", 12, 2),
    ("ties", 11, 2),
)
"""What the first f rows send, n and f."""


def words(name: str, count: int, f: int) -> np.ndarray:
    """Return updates of which the first f are hostile, shape (n, SIZE), within 8191."""
    flat = [_word(f"{name}/{count}/{f}/{place}", 900) for place in range(count * SIZE)]
    rows = np.array(flat, np.int64).reshape(count, SIZE)
    if name != "random":
        rows = rows // 4 + np.array([_word(f"{name}/centre/{place}", 1500) for place in range(SIZE)])
    honest = rows[f:]
    match name:
        case "sign-flip":
            rows[:f] = -10 * honest[:f]
        case "scale":
            rows[:f] = 1000 * honest[:f]
        case "alie":
            rows[:f] = honest.mean(axis=0) - 0.8 * honest.std(axis=0)
        case "ipm":
            rows[:f] = -5 * honest.mean(axis=0)
        case "mimic":
            rows[:f] = honest[0]
        case "ties":
            rows = rows // 200 * 200
    return np.clip(rows, -8191, 8191)


def _word(name: str, bound: int) -> int:
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big") % (2 * bound + 1) - bound


def byzfl_rules(f: int) -> dict[str, Callable[[Rows], Rows]]:
    """Return ByzFL's rules by our names."""
    import byzfl

    nnm, trimmed, arc = byzfl.NNM(f=f), byzfl.TrMean(f=f), byzfl.ARC(f=f)
    return {
        "weighted-mean/1": byzfl.Average(),
        "median/1": byzfl.Median(),
        "trimmed-mean/1": trimmed,
        "mean-around-median/1": byzfl.Meamed(f=f),
        "geometric-median/1": byzfl.GeometricMedian(nu=1.0, T=200),
        "centred-clipping/1": lambda rows: _new_centre(byzfl.CenteredClipping, rows),
        "mda/1": byzfl.MDA(f=f),
        "krum/1": byzfl.Krum(f=f + 1),  # with f it sums one neighbour more than the paper
        "multi-krum/1": byzfl.MultiKrum(f=f + 1),  # and so it keeps one row less
        "nnm/1+trimmed-mean/1": lambda rows: trimmed(nnm(rows)),
        "arc/1+trimmed-mean/1": lambda rows: trimmed(arc(rows.copy())),
        "arc/1+nnm/1+trimmed-mean/1": lambda rows: trimmed(nnm(arc(rows.copy()))),
    }


def _new_centre(rule: Callable[..., Callable[[Rows], Rows]], rows: Rows) -> Rows:
    """Start from 0: an object that is called again goes on from where it was."""
    return rule(L=16, tau=1000.0)(rows)


def flower_rules(f: int) -> dict[str, Callable[[Rows], Rows]]:
    """Return Flower's rules by our names."""
    from flwr.server.strategy import aggregate as flower

    def pairs(rows: Rows) -> list[tuple[list[Rows], int]]:
        return [([row], 1) for row in rows]

    def first(arrays: list[Rows]) -> Rows:
        return arrays[0]

    def closest(rows: Rows) -> Rows:
        """Its Bulyan takes a rule that gives one row; with Krum that is the paper's."""
        return first(flower.aggregate_bulyan(pairs(rows), f, flower.aggregate_krum, to_keep=0))

    return {
        "weighted-mean/1": lambda rows: first(flower.aggregate(pairs(rows))),
        "median/1": lambda rows: first(flower.aggregate_median(pairs(rows))),
        "trimmed-mean/1": lambda rows: first(flower.aggregate_trimmed_avg(pairs(rows), (f + 0.5) / len(rows))),
        "krum/1": lambda rows: first(flower.aggregate_krum(pairs(rows), f, 0)),
        "multi-krum/1": lambda rows: first(flower.aggregate_krum(pairs(rows), f, len(rows) - f)),
        "bulyan/1": closest,
    }


def judgements() -> list[dict[str, object]]:
    """Return what every judge says of every case."""
    found: list[dict[str, object]] = []
    for name, count, f in CASES:
        rows = words(name, count, f).astype(np.float64)
        for judge, rules in (("ByzFL 0.0.11", byzfl_rules(f)), ("Flower 1.42.0", flower_rules(f))):
            for rule, call in rules.items():
                if judge.startswith("Flower") and rule == "bulyan/1" and count < 4 * f + 3:
                    continue
                values = np.asarray(call(rows.copy()), np.float64).tolist()
                found.append({"judge": judge, "rule": rule, "rows": name, "n": count, "f": f, "values": values})
    return found


if __name__ == "__main__":
    said = ",\n".join(json.dumps(one) for one in judgements())
    sys.stdout.write(f'{{"judgements": [\n{said}\n]}}\n')
