"""A few seeds of everything; `python -m tests.simulation` runs as many as one likes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus import SafetyRecordError
from tests.simulation.checkers import BrokenPromiseError
from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.scenario import LIARS, Scenario
from tests.simulation.world import Outcome, Simulation

MUTATION_SEEDS_MAX = 1_000


def run(seed: int, n: int, liar: str | None = None) -> Outcome:
    try:
        return Simulation(Scenario.draw(seed, n, liar=liar)).run()
    except BrokenPromiseError as error:
        command = f"python -m tests.simulation --seed {seed} --n {n}" + (f" --liar {liar}" if liar else "")
        raise BrokenPromiseError(f"{error}\nagain: {command} --verbose") from error


def hunt(mutation: Mutation) -> None:
    for seed in range(mutation.seed, mutation.seed + MUTATION_SEEDS_MAX):
        Simulation(Scenario.draw(seed, mutation.n, liar=mutation.liar)).run()


def run_with_two_liars_of_four() -> None:
    for seed in range(100):
        Simulation(replace(Scenario.draw(seed, 4), liars=((1, "equivocator"), (2, "turncoat")))).run()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 10])
def test_validators_agree_and_go_on_whatever_the_network_and_the_disks_do(n: int) -> None:
    for seed in range(12 if n == 4 else 2):
        outcome = run(seed, n)

        assert outcome.height > 0


@pytest.mark.parametrize("liar", LIARS)
def test_f_liars_of_a_kind_neither_split_nor_stop_the_chain(liar: str) -> None:
    for seed in range(4):
        assert run(seed, 4, liar).height > 0
    assert run(0, 7, liar).height > 0


def test_one_liar_too_many_forks_the_chain_and_the_checker_sees_it() -> None:
    """Safety holds for f of n and not one more: a simulator that never fails would prove nothing."""
    with pytest.raises(BrokenPromiseError, match="a fork"):
        run_with_two_liars_of_four()


@pytest.mark.soak
@pytest.mark.parametrize("n", [4, 5, 7, 10])
def test_thousands_of_seeds(n: int) -> None:
    for seed in range(2_500):
        run(seed, n)


def test_the_same_seed_gives_the_same_trace() -> None:
    assert run(3, 4) == run(3, 4)
    assert run(3, 4).trace != run(4, 4).trace


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name.replace(" ", "-"))
def test_the_simulator_finds_a_seeded_bug(mutation: Mutation) -> None:
    """Recorded seeds make it quick; a change of the dice only makes it slower."""
    with mutation.applied(), pytest.raises((BrokenPromiseError, SafetyRecordError)):
        hunt(mutation)
