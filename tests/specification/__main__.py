"""Check the specification within a bound: `python -m tests.specification`; `--only TEXT` takes some of the checks.

What must hold holds in random runs and in every state near the beginning; what should come about does; every mistake of
`mutations` is found; and what replicas do is what the specification allows. Exit code 0 only if all is as it should be.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.specification import quint
from tests.specification.cores import Recording
from tests.specification.mutations import MUTATIONS, Mutation
from tests.specification.quint import SPECIFICATION, QuintError, Search
from tests.specification.replay import first_difference

SAFE: Final = {
    "one of four lies": Search("four", 300, 18, witnesses=("decided", "decidedLater", "proposedAgain")),
    "one of four lies, a split": Search("views", 100, 24, init="initSplit", witnesses=("decidedLater",)),
    "one of four lies, two blocks prepared": Search("views", 100, 24, init="initTwice", witnesses=("lostDisk",)),
    "one of five lies": Search("five", 150, 18, witnesses=("decided",)),
    "nobody lies": Search("honest", 150, 24, witnesses=("decided", "proposedAgain", "diedUnheard")),
    "the set changes": Search("change", 60, 60, witnesses=("decided", "newSetDecided")),
    "the set has changed": Search("changed", 120, 30, witnesses=("newSetDecided",)),
}
"""Searches that must find nothing; each witness must come about at least once."""

EXHAUSTIVE: Final = {
    "every state, from the beginning": Search("four", 1, 0, invariant="isSafeWithin(BEGINNING, 5)"),
    "every state, from a split": Search("four", 1, 0, invariant="isSafeWithin(split(0, 2, 3), 4)"),
}
LIVE: Final = {
    "one of four lies, then all is well": Search("views", 4, 14, invariant="goesOn"),
    "nobody lies, then all is well": Search("honest", 4, 14, invariant="goesOn"),
}


CONFORMANCE: Final = {"replicas, nobody lies": frozenset[int](), "replicas, one lies": frozenset({1})}
SEEDS: Final = range(6)
STEPS_MAX: Final = 3_000


def hold(search: Search) -> tuple[bool, str]:
    """Run a search that must find nothing; tell whether all is well, and what there is to say."""
    found = quint.search(search)
    if found.violated:
        return False, found.output
    missing = [witness for witness in search.witnesses if not found.seen(witness)]
    if missing:
        return False, f"never seen: {', '.join(missing)}"
    return True, f"{found.counted('states')} states" if "states" in found.output else ""


def find(mutation: Mutation) -> tuple[bool, str]:
    """Run a search that must find the mistake."""
    with TemporaryDirectory() as directory:
        source = Path(directory) / SPECIFICATION.name
        source.write_text(mutation.apply(SPECIFICATION.read_text(encoding="utf-8")), encoding="utf-8")
        found = quint.search(mutation.search, source)
    return found.violated, "" if found.violated else f"not found\n{found.output}"


def conform(liars: frozenset[int]) -> tuple[bool, str]:
    """Replay what replicas do."""
    recordings = [Recording(seed, liars).run(STEPS_MAX) for seed in SEEDS]
    with TemporaryDirectory() as directory:
        difference = first_difference(recordings, liars, Path(directory))
    return not difference, difference or f"{sum(len(recording.entries) for recording in recordings)} steps"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    kind: str
    name: str
    run: Callable[[], tuple[bool, str]]

    def report(self) -> bool:
        """Carry it out, print the line, and tell whether all is as it should be."""
        began = time.monotonic()
        try:
            is_fine, detail = self.run()
        except (QuintError, ValueError) as error:
            is_fine, detail = False, str(error)
        seconds = time.monotonic() - began
        print(f"{'ok ' if is_fine else 'BAD'} {seconds:5.1f} s  {self.kind:<11} {self.name}  {detail}", flush=True)  # noqa: T201
        return is_fine


def checks() -> list[Check]:
    """Return all, the longest first."""
    return [
        *(Check("conformance", name, partial(conform, liars)) for name, liars in CONFORMANCE.items()),
        *(Check("exhaustive", name, partial(hold, search)) for name, search in EXHAUSTIVE.items()),
        *(Check("live", name, partial(hold, search)) for name, search in LIVE.items()),
        *(Check("safe", name, partial(hold, search)) for name, search in SAFE.items()),
        *(Check("mistake", mutation.name, partial(find, mutation)) for mutation in MUTATIONS),
    ]


def main() -> int:
    """Return 0 when all is as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.specification")
    parser.add_argument("--only", default="", help="checks whose line contains this text")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    chosen = [check for check in checks() if args.only in f"{check.kind} {check.name}"]
    began = time.monotonic()
    with ThreadPoolExecutor(args.jobs) as pool:
        fine = list(pool.map(Check.report, chosen))
    print(f"{len(fine)} checks, {fine.count(False)} bad, {time.monotonic() - began:.0f} s")  # noqa: T201
    return 0 if fine and all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
