"""The same aggregations in Flower and ByzFL, in an interpreter that has them: one request a line, one answer a line.

Started by `benchmarks.aggregation`; imports nothing of this project. A request names rule, number of updates, size, f
and seed; the answer has the seconds of each side, the fastest of some repetitions, and its peak of memory beyond the
updates, as far as it is of numpy.
"""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any

import numpy as np

Call = Callable[[Any], Any]


def flower(rule: str, f: int) -> dict[str, Call]:
    """Return what Flower has for a rule, by the name of its API."""
    from flwr.server.strategy import aggregate as old  # noqa: PLC0415 - the peers may be missing
    from flwr.serverapp.strategy import fedtrimmedavg as new  # noqa: PLC0415 - as above

    def pairs(rows: np.ndarray) -> list[tuple[list[np.ndarray], int]]:
        return [([row], 1) for row in rows]

    match rule:
        case "mean":
            return {"server": lambda rows: old.aggregate(pairs(rows))}
        case "median":
            return {
                "server": lambda rows: old.aggregate_median(pairs(rows)),
                "serverapp": lambda rows: np.median(np.stack(list(rows)), axis=0),
            }
        case "trimmed-mean":
            return {
                "server": lambda rows: old.aggregate_trimmed_avg(pairs(rows), f / len(rows)),
                "serverapp": lambda rows: new.trim_mean(np.stack(list(rows)), f / len(rows)),
            }
        case "krum":
            return {
                "server": lambda rows: old.aggregate_krum(pairs(rows), f, 0),
                "serverapp": lambda rows: _serverapp_krum(rows, f),
            }
        case _:
            return {}


def _serverapp_krum(rows: np.ndarray, f: int) -> np.ndarray:
    """What flwr.serverapp's Krum does with arrays that are at hand: distances, scores, the best row."""
    norms = np.square(rows).sum(axis=1)
    distances = norms[:, None] + norms[None, :] - 2 * rows @ rows.T
    near = max(1, len(rows) - f - 2)
    scores = [np.sum(line[np.argsort(line)[1 : near + 1]]) for line in distances]
    best: np.ndarray = rows[int(np.argsort(scores)[0])]
    return best


def byzfl(rule: str, f: int) -> dict[str, Call]:
    """Return what ByzFL has for a rule, on torch tensors."""
    import byzfl as library  # noqa: PLC0415 - as above

    match rule:
        case "mean":
            return {"torch": library.Average()}
        case "median":
            return {"torch": library.Median()}
        case "trimmed-mean":
            return {"torch": library.TrMean(f=f)}
        case "krum":
            return {"torch": library.Krum(f=f)}
        case "geometric-median":
            return {"torch": library.GeometricMedian()}
        case "nnm+trimmed-mean":
            mixing, trimming = library.NNM(f=f), library.TrMean(f=f)
            return {"torch": lambda rows: trimming(mixing(rows))}
        case _:
            return {}


def measured(peer: str, calls: dict[str, Call], rows: object, repeats: int) -> dict[str, dict[str, float]]:
    """Return the fewest seconds of each call, by the clock and of the processors."""
    best: dict[str, float] = {}
    cpu: dict[str, float] = {}
    for name, call in calls.items():
        for _ in range(repeats):
            began, worked = perf_counter(), process_time()
            call(rows)
            best[name] = min(best.get(name, 1e9), perf_counter() - began)
            cpu[name] = min(cpu.get(name, 1e9), process_time() - worked)
    return {peer: best, f"{peer}_cpu": cpu}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run one request."""
    words = np.random.default_rng(request["seed"]).integers(-3000, 3001, (request["K"], request["d"]), dtype=np.int16)
    rows = words.astype(np.float32)
    del words
    rule, f, repeats = request["rule"], request["f"], request["repeats"]
    result: dict[str, Any] = {}
    try:
        calls = flower(rule, f)
        result |= measured("flower", calls, rows, repeats)
        if calls and request["memory"]:
            tracemalloc.start()
            next(iter(calls.values()))(rows)
            result["flower_peak_bytes"] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    except ImportError as error:
        result["flower_missing"] = str(error)
    try:
        import torch  # noqa: PLC0415 - as above

        torch.set_num_threads(request["threads"])
        needed = (request["K"] ** 2 if rule.startswith("nnm") else request["K"]) * request["d"] * 4
        if needed > request["bytes_max"]:
            result["byzfl_missing"] = f"would want {needed / 1e9:.0f} GB"
        else:
            result |= measured("byzfl", byzfl(rule, f), torch.from_numpy(rows), repeats)
    except ImportError as error:
        result["byzfl_missing"] = str(error)
    return result


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
