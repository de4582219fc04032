"""The signing gate: nothing is signed for a height whose commit certificate is known, with its block or without."""

from __future__ import annotations

from consensus import BlockBuilt, BuildBlock, Replica, WorkArrived
from tests.consensus.council import H1, H2, V0, V1, Council, of, receive, votes


def learn(council: Council, replica: Replica) -> None:
    """Tell a replica that another block than any it has is final at height 1."""
    certificate = council.certified(council.block(text=b"decided")).certificate
    receive(replica, council.seats[3].sign_status(H2, V0, 1, certificate))


def test_f_plus_1_view_changes_draw_none_out_of_who_knows_the_decision() -> None:
    council = Council()
    replica = council.replica(0)
    learn(council, replica)

    effects = receive(replica, council.view_change(2, V1), council.view_change(3, V1))

    assert votes(effects) == []


def test_a_primary_that_learns_the_decision_while_it_builds_does_not_propose() -> None:
    council = Council()
    replica = council.replica(1)
    assert of(replica.step(WorkArrived()), BuildBlock) != []
    learn(council, replica)

    assert votes(replica.step(BlockBuilt(H1, V0, council.block()))) == []


def test_a_quorum_of_prepares_draws_no_commit_out_of_who_knows_the_decision() -> None:
    council = Council()
    block = council.block()
    replica = council.replica(1)
    replica.step(WorkArrived())
    replica.step(BlockBuilt(H1, V0, block))
    learn(council, replica)

    assert votes(receive(replica, council.prepare(0, block), council.prepare(2, block))) == []
