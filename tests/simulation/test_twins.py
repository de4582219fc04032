"""Two processes of one identity, under generated partitions and leaders."""

from __future__ import annotations

import os
from itertools import islice
from time import monotonic

import pytest

from tests.simulation.checkers import BrokenPromiseError
from tests.simulation.mutations import MUTATIONS
from tests.simulation.twins import TwinsSimulation, scenarios

SOAK_MINUTES = float(os.environ.get("FOEDUS_SOAK_MINUTES", "6"))


def run_all(n: int, views: int, count: int) -> None:
    for scenario in islice(scenarios(n, views, limit=count), count):
        TwinsSimulation(scenario).run()


@pytest.mark.parametrize("n,views,count", [(4, 1, 20), (4, 3, 15), (4, 7, 8), (7, 2, 3), (7, 7, 1)])
def test_twins_neither_split_nor_stop_the_chain(n: int, views: int, count: int) -> None:
    for scenario in scenarios(n, views, limit=count):
        assert TwinsSimulation(scenario).run().height > 0


def test_all_sequences_that_differ_in_more_than_names_are_run_when_they_are_few() -> None:
    """41 partitions of five instances into at most three parts, four leaders, less what only renames the honest."""
    once = list(scenarios(4, 1, limit=10_000))

    assert len({scenario.steps for scenario in once}) == len(once)
    assert 164 / 6 < len(once) < 164
    assert len(list(scenarios(4, 2, limit=100))) == 100


def test_twins_find_a_validator_that_votes_after_it_has_asked_to_leave() -> None:
    mutation = next(one for one in MUTATIONS if one.name == "vote after VIEW-CHANGE")
    with mutation.applied(), pytest.raises(BrokenPromiseError):
        run_all(4, 2, 60)


@pytest.mark.soak
@pytest.mark.parametrize("n,views", [(4, 2), (4, 4), (4, 7), (7, 3), (7, 7)])
def test_twins_as_many_as_there_is_time_for(n: int, views: int) -> None:
    until = monotonic() + 60 * SOAK_MINUTES / 6 / 5
    for scenario in scenarios(n, views, limit=20_000):
        TwinsSimulation(scenario).run()
        if monotonic() > until:
            return
