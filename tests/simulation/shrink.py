"""The smallest scenario that still breaks a promise. One law: a step is kept only if the run still fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, TypeVar

from tests.simulation.scenario import US, Scenario

T = TypeVar("T")
RUNS_MAX: Final = 300
"""Runs that one scenario is worth."""

FAULTY_US_MIN: Final = 200 * US


def shrink(scenario: Scenario, fails: Callable[[Scenario], bool], *, runs_max: int = RUNS_MAX) -> Scenario:
    """Remove faults one after the other while the run still fails.

    Args:
        scenario: one that fails.
        fails: tells whether a scenario does.
        runs_max: how often it may be asked.

    Returns:
        A scenario that fails, of which nothing more can be removed in one step, unless the runs were used up.
    """
    runs, changed = 0, True
    while changed:
        changed = False
        for simpler in _simpler(scenario):
            if runs >= runs_max:
                return scenario
            runs += 1
            if fails(simpler):
                scenario, changed = simpler, True
                break
    return scenario


def _simpler(scenario: Scenario) -> Iterator[Scenario]:
    """Yield scenarios with less in them, those that remove much first."""
    yield from (replace(scenario, crashes=fewer) for fewer in _fewer(scenario.crashes))
    yield from (replace(scenario, partitions=fewer) for fewer in _fewer(scenario.partitions))
    yield from (replace(scenario, liars=fewer) for fewer in _fewer(scenario.liars))
    yield from (replace(scenario, changes=fewer) for fewer in _fewer(scenario.changes))
    calm = replace(scenario, drop=0.0, duplicate=0.0, slow=0.0, slow_validation=0.0, siege=0.0, followers=0)
    even = replace(scenario, skew_ms=(0,) * len(scenario.skew_ms), fsync_us=(0,) * len(scenario.fsync_us))
    milder = (
        calm,
        even,
        replace(scenario, drop=0.0),
        replace(scenario, duplicate=0.0),
        replace(scenario, slow=0.0),
        replace(scenario, slow_validation=0.0),
        replace(scenario, siege=0.0),
        replace(scenario, followers=0),
        replace(scenario, skew_ms=even.skew_ms),
        replace(scenario, fsync_us=even.fsync_us),
        replace(scenario, transactions=max(1, scenario.transactions // 2)),
        replace(scenario, faulty_us=max(scenario.faulty_us // 2, min(FAULTY_US_MIN, scenario.faulty_us))),
        replace(scenario, delay_us=500),
    )
    yield from (simpler for simpler in milder if simpler != scenario)


def _fewer(items: tuple[T, ...]) -> Iterator[tuple[T, ...]]:
    """Yield the items without all, halves, and single ones of them."""
    if items:
        yield ()
    if len(items) > 2:
        yield items[len(items) // 2 :]
        yield items[: len(items) // 2]
    if len(items) > 1:
        for index in range(len(items)):
            yield items[:index] + items[index + 1 :]
