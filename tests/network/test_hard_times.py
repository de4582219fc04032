"""Real nodes under load through slow, lossy and long-lasting troubles; nobody touches anything else.

Each test ends with transactions through all four nodes; at the end of all, the four chains are equal.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.network.clocks import SteppedClock
from tests.network.switch import Link
from tests.network.testbed import Testbed
from tests.processes.harness import Trainers, grow, height_of, log_of, until
from tests.processes.small_disk import fill, moved_to_small_disk
from tests.processes.stream import Stream

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.xdist_group("network")]

SECONDS_DOWN = float(os.environ.get("SOAK_SECONDS_DOWN", "20"))
"""How long two of four stay away."""


@pytest.mark.parametrize("delay_ms", [50.0, 100.0, 200.0])
def test_slow_links_are_lived_with(bed: Testbed, stream: Stream, delay_ms: float) -> None:
    """Each way; with 200 ms a block takes longer than the first view's time-out of 500 ms."""
    bed.everywhere(Link(delay_ms=delay_ms, jitter_ms=delay_ms / 10))
    stream.further(5)


def test_links_that_lose_packets_are_lived_with(bed: Testbed, stream: Stream) -> None:
    bed.everywhere(Link(delay_ms=25, jitter_ms=10, loss=0.05))
    stream.further(5)


def test_rounds_are_certified_while_links_are_slow_and_lose_packets(bed: Testbed, stream: Stream) -> None:
    first = bed.nodes[0]
    certified = log_of(bed.processes, first).count("round.certified")
    bed.everywhere(Link(delay_ms=25, jitter_ms=10, loss=0.02))
    with Trainers(bed.consortium, enter=bed.enter) as trainers:
        until(lambda: log_of(bed.processes, first).count("round.certified") >= certified + 2, "two certified rounds")
    bed.acknowledged |= trainers.acknowledged


def test_nodes_are_restarted_one_after_the_other(bed: Testbed, stream: Stream) -> None:
    for node in bed.nodes:
        bed.kill(node)
        others = [other for other in bed.nodes if other is not node]
        grow(others, 2)
        bed.start(node)
        grow(list(bed.nodes), 2)


def test_two_of_four_that_were_away_for_long_are_waited_for(bed: Testbed, stream: Stream) -> None:
    """Nothing is decided meanwhile, nothing runs away, and it goes on as soon as a third is back."""
    away, present = bed.nodes[:2], bed.nodes[2:]
    bed.kill(*away)
    until(lambda: all(bed.stuck(node) for node in present), "two that say what they wait for")
    before = max(height_of(node.data) for node in bed.nodes)
    _pass(SECONDS_DOWN)
    assert max(height_of(node.data) for node in bed.nodes) <= before + 1

    bed.start(away[0])
    grow([away[0], *present], 2)
    bed.start(away[1])


def test_the_network_flaps_for_a_while(bed: Testbed, stream: Stream) -> None:
    """Another node is alone every second."""
    for turn in range(12):
        lonely = bed.nodes[turn % 4]
        bed.part([lonely], [node for node in bed.nodes if node is not lonely])
        _pass(1.0)


def test_a_full_disk_under_load_ends_one_node_until_there_is_space(bed: Testbed, stream: Stream) -> None:
    full, others = bed.nodes[0], list(bed.nodes[1:])
    bed.kill(full)
    with moved_to_small_disk(full.data, 64 << 20):
        bed.start(full)
        grow(list(bed.nodes), 2)
        hog = fill(full.data)
        process = bed.processes.running.pop(f"node-{full.name}")
        until(lambda: process.poll() is not None, "the end of the node on the full disk")
        assert process.returncode == 1
        assert "free space" in log_of(bed.processes, full).splitlines()[-1]
        grow(others, 3)
        hog.unlink()
        bed.start(full)
        grow(list(bed.nodes), 2)
        stream.further(2)
        bed.kill(full)
    bed.start(full)


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_clock_that_jumps_by_an_hour_costs_its_node_its_vote_until_it_is_set_right(
    bed: Testbed, stream: Stream, tmp_path: Path, seconds: int
) -> None:
    wrong, others = bed.nodes[0], list(bed.nodes[1:])
    clock = SteppedClock(tmp_path / "clock")
    bed.kill(wrong)
    bed.start(wrong, variables=clock.variables)
    grow(list(bed.nodes), 2)

    clock.step(seconds)
    rejected = log_of(bed.processes, wrong).count("block-rejected")
    until(lambda: log_of(bed.processes, wrong).count("block-rejected") > rejected, "a block of another time")
    grow(others, 5)
    grow(list(bed.nodes), 1)  # it follows all the same

    clock.step(0)
    stream.further(3)
    bed.kill(wrong)
    bed.start(wrong)


def _pass(seconds: float) -> None:
    """Let a trouble last; whether it did is not asked of the clock but by what each test asserts afterwards."""
    time.sleep(seconds)  # the length of the trouble is the test's input: no condition stands for it
