"""Run many seeds: `python -m tests.simulation --seeds 300 --n 4,7`; one again, in full: `--seed 17 --n 4 --verbose`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.scenario import LIARS, Scenario
from tests.simulation.world import Outcome, Simulation


def run_one(seed: int, n: int, liar: str | None = None) -> tuple[int, int, Outcome | str]:
    """Run one seed; return its outcome or what broke."""
    try:
        return seed, n, Simulation(Scenario.draw(seed, n, liar=liar)).run()
    except Exception as error:  # noqa: BLE001 - whatever it is, the seed must be named
        return seed, n, f"{type(error).__name__}: {error}"


def main() -> int:
    """Return 0 when every promise held."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=300, help="how many seeds for each n")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this one seed only, for the first n")
    parser.add_argument("--n", default="4,7,10", help="numbers of validators")
    parser.add_argument("--liar", choices=LIARS, help="f liars of this kind")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--verbose", action="store_true", help="with --seed: print the trace")
    args = parser.parse_args()
    sizes = [int(n) for n in args.n.split(",")]
    if args.seed is not None:
        return show(args.seed, sizes[0], args.liar, verbose=args.verbose)
    began = time.monotonic()
    jobs = [(seed, n) for seed in range(args.first, args.first + args.seeds) for n in sizes]
    broken = 0
    with ProcessPoolExecutor(args.jobs) as pool:
        for seed, n, outcome in pool.map(run_one, *zip(*jobs, strict=True), [args.liar] * len(jobs), chunksize=4):
            if isinstance(outcome, str):
                broken += 1
                liar = f" --liar {args.liar}" if args.liar else ""
                print(f"--seed {seed} --n {n}{liar}: {outcome}", flush=True)  # noqa: T201
    seconds = time.monotonic() - began
    print(f"{len(jobs)} runs, {broken} broken, {seconds:.0f} s, {3600 * len(jobs) / seconds:.0f} an hour")  # noqa: T201
    return 1 if broken else 0


def show(seed: int, n: int, liar: str | None, *, verbose: bool) -> int:
    """Run one seed and print what happened."""
    simulation = Simulation(Scenario.draw(seed, n, liar=liar))
    simulation.log = [] if verbose else None
    print(simulation.scenario)  # noqa: T201
    try:
        print(simulation.run())  # noqa: T201
    finally:
        for line in simulation.log or ():
            print(line)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
