"""What a rule let through of each site over the last rounds. One law: from certified results alone.

A robust rule cannot tell an attacker from an honest site whose patients differ from everybody else's. Who is left out
round after round should know it, and so should the consortium.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fl.records import Contribution, RoundResult
from fl.state import result_of
from ledger.application import StateReader

RETENTION_ROUNDS: Final = 10
"""Certified rounds that are looked back on."""

LOOKED_AT_MAX: Final = 4 * RETENTION_ROUNDS
"""Rounds that are looked at for them: those between may have failed."""

PERMILLE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Retention:
    """One participant in the last certified rounds."""

    rounds: int
    """In how many of them it took part."""

    left_out: int
    """In how many of these the rule did without it."""

    permille: int
    """What the rule let through of it on average, in thousandths, rounded down; of the rounds in which it took part."""


def retention(state: StateReader, task: str, number: int) -> tuple[int, dict[str, Retention]]:
    """Return how many certified rounds up to `number` were looked at, and each participant's part in them.

    Args:
        state: in which round `number` is certified.
        task: whose rounds.
        number: the last round that counts.
    """
    results = _results(state, task, number)
    parts: dict[str, list[Contribution]] = {}
    for result in results:
        for one in result.contributions:
            parts.setdefault(one.participant, []).append(one)
    return len(results), {name: _retention(parts[name]) for name in sorted(parts)}


def _retention(parts: list[Contribution]) -> Retention:
    shares = sum(PERMILLE * one.retained // one.retained_of for one in parts)
    return Retention(len(parts), sum(one.left_out for one in parts), shares // len(parts))


def _results(state: StateReader, task: str, number: int) -> list[RoundResult]:
    found: list[RoundResult] = []
    for candidate in range(number, max(0, number - LOOKED_AT_MAX), -1):
        result = result_of(state, task, candidate)
        if result is not None:
            found.append(result)
        if len(found) == RETENTION_ROUNDS:
            break
    return found
