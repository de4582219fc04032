"""What a replica says that its height waits for, and who has signed it."""

from __future__ import annotations

from consensus import Awaited, BlockValidated, Replica, WorkArrived
from tests.consensus.council import H1, V0, V1, Council, receive

COUNCIL = Council()
BLOCK = COUNCIL.block()


def proposed(index: int = 2) -> Replica:
    """Return a backup that has validated the primary's block and prepared it."""
    replica = COUNCIL.replica(index)
    receive(replica, COUNCIL.pre_prepare(BLOCK))
    replica.step(BlockValidated(H1, V0, BLOCK.id, ok=True, reason=""))
    return replica


def test_without_a_proposal_the_primary_is_waited_for() -> None:
    replica = COUNCIL.replica(2)
    replica.step(WorkArrived())
    standing = replica.standing()
    assert (standing.awaited, standing.primary, standing.signers) == (Awaited.PROPOSAL, 1, ())


def test_signers_of_the_prepared_certificate_are_those_whose_prepares_are_here() -> None:
    standing = proposed().standing()
    assert (standing.awaited, standing.signers) == (Awaited.PREPARED, (1, 2))


def test_once_prepared_the_commits_are_waited_for() -> None:
    replica = proposed()
    receive(replica, COUNCIL.prepare(0, BLOCK), COUNCIL.commit(0, BLOCK))
    standing = replica.standing()
    assert (standing.awaited, standing.signers) == (Awaited.COMMIT, (0, 2))


def test_who_wants_a_later_view_waits_for_a_quorum_that_wants_it() -> None:
    replica = COUNCIL.replica(2)
    receive(replica, COUNCIL.pre_prepare(BLOCK))
    replica.step(BlockValidated(H1, V0, BLOCK.id, ok=False, reason="no"))  # rejects it and asks for view 1
    standing = replica.standing()
    assert (standing.awaited, standing.view, standing.signers) == (Awaited.VIEW_CHANGE, V1, (2,))

    receive(replica, COUNCIL.view_change(0, V1))
    assert replica.standing().signers == (0, 2)


def test_a_decided_block_whose_body_is_missing_is_waited_for_and_its_signers_have_it() -> None:
    replica = COUNCIL.replica(2)
    receive(replica, *(COUNCIL.commit(sender, BLOCK) for sender in (0, 1, 3)))
    standing = replica.standing()
    assert (standing.awaited, standing.signers) == (Awaited.BODY, (0, 1, 3))


def test_a_replica_that_looks_on_says_that_it_does_not_sign() -> None:
    assert COUNCIL.replica(2).standing().can_sign
    assert not COUNCIL.replica(2, observe_until_ms=10**15).standing().can_sign


def test_a_word_of_this_key_that_is_not_of_this_replica_is_told() -> None:
    replica = COUNCIL.replica(2)
    assert not replica.standing().seen_elsewhere
    receive(replica, COUNCIL.prepare(2, BLOCK))
    assert replica.standing().seen_elsewhere


def test_telling_changes_nothing() -> None:
    """I2 and determinism: two replicas, one of them asked at each step, do the same."""
    asked, quiet = proposed(), proposed()
    asked.standing()
    messages = (COUNCIL.prepare(0, BLOCK), COUNCIL.commit(0, BLOCK), COUNCIL.commit(1, BLOCK))
    for message in messages:
        assert receive(asked, message) == receive(quiet, message)
        asked.standing()
