"""A few seeds of everything; `make simulate` runs as many as one likes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import count
from time import monotonic

import pytest

from consensus import SafetyRecordError
from ledger.reigns import validators_of
from tests.simulation import toy
from tests.simulation.__main__ import run as report_of
from tests.simulation.checkers import BrokenPromiseError
from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.prosecutor import Prosecutor
from tests.simulation.scenario import LIARS, WHOLE_LIARS, Change, Scenario
from tests.simulation.shrink import shrink
from tests.simulation.whole.consortium import consortium_of
from tests.simulation.whole.mutations import WHOLE_MUTATIONS
from tests.simulation.whole.world import WholeSimulation
from tests.simulation.world import Outcome, Simulation

MUTATION_SEEDS_MAX = 1_000
SOAK_MINUTES = float(os.environ.get("FOEDUS_SOAK_MINUTES", "6"))
"""What all long tests of the simulator may take together."""


def run(seed: int, n: int, liar: str | None = None, *, whole: bool = False) -> Outcome:
    scenario = Scenario.draw(seed, n, liar=liar, whole=whole)
    try:
        return (WholeSimulation(scenario) if whole else Simulation(scenario)).run()
    except BrokenPromiseError as error:
        command = f"python -m tests.simulation --seed {seed} --n {n}" + (f" --liar {liar}" if liar else "")
        raise BrokenPromiseError(f"{error}\nagain: {command}{'' if whole else ' --replicas'} --verbose") from error


def hunt(mutation: Mutation, seeds: int = MUTATION_SEEDS_MAX) -> None:
    for seed in range(mutation.seed, mutation.seed + seeds):
        Simulation(Scenario.draw(seed, mutation.n, liar=mutation.liar)).run()


def hunt_whole(mutation: Mutation, seeds: int = MUTATION_SEEDS_MAX) -> None:
    for seed in range(mutation.seed, mutation.seed + seeds):
        WholeSimulation(Scenario.draw(seed, mutation.n, liar=mutation.liar, whole=True)).run()


FORKING = ((1, "equivocator"), (2, "turncoat"))
"""f + 1 of four, who split the chain together."""


def forked_by_one_liar_too_many(liars: tuple[tuple[int, str], ...]) -> Prosecutor:
    """Return what is known of the first run that forks."""
    for seed in range(100):
        simulation = Simulation(replace(Scenario.draw(seed, 4), liars=liars))
        simulation.prosecutor = prosecutor = Prosecutor(toy.CHAIN_ID, toy.validator_set(toy.signing_keys(4)))
        try:
            simulation.run()
        except BrokenPromiseError as error:
            if "a fork" in str(error):
                return prosecutor
    raise AssertionError("no run forks")


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 10])
def test_validators_agree_and_go_on_whatever_the_network_and_the_disks_do(n: int) -> None:
    for seed in range(12 if n == 4 else 2):
        outcome = run(seed, n)

        assert outcome.height > 0


@pytest.mark.parametrize("liar", LIARS)
def test_f_liars_of_a_kind_neither_split_nor_stop_the_chain(liar: str) -> None:
    for seed in range(3):
        assert run(seed, 4, liar).height > 0
    assert run(0, 7, liar).height > 0


@pytest.mark.parametrize("n", [1, 2, 4, 7, 10])
def test_whole_nodes_agree_on_blocks_and_models_whatever_the_network_and_the_disks_do(n: int) -> None:
    for seed in range(8 if n == 4 else 1):
        assert run(seed, n, whole=True).height > 0


@pytest.mark.parametrize("liar", WHOLE_LIARS)
def test_f_lying_nodes_of_a_kind_neither_falsify_nor_stop_the_chain(liar: str) -> None:
    for seed in range(2):
        assert run(seed, 4, liar, whole=True).height > 0


@pytest.mark.parametrize("change", [Change(900_000, "rotate", 0), Change(900_000, "remove", 3)])
def test_the_set_of_validators_changes_while_nodes_crash_and_links_fail(change: Change) -> None:
    for seed in (1, 2):
        scenario = replace(Scenario.draw(seed, 4, whole=True), liars=(), changes=(change,))
        simulation = WholeSimulation(scenario)
        simulation.run()
        assert simulation.changes.are_done
        assert validators_of(simulation.chain.state) != consortium_of(4).validators


def test_evidence_of_what_travelled_takes_the_seat_of_a_liar() -> None:
    seated = set()
    for seed in range(6):
        scenario = Scenario.draw(seed, 4, liar="turncoat", whole=True)
        simulation = WholeSimulation(replace(scenario, changes=(Change(900_000, "convict", 0),)))
        simulation.run()
        assert simulation.changes.are_done
        seated.add(len(validators_of(simulation.chain.state)))
    assert 3 in seated


def test_one_liar_too_many_forks_the_chain_and_signed_messages_name_all_of_them() -> None:
    """Safety holds for f of n and not one more: the checker sees the fork, and evidence convicts f + 1, nobody else."""
    culprits = forked_by_one_liar_too_many(FORKING).culprits()

    assert culprits == {index for index, _ in FORKING}


@pytest.mark.parametrize("liar", LIARS)
def test_evidence_names_no_honest_validator(liar: str) -> None:
    for seed in range(3):
        scenario = Scenario.draw(seed, 4, liar=liar)
        simulation = Simulation(scenario)
        simulation.prosecutor = prosecutor = Prosecutor(toy.CHAIN_ID, toy.validator_set(toy.signing_keys(4)))
        simulation.run()
        assert prosecutor.culprits() <= dict(scenario.liars).keys()


def test_the_same_seed_gives_the_same_trace() -> None:
    assert run(3, 4) == run(3, 4)
    assert run(3, 4).trace != run(4, 4).trace


def test_the_same_seed_gives_the_same_trace_of_whole_nodes_in_every_process() -> None:
    """Hash seeds differ from process to process: no order of a set may matter."""
    code = (
        "from tests.simulation.test_simulation import run; print(run(3, 4, whole=True).trace, run(1, 4).trace, end='')"
    )
    traces = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(traces) == 1


def test_a_failing_run_is_made_smaller_and_still_fails() -> None:
    mutation = next(one for one in MUTATIONS if one.name == "quorum f + 1")
    scenario = replace(Scenario.draw(0, 4), liars=((1, "mute"),), drop=0.1)
    with mutation.applied():
        small = shrink(scenario, lambda simpler: bool(report_of(simpler, whole=False).problem))
        assert "COMMITs, needs 3" in report_of(small, whole=False).problem
    assert (small.crashes, small.partitions, small.liars, small.drop, small.transactions) == ((), (), (), 0.0, 1)
    assert not report_of(small, whole=False).problem, "without the bug nothing is wrong with it"


def test_a_run_that_does_not_fail_is_not_made_smaller() -> None:
    scenario = Scenario.draw(0, 4)
    assert shrink(scenario, lambda _: False) == scenario


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name.replace(" ", "-"))
def test_the_simulator_finds_a_seeded_bug(mutation: Mutation) -> None:
    """Recorded seeds make it quick; a change of the dice only makes it slower."""
    with mutation.applied(), pytest.raises((BrokenPromiseError, SafetyRecordError)):
        hunt(mutation)


@pytest.mark.soak
@pytest.mark.parametrize("mutation", WHOLE_MUTATIONS, ids=lambda mutation: mutation.name.replace(" ", "-"))
def test_the_simulator_finds_a_seeded_bug_of_whole_nodes(mutation: Mutation) -> None:
    with mutation.applied(), pytest.raises(BrokenPromiseError):
        hunt_whole(mutation)


def test_the_simulator_finds_a_forged_aggregate_and_an_update_that_nobody_keeps() -> None:
    """The two of the seeded bugs of whole nodes that are found at once; all of them are in `make soak`."""
    for mutation in WHOLE_MUTATIONS[:2]:
        with mutation.applied(), pytest.raises(BrokenPromiseError):
            hunt_whole(mutation, 5)


@pytest.mark.soak
@pytest.mark.parametrize("whole", [True, False], ids=["whole-nodes", "replicas"])
def test_as_many_seeds_as_there_is_time_for(whole: bool) -> None:
    """Other seeds than those of every day: begun where the quick tests end."""
    until = monotonic() + 60 * SOAK_MINUTES / 3
    for seed in count(1_000):
        for n in (4, 7, 10, 5):
            run(seed, n, whole=whole)
        if monotonic() > until:
            return
