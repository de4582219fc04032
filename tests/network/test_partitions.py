"""Real nodes whose network falls apart and comes together again; nobody touches anything else.

Each test begins and ends with transactions through all four nodes; at the end of all, the four chains are equal.
"""

from __future__ import annotations

import pytest

from tests.network.testbed import Testbed
from tests.processes.harness import grow, height_of, until
from tests.processes.stream import Stream

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("network")]


def test_two_halves_decide_nothing_and_go_on_together(bed: Testbed, stream: Stream) -> None:
    nodes = bed.nodes
    bed.part(nodes[:2], nodes[2:])
    reached = max(height_of(node.data) for node in nodes)
    until(lambda: all(bed.stuck(node) for node in nodes), "four nodes that say what they wait for")

    # A quorum's COMMITs may have been on their way when the network parted: at most that height is decided.
    assert max(height_of(node.data) for node in nodes) <= reached + 1


def test_three_go_on_without_the_fourth_which_comes_back_by_itself(bed: Testbed, stream: Stream) -> None:
    lonely, *others = bed.nodes
    bed.part([lonely], others)
    alone_at = height_of(lonely.data)
    grow(others, 5)
    assert height_of(lonely.data) <= alone_at + 1

    bed.heal()
    grow(list(bed.nodes), 1)


def test_a_node_that_hears_nobody_holds_up_nobody(bed: Testbed, stream: Stream) -> None:
    deaf, *others = bed.nodes
    bed.cut(*((other, deaf) for other in others))
    grow(others, 5)


def test_a_node_that_nobody_hears_holds_up_nobody(bed: Testbed, stream: Stream) -> None:
    dumb, *others = bed.nodes
    bed.cut(*((dumb, other) for other in others))
    grow(others, 5)


@pytest.mark.soak
def test_four_in_a_line_agree_by_passing_on(bed: Testbed, stream: Stream) -> None:
    """A one-way cut is enough to end a link: each end of the line hears the other one through two others."""
    first, second, third, fourth = bed.nodes
    bed.cut((first, third), (fourth, first), (second, fourth))
    stream.further(2)


def test_sites_that_cannot_reach_each_other_take_part_through_a_third(bed: Testbed, stream: Stream) -> None:
    first, second, *_ = bed.nodes
    bed.cut((first, second), (second, first))
    stream.further(5)


def test_a_primary_that_is_suspended_is_passed_over(bed: Testbed, stream: Stream) -> None:
    sleeper, *others = bed.nodes
    bed.suspend(sleeper)
    grow(others, 5)  # one of every four heights was its turn
    bed.resume(sleeper)
