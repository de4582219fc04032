"""Run by an interpreter that has ByzFL and Flower: a line of JSON and rows of floats in, a line and a row out.

Imports nothing of this project. Peers get float32 and may do what they like with NaN.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

Call = Callable[[Any], Any]


def byzfl(rule: str, f: int) -> Call:
    """Return ByzFL's rule."""
    library, before = _byzfl_part("aggregators"), _byzfl_part("preaggregators")
    trimmed, mixing = library.TrMean(f=f), before.NNM(f=f)
    clipping = before.ARC(f=f)
    return {
        "arc-nnm-trimmed-mean": lambda rows: trimmed(mixing(clipping(rows.copy()))),
        "nnm-trimmed-mean": lambda rows: trimmed(mixing(rows)),
        "geometric-median": library.GeometricMedian(T=32),
        "multi-krum": library.MultiKrum(f=f),
    }[rule]


def _byzfl_part(name: str) -> types.ModuleType:
    """Import a module of ByzFL's rules alone: its other half wants torchvision, of a version that suits its torch."""
    if "byzfl" not in sys.modules:
        found = importlib.util.find_spec("byzfl")
        if found is None:
            message = "No module named 'byzfl'"
            raise ImportError(message)
        package = types.ModuleType("byzfl")
        package.__path__ = list(found.submodule_search_locations or ())
        sys.modules["byzfl"] = package
    return importlib.import_module(f"byzfl.aggregators.{name}")


def flower(rule: str, f: int) -> Call:
    """Return Flower's rule."""
    from flwr.server.strategy import aggregate as library  # noqa: PLC0415 - as above

    def pairs(rows: np.ndarray) -> list[tuple[list[np.ndarray], int]]:
        return [([row], 1) for row in rows]

    rules: dict[str, Call] = {
        "multi-krum": lambda rows: library.aggregate_krum(pairs(rows), f, len(rows) - f),
        "trimmed-mean": lambda rows: library.aggregate_trimmed_avg(pairs(rows), f / len(rows) + 1e-6),
        "median": lambda rows: library.aggregate_median(pairs(rows)),
        "bulyan": lambda rows: library.aggregate_bulyan(pairs(rows), f, library.aggregate_krum, to_keep=0),
    }
    chosen = rules[rule]
    return lambda rows: chosen(rows)[0]


def main() -> None:
    """Answer until the input ends."""
    warnings.simplefilter("ignore")
    known: dict[tuple[str, str, int], Call] = {}
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        count, size = request["shape"]
        rows = np.frombuffer(sys.stdin.buffer.read(4 * count * size), "<f4").reshape(count, size).astype(np.float32)
        key = (request["library"], request["rule"], request["f"])
        try:
            if key not in known:
                known[key] = {"byzfl": byzfl, "flower": flower}[key[0]](*key[1:])
            answer = np.asarray(known[key](rows), "<f4").tobytes()
        except ImportError as error:
            sys.stdout.buffer.write(json.dumps({"missing": str(error)}).encode() + b"\n")
        else:
            sys.stdout.buffer.write(json.dumps({"bytes": len(answer)}).encode() + b"\n" + answer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
