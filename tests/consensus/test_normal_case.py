"""R0 to R5: work, proposals, PREPAREs, COMMITs."""

from __future__ import annotations

import pytest

from consensus import (
    AppendBlock,
    BlockBuilt,
    BuildBlock,
    Drop,
    DropReason,
    Evidence,
    MessageReceived,
    Persist,
    Replica,
    SetTimer,
    Started,
    TimerKind,
    ValidateBlock,
    WorkArrived,
    WorkGone,
)
from consensus.events import CancelTimer
from consensus.messages import Body, BodyRequest, Commit, Prepare, PrePrepare
from ledger.block import Block
from ledger.certificate import COMMIT, verify_certificate
from ledger.identity import SigningKey
from tests.consensus.council import (
    H1,
    H2,
    V0,
    V1,
    Council,
    accept,
    append,
    of,
    propose,
    receive,
    records,
    sent,
    validate,
    votes,
)
from tests.simulation import toy


def timers(effects: list[object]) -> list[TimerKind]:
    return [effect.timer.kind for effect in effects if isinstance(effect, SetTimer)]


# R0


def test_r0_an_idle_replica_arms_no_timer_but_that_of_its_status() -> None:
    council = Council()
    replica = Replica(
        toy.CHAIN_ID, council.keys[0], toy.PARAMETERS, council.validators, height=H1, parent_id=toy.CHAIN_ID
    )

    assert timers([*replica.step(Started())]) == [TimerKind.STATUS]


def test_r0_work_arms_the_view_timer_and_makes_only_the_primary_build() -> None:
    council = Council()
    effects = [council.replica(index).step(WorkArrived()) for index in range(4)]

    assert all(TimerKind.VIEW in timers([*some]) for some in effects)
    assert [len(of(some, BuildBlock)) for some in effects] == [0, 1, 0, 0]


def test_r0_nothing_is_proposed_and_no_timer_is_left_when_there_was_nothing_to_build() -> None:
    replica = Council().replica(1)
    replica.step(WorkArrived())

    effects = replica.step(BlockBuilt(H1, V0, None))

    assert not votes(effects)
    assert CancelTimer(TimerKind.VIEW) in effects


def test_r0_work_that_arrives_while_a_block_is_built_is_not_forgotten() -> None:
    replica = Council().replica(1)
    replica.step(WorkArrived())
    replica.step(WorkArrived())

    assert of(replica.step(BlockBuilt(H1, V0, None)), BuildBlock)


def test_r0_one_stranger_vote_is_no_reason_to_expect_a_block_but_two_are() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()

    assert TimerKind.VIEW not in timers([*receive(replica, council.prepare(2, block))])
    assert TimerKind.VIEW in timers([*receive(replica, council.prepare(3, block))])


def test_r0_work_that_is_gone_disarms_the_view_timer() -> None:
    replica = Council().replica(0)
    replica.step(WorkArrived())

    assert CancelTimer(TimerKind.VIEW) in replica.step(WorkGone())


# R1, R2


def test_r1_the_primary_moves_on_with_every_height_and_every_view() -> None:
    seat = Council(4).seats[0]

    assert [seat.primary(H1, V0), seat.primary(H1, V1), seat.primary(H2, V0)] == [1, 2, 2]


def test_r2_the_primary_writes_its_proposal_down_before_it_sends_it() -> None:
    council = Council()
    block = council.block()

    effects = propose(council.replica(1), block)

    assert isinstance(effects[0], Persist)
    assert votes(effects) == [council.pre_prepare(block)]


def test_r2_the_proposal_is_the_primarys_prepare() -> None:
    """A quorum of three: the primary's, our own and one more."""
    council = Council()
    replica, block = council.replica(1), council.block()
    propose(replica, block)

    effects = receive(replica, council.prepare(0, block), council.prepare(2, block))

    assert votes(effects) == [council.commit(1, block)]


def test_a_single_validator_decides_alone() -> None:
    council = Council(1)
    replica, block = council.replica(0), council.block(0)

    effects = propose(replica, block)

    assert isinstance(effects[0], Persist)
    assert isinstance(effects[-1], AppendBlock)
    assert effects[-1].certified.block == block


# R3


def test_r3_a_backup_has_a_proposal_validated_and_then_prepares_it() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()

    asked = receive(replica, council.pre_prepare(block))
    answered = validate(replica, asked)

    assert of(asked, ValidateBlock) == [ValidateBlock(V0, block, fresh=True)]
    assert not votes(asked)
    assert isinstance(answered[0], Persist)
    assert votes(answered) == [council.prepare(0, block)]


def test_r3_a_proposal_of_somebody_else_is_refused() -> None:
    council = Council()
    effects = receive(council.replica(0), council.pre_prepare(council.block(), sender=2))

    assert [drop.reason for drop in of(effects, Drop)] == [DropReason.NOT_THE_PRIMARY]


def test_r3_a_proposal_with_a_borrowed_seal_is_refused() -> None:
    council = Council()
    mine, its = council.pre_prepare(council.block()), council.pre_prepare(council.block(text=b"another"))
    forged = PrePrepare(mine.height, mine.view, mine.block, its.seal, None)

    effects = receive(council.replica(0), forged)

    assert [drop.reason for drop in of(effects, Drop)] == [DropReason.BAD_SIGNATURE]


def test_r3_a_new_block_names_its_proposer() -> None:
    council = Council()
    effects = receive(council.replica(0), council.pre_prepare(council.block(proposer=3)))

    assert [drop.reason for drop in of(effects, Drop)] == [DropReason.WRONG_BLOCK]


def test_r3_a_block_on_another_parent_is_refused() -> None:
    council = Council()
    tip = toy.Tip(toy.GENESIS.height, council.block().id, toy.GENESIS.time_ms, toy.GENESIS.state)

    effects = receive(council.replica(0), council.pre_prepare(council.block(tip=tip)))

    assert [drop.reason for drop in of(effects, Drop)] == [DropReason.WRONG_BLOCK]


def test_r3_who_relays_a_proposal_cannot_change_its_transactions() -> None:
    council = Council()
    replica, honest = council.replica(0), council.pre_prepare(council.block())
    changed = PrePrepare(H1, V0, Block(honest.block.header, (b"other",)), honest.seal, None)

    assert [drop.reason for drop in of(receive(replica, changed), Drop)] == [DropReason.WRONG_BLOCK]
    assert votes(accept(replica, honest)), "the real one is still accepted"


def test_r3_a_second_proposal_in_a_view_is_evidence_and_gets_no_vote() -> None:
    council = Council()
    replica, first, second = council.replica(0), council.block(), council.block(text=b"second")
    accept(replica, council.pre_prepare(first))

    effects = receive(replica, council.pre_prepare(second))

    assert [evidence.offender for evidence in of(effects, Evidence)] == [1]
    assert not votes(effects)


def test_r3_the_same_proposal_again_changes_nothing() -> None:
    council = Council()
    replica, message = council.replica(0), council.pre_prepare(council.block())
    accept(replica, message)

    assert [drop.reason for drop in of(receive(replica, message), Drop)] == [DropReason.DUPLICATE]


def test_r3_in_view_0_nothing_needs_to_be_justified_and_nothing_may_be() -> None:
    council = Council()
    opening = council.opening(V0, *(council.view_change(index, V0) for index in range(3)))

    effects = receive(council.replica(0), council.pre_prepare(council.block(), V0, opening))

    assert [drop.reason for drop in of(effects, Drop)] == [DropReason.BAD_CERTIFICATE]


# R4


def test_r4_backup_votes_to_commit_once_a_quorum_is_prepared() -> None:
    """With n = 4 the pre-prepare, our own prepare and one more make three."""
    council = Council()
    replica, block = council.replica(0), council.block()
    accept(replica, council.pre_prepare(block))

    effects = receive(replica, council.prepare(2, block))

    assert isinstance(effects[0], Persist)
    assert votes(effects) == [council.commit(0, block)]


def test_r4_nobody_commits_to_a_block_before_having_validated_it() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()
    asked = receive(replica, council.pre_prepare(block))

    early = receive(replica, council.prepare(2, block), council.prepare(3, block))
    late = validate(replica, asked)

    assert not votes(early)
    assert votes(late) == [council.prepare(0, block), council.commit(0, block)]
    assert len(records(late)) == 2
    assert len(of(late, Persist)) == 1, "both words cost one write"


@pytest.mark.parametrize("n, others", [(4, 1), (5, 2), (6, 2), (7, 3), (8, 4), (10, 5)])
def test_r4_the_quorum_is_more_than_half_of_all_and_the_faulty_together(n: int, others: int) -> None:
    """2f + 1 would be 3 for n = 5, 6: two such quorums could meet in a liar alone."""
    council = Council(n)
    replica, block = council.replica(0), council.block()
    accept(replica, council.pre_prepare(block))

    effects = [receive(replica, council.prepare(2 + index, block)) for index in range(others)]

    assert [bool(votes(some)) for some in effects] == [False] * (others - 1) + [True]


def test_a_vote_counts_once() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()
    receive(replica, council.pre_prepare(block))

    effects = receive(replica, *[council.commit(2, block)] * 3)

    assert not of(effects, AppendBlock)
    assert [drop.reason for drop in of(effects, Drop)] == [DropReason.DUPLICATE] * 2


def test_two_votes_in_one_view_are_evidence_and_the_first_stays() -> None:
    council = Council()
    replica, block, another = council.replica(0), council.block(), council.block(text=b"another")
    receive(replica, council.commit(2, block))

    effects = receive(replica, council.commit(2, another))

    (evidence,) = of(effects, Evidence)
    assert evidence.offender == 2
    assert evidence.first != evidence.second


def test_a_vote_for_another_chain_does_not_count() -> None:
    council, block = Council(), Council().block()
    seal = council.seats[2].seal_vote(COMMIT, H1, V0, block.id)
    stranger = SigningKey(bytes(32)).sign("vote", toy.CHAIN_ID, b"")

    effects = receive(council.replica(0), Commit(H1, V0, block.id, type(seal)(2, stranger)))

    assert [drop.reason for drop in of(effects, Drop)] == [DropReason.BAD_SIGNATURE]


def test_a_commit_is_no_prepare() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()
    accept(replica, council.pre_prepare(block))

    effects = receive(replica, Prepare(H1, V0, block.id, council.commit(2, block).seal))

    assert [drop.reason for drop in of(effects, Drop)] == [DropReason.BAD_SIGNATURE]


# R5


def test_r5_a_quorum_of_commits_makes_the_block_final_and_the_certificate_convinces_anybody() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()
    accept(replica, council.pre_prepare(block))

    effects = receive(replica, council.prepare(2, block), council.commit(1, block), council.commit(2, block))

    assert isinstance(effects[-1], AppendBlock)
    verify_certificate(toy.CHAIN_ID, COMMIT, council.validators, effects[-1].certified.certificate)


def test_r5_commits_of_a_later_view_decide_too() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()
    accept(replica, council.pre_prepare(block))

    effects = receive(replica, *(council.commit(index, block, V1) for index in (1, 2, 3)))

    assert isinstance(effects[-1], AppendBlock)
    assert effects[-1].certified.certificate.view == V1


def test_r5_commits_of_different_views_do_not_add_up() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()
    accept(replica, council.pre_prepare(block))

    effects = receive(replica, council.commit(1, block), council.commit(2, block), council.commit(3, block, V1))

    assert not of(effects, AppendBlock)


def test_r5_who_has_the_certificate_but_not_the_block_asks_for_it() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()

    asking = receive(replica, *(council.commit(index, block) for index in (1, 2, 3)))
    wrong = receive(replica, Body(Block(block.header, (b"other",))), Body(council.block(text=b"another")))
    right = receive(replica, Body(block))

    assert [message for message in sent(asking) if isinstance(message, BodyRequest)]
    assert not of(wrong, AppendBlock)
    assert isinstance(right[-1], AppendBlock)


def test_r5_a_proposal_that_comes_last_is_as_good_as_a_body() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()
    receive(replica, *(council.commit(index, block) for index in (1, 2, 3)))

    assert isinstance(receive(replica, council.pre_prepare(block))[-1], AppendBlock)


def test_a_replica_sends_the_body_it_holds_once_between_two_ticks() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()
    receive(replica, council.pre_prepare(block))
    request = council.seats[2].seal_body_request(H1, block.id)

    effects = receive(replica, request, request)

    assert sent(effects) == [Body(block)]


def test_the_next_height_begins_when_the_block_is_appended() -> None:
    council = Council()
    replica, block = council.replica(2), council.block()
    accept(replica, council.pre_prepare(block))
    effects = receive(replica, council.prepare(0, block), council.commit(1, block), council.commit(0, block))

    append(replica, effects, council)

    assert replica.height == H2
    assert of(replica.step(WorkArrived()), BuildBlock) == [BuildBlock(H2, V0)]


def test_bytes_that_are_no_message_are_dropped() -> None:
    replica = Council().replica(0)

    for data in (b"", b"\xc1", bytes(2_000_000), b"\x92\xa6commit\x01"):
        (drop,) = replica.step(MessageReceived(data))
        assert isinstance(drop, Drop)
        assert drop.reason is DropReason.MALFORMED
