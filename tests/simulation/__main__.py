"""Run many seeds: `python -m tests.simulation --seeds 300 --n 4,7,10`; one again, in full: `--seed 17 --n 4 --verbose`.

Whole nodes by default; `--replicas` runs bare replicas with a toy application, several times as many an hour. What
fails is made smaller and printed with the end of its trace; `--scenario` runs such a smaller one again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import msgspec

from tests.simulation.scenario import WHOLE_LIARS, Scenario
from tests.simulation.shrink import shrink
from tests.simulation.whole.world import WholeSimulation
from tests.simulation.world import Outcome, Simulation

TRACE_LINES = 40
"""Of a failing run's end."""

SHRUNK_MAX = 3
"""Failing seeds that are made smaller; the others are only named."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one scenario."""

    scenario: Scenario
    outcome: Outcome | None
    problem: str
    trace: tuple[str, ...]


def run(scenario: Scenario, *, whole: bool, verbose: bool = False) -> Report:
    """Run one scenario; whatever breaks is reported, not raised."""
    simulation = WholeSimulation(scenario) if whole else Simulation(scenario)
    simulation.log = [] if verbose else None
    outcome, problem = None, ""
    try:
        outcome = simulation.run()
    except Exception as error:  # noqa: BLE001 - whatever it is, the seed must be named
        problem = f"{type(error).__name__}: {error}"
    return Report(scenario, outcome, problem, tuple(simulation.log or ()))


def main() -> int:
    """Return 0 when every promise held."""
    args = _arguments()
    whole = not args.replicas
    if args.scenario is not None:
        return _show(msgspec.json.decode(args.scenario, type=Scenario), whole=whole, verbose=True)
    sizes = [int(n) for n in args.n.split(",")]
    draw = partial(Scenario.draw, liar=args.liar, whole=whole, storm=args.storm)
    if args.seed is not None:
        return _show(draw(args.seed, sizes[0]), whole=whole, verbose=args.verbose)
    scenarios = (draw(seed, n) for seed in range(args.first, args.first + args.seeds) for n in sizes)
    began = time.monotonic()
    runs, points, broken = 0, 0, list[Report]()
    for report in _run_all(scenarios, args.jobs, whole=whole):
        runs += 1
        points += report.outcome.crash_points if report.outcome else 0
        if report.problem:
            broken.append(report)
            print(f"seed {report.scenario.seed}, n {report.scenario.n}: {report.problem}", flush=True)  # noqa: T201
        if args.minutes and time.monotonic() - began > 60 * args.minutes:
            break
    seconds = time.monotonic() - began
    for report in broken[:SHRUNK_MAX]:
        _explain(report.scenario, whole=whole)
    what = "whole nodes" if whole else "replicas"
    print(  # noqa: T201
        f"{runs} runs of {what}, {len(broken)} broken, {points} power cuts, {seconds:.0f} s, "
        f"{3600 * runs / seconds:.0f} an hour"
    )
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=300, help="how many seeds for each n")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this one seed only, for the first n")
    parser.add_argument("--n", default="4,7,10", help="numbers of validators")
    parser.add_argument("--liar", choices=WHOLE_LIARS, help="f liars of this kind")
    parser.add_argument("--replicas", action="store_true", help="bare replicas with a toy application")
    parser.add_argument("--storm", action="store_true", help="a power cut of each node every tenth of a second")
    parser.add_argument("--scenario", help="run this scenario (JSON, as printed) and show its trace")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, default=0, help="begin no more runs after so long; 0 for no bound")
    parser.add_argument("--verbose", action="store_true", help="with --seed: print the whole trace")
    return parser.parse_args()


def _run_all(scenarios: Iterator[Scenario], jobs: int, *, whole: bool) -> Iterator[Report]:
    if jobs == 1:
        yield from (run(scenario, whole=whole) for scenario in scenarios)
        return
    with ProcessPoolExecutor(jobs) as pool:
        waiting = []
        for scenario in scenarios:
            waiting.append(pool.submit(run, scenario, whole=whole))
            if len(waiting) >= 4 * jobs:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def _explain(scenario: Scenario, *, whole: bool) -> None:
    """Print the smallest scenario that still fails, and how its run ends."""
    small = shrink(scenario, lambda simpler: bool(run(simpler, whole=whole).problem))
    report = run(small, whole=whole, verbose=True)
    mode = "" if whole else " --replicas"
    print(f"\nseed {scenario.seed}, n {scenario.n}, made smaller: {report.problem}")  # noqa: T201
    print(f"again: python -m tests.simulation{mode} --scenario '{msgspec.json.encode(small).decode()}'")  # noqa: T201
    for line in report.trace[-TRACE_LINES:]:
        print(f"  {line}")  # noqa: T201


def _show(scenario: Scenario, *, whole: bool, verbose: bool) -> int:
    report = run(scenario, whole=whole, verbose=verbose)
    for line in report.trace:
        print(line)  # noqa: T201
    print(scenario)  # noqa: T201
    print(report.problem or report.outcome)  # noqa: T201
    return 1 if report.problem else 0


if __name__ == "__main__":
    sys.exit(main())
