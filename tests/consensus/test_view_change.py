"""R6, R7 and what R2 and R3 say about views above 0."""

from __future__ import annotations

import pytest

from consensus import (
    AppendBlock,
    BlockBuilt,
    BlockValidated,
    Broadcast,
    BuildBlock,
    CancelTimer,
    Drop,
    DropReason,
    Effect,
    Evidence,
    Notice,
    NoticeKind,
    Persist,
    Replica,
    Send,
    SetTimer,
    Timer,
    TimerExpired,
    TimerKind,
    ValidateBlock,
    WorkArrived,
)
from consensus.messages import Body, BodyRequest, PrePrepare, ViewChange, ViewChangeCertificate
from consensus.pace import view_timeout_ms
from ledger.certificate import PREPARE
from ledger.fields import View
from tests.consensus.council import (
    H1,
    V0,
    V1,
    V2,
    Council,
    accept,
    append,
    of,
    propose,
    receive,
    sent,
    validate,
    votes,
)
from tests.simulation import toy


def expire(replica: Replica, kind: TimerKind, view: View = V0) -> list[Effect]:
    return replica.step(TimerExpired(Timer(kind, replica.height, view)))


def asked(council: Council, index: int = 0) -> Replica:
    """A replica with work whose primary was silent."""
    replica = council.replica(index)
    replica.step(WorkArrived())
    expire(replica, TimerKind.VIEW)
    return replica


def committed(council: Council, index: int = 0, text: bytes = b"tx") -> Replica:
    """A replica that has signed COMMIT in view 0."""
    replica, block = council.replica(index), council.block(text=text)
    accept(replica, council.pre_prepare(block))
    assert votes(receive(replica, council.prepare((index + 2) % 4, block), council.prepare(3, block)))
    return replica


def armed_views(effects: list[Effect]) -> list[View]:
    return [effect.timer.view for effect in of(effects, SetTimer) if effect.timer.kind is TimerKind.VIEW]


# R6


def test_r6_a_time_out_is_written_down_and_then_told() -> None:
    council = Council()
    replica = council.replica(0)
    replica.step(WorkArrived())

    effects = expire(replica, TimerKind.VIEW)

    assert isinstance(effects[0], Persist)
    assert votes(effects) == [council.view_change(0, V1)]


def test_r6_no_vote_in_a_view_after_asking_for_the_next() -> None:
    council = Council()
    replica, block = asked(council), council.block()

    effects = receive(replica, council.pre_prepare(block), council.prepare(2, block), council.prepare(3, block))

    assert not votes(effects)
    assert not of(effects, ValidateBlock)


def test_r6_a_block_found_valid_after_asking_for_the_next_view_gets_no_vote() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()
    receive(replica, council.pre_prepare(block))
    expire(replica, TimerKind.VIEW)

    assert not votes(replica.step(BlockValidated(H1, V0, block.id, ok=True)))


def test_r6_a_quorum_of_commits_decides_after_asking_for_the_next_view() -> None:
    council = Council()
    replica, block = asked(council), council.block()
    receive(replica, council.pre_prepare(block))

    effects = receive(replica, *(council.commit(index, block) for index in (1, 2, 3)))

    assert isinstance(effects[-1], AppendBlock)


def test_r6_one_liar_does_not_make_anybody_leave_but_f_plus_1_do() -> None:
    council = Council()
    replica = council.replica(0)

    assert not votes(receive(replica, council.view_change(2, View(7))))
    assert votes(receive(replica, council.view_change(3, V2))) == [council.view_change(0, V2)]


def test_r6_a_primary_that_asked_for_the_next_view_proposes_nothing() -> None:
    council = Council()
    replica, block = council.replica(1), council.block()
    replica.step(WorkArrived())
    expire(replica, TimerKind.VIEW)

    assert not votes(replica.step(BlockBuilt(H1, V0, block)))


def test_an_invalid_proposal_is_left_at_once() -> None:
    council = Council()
    replica = council.replica(0)

    effects = validate(replica, receive(replica, council.pre_prepare(council.block())), ok=False)

    assert votes(effects) == [council.view_change(0, V1)]
    assert NoticeKind.BLOCK_REJECTED in [notice.kind for notice in of(effects, Notice)]


def test_two_view_changes_to_one_view_are_evidence() -> None:
    council = Council()
    block = council.block()
    prepared = council.certificate(PREPARE, block, (0, 1, 2))

    effects = receive(council.replica(0), council.view_change(2, V1), council.view_change(2, V1, prepared))

    assert [evidence.offender for evidence in of(effects, Evidence)] == [2]


# R7


def test_r7_without_a_certificate_a_replica_stays_and_repeats_itself() -> None:
    """Besu #7642: views that ran away while too many were down kept the chain stopped for hours after."""
    council = Council()
    replica = asked(council)

    for _ in range(50):
        effects = expire(replica, TimerKind.RESEND)
        assert council.view_change(0, V1) in votes(effects)
        assert not armed_views(effects)
    assert replica.view == V0


def test_r7_a_quorum_opens_the_view_which_is_told_once_and_timed() -> None:
    council = Council()
    replica = asked(council)

    receive(replica, council.view_change(1, V1))
    effects = receive(replica, council.view_change(3, V1))

    assert replica.view == V1
    assert [m for m in sent(effects) if isinstance(m, ViewChangeCertificate)]
    assert armed_views(effects) == [V1]


def test_r7_anybody_can_be_shown_into_a_view() -> None:
    council = Council()
    replica = council.replica(0)

    receive(replica, council.opening(V2, *(council.view_change(index, V2) for index in (1, 2, 3))))

    assert replica.view == V2


def test_r7_time_outs_grow_by_half_to_their_ceiling() -> None:
    delays = [view_timeout_ms(toy.PARAMETERS, View(view)) for view in (0, 1, 2, 3, 2**31)]

    assert delays == [500, 750, 1125, 1688, 4000]


def test_an_old_timer_expires_in_vain() -> None:
    council = Council()
    replica = asked(council)
    receive(replica, council.view_change(1, V1), council.view_change(3, V1))

    assert not votes(expire(replica, TimerKind.VIEW, V0))


@pytest.mark.parametrize("signers", [(1, 2), (1, 1, 2), (3, 2, 1)])
def test_a_view_is_not_opened_by_too_few_or_by_the_same_twice(signers: tuple[int, ...]) -> None:
    council = Council()
    replica = council.replica(0)

    effects = receive(replica, council.opening(V1, *(council.view_change(index, V1) for index in signers)))

    assert [drop.reason for drop in of(effects, Drop)] == [DropReason.BAD_CERTIFICATE]
    assert replica.view == V0


def test_a_view_is_not_opened_by_words_about_another_one() -> None:
    council = Council()
    claims = council.opening(V1, *(council.view_change(index, V1) for index in (1, 2, 3))).claims

    effects = receive(council.replica(0), ViewChangeCertificate(H1, V2, claims, None))

    assert [drop.reason for drop in of(effects, Drop)] == [DropReason.BAD_CERTIFICATE]


# R2 and R3 above view 0


def test_r2_a_new_primary_proposes_a_new_block_when_nothing_was_prepared() -> None:
    council = Council()
    replica, block = asked(council, 2), council.block(2)

    effects = receive(replica, council.view_change(0, V1), council.view_change(3, V1))
    proposal = votes(replica.step(BlockBuilt(H1, V1, block)))[0]

    assert of(effects, BuildBlock) == [BuildBlock(H1, V1)]
    assert isinstance(proposal, PrePrepare)
    assert proposal.justification is not None
    assert votes(accept(council.replica(0), proposal)) == [council.prepare(0, block, V1)]


def test_r2_a_new_primary_proposes_what_it_committed_to_again_without_building() -> None:
    council = Council()
    replica, block = committed(council, 2), council.block()
    expire(replica, TimerKind.VIEW)

    effects = receive(replica, council.view_change(0, V1), council.view_change(3, V1))

    (proposal,) = [m for m in votes(effects) if isinstance(m, PrePrepare)]
    assert proposal.block == block, "the block keeps its id and first proposer"
    assert not of(effects, BuildBlock)


def test_r2_a_new_primary_without_the_prepared_block_asks_for_it_and_validates_it() -> None:
    council = Council()
    replica, block = asked(council, 2), council.block()
    prepared = council.certificate(PREPARE, block, (0, 1, 3))

    asking = receive(replica, council.view_change(0, V1, prepared), council.view_change(3, V1))
    proposal = validate(replica, receive(replica, Body(block)))

    assert [m.block_id for m in sent(asking) if isinstance(m, BodyRequest)] == [block.id]
    assert [m.block for m in votes(proposal) if isinstance(m, PrePrepare)] == [block]


def test_r2_a_new_primary_with_nothing_to_propose_is_quiet_until_there_is_work() -> None:
    council = Council()
    replica = council.replica(2)

    opening = receive(replica, council.opening(V1, *(council.view_change(index, V1) for index in (0, 1, 3))))

    assert not of(opening, BuildBlock)
    assert of(replica.step(WorkArrived()), BuildBlock) == [BuildBlock(H1, V1)]


def test_r3_a_justified_proposal_takes_a_backup_into_its_view() -> None:
    council = Council()
    replica, block = council.replica(0), council.block(2)
    opening = council.opening(V1, *(council.view_change(index, V1) for index in (1, 2, 3)))

    effects = accept(replica, council.pre_prepare(block, V1, opening))

    assert replica.view == V1
    assert votes(effects) == [council.prepare(0, block, V1)]


def test_r3_a_proposal_above_view_0_needs_its_certificate() -> None:
    council = Council()
    replica = council.replica(0)
    of_another_view = council.opening(V2, *(council.view_change(index, V2) for index in (1, 2, 3)))

    for opening in (None, of_another_view):
        effects = receive(replica, council.pre_prepare(council.block(2), V1, opening))
        assert [drop.reason for drop in of(effects, Drop)] == [DropReason.BAD_CERTIFICATE]


def test_r3_the_highest_prepared_block_must_be_proposed_again() -> None:
    council = Council()
    low, high = council.block(), council.block(text=b"higher")
    opening = council.opening(
        V2,
        council.view_change(1, V2, council.certificate(PREPARE, low, (0, 1, 2), V0)),
        council.view_change(2, V2, council.certificate(PREPARE, high, (0, 1, 2), V1)),
        council.view_change(3, V2),
    )

    refused = receive(council.replica(0), council.pre_prepare(low, V2, opening))
    new = receive(council.replica(0), council.pre_prepare(council.block(3), V2, opening))
    accepted = receive(council.replica(0), council.pre_prepare(high, V2, opening))

    assert [drop.reason for drop in of(refused, Drop)] == [DropReason.WRONG_BLOCK]
    assert [drop.reason for drop in of(new, Drop)] == [DropReason.WRONG_BLOCK]
    assert of(accepted, ValidateBlock) == [ValidateBlock(V2, high, fresh=False)], "its time is not checked again"


def test_r3_a_lower_prepared_certificate_does_not_hide_a_higher_claim() -> None:
    council = Council()
    low, high = council.block(), council.block(text=b"higher")
    messages = (
        council.view_change(1, V2, council.certificate(PREPARE, low, (0, 1, 2), V0)),
        council.view_change(2, V2, council.certificate(PREPARE, high, (0, 1, 2), V1)),
        council.view_change(3, V2),
    )
    for shown in (messages[0].certificate, None):
        lie = ViewChangeCertificate(H1, V2, tuple(message.claim for message in messages), shown)
        block = low if shown else council.block(3)

        effects = receive(council.replica(0), council.pre_prepare(block, V2, lie))

        assert [drop.reason for drop in of(effects, Drop)] == [DropReason.BAD_CERTIFICATE]


@pytest.mark.parametrize("view", [V1, V2])
def test_what_was_prepared_must_be_below_the_new_view(view: View) -> None:
    council = Council()
    prepared = council.certificate(PREPARE, council.block(), (0, 1, 2), view)

    effects = receive(council.replica(0), council.view_change(2, V1, prepared))

    assert [drop.reason for drop in of(effects, Drop)] == [DropReason.BAD_CERTIFICATE]


def test_a_prepared_claim_without_a_quorum_of_prepares_is_refused() -> None:
    council = Council()
    too_few = council.certificate(PREPARE, council.block(), (0, 1))

    effects = receive(council.replica(0), council.view_change(2, V1, too_few))

    assert [drop.reason for drop in of(effects, Drop)] == [DropReason.BAD_CERTIFICATE]


def test_a_commit_is_told_in_every_later_view_change() -> None:
    council = Council()
    replica, block = committed(council), council.block()

    (message,) = votes(expire(replica, TimerKind.VIEW))

    assert isinstance(message, ViewChange)
    assert message.claim.prepared is not None
    assert message.claim.prepared.block_id == block.id
    assert message.certificate is not None


def test_a_mere_prepare_is_not_told() -> None:
    council = Council()
    replica = council.replica(0)
    accept(replica, council.pre_prepare(council.block()))

    assert votes(expire(replica, TimerKind.VIEW)) == [council.view_change(0, V1)]


def test_a_block_validated_before_is_prepared_in_a_later_view_at_once() -> None:
    council = Council()
    replica, block = committed(council), council.block()
    prepared = council.certificate(PREPARE, block, (0, 1, 2))
    opening = council.opening(V1, *(council.view_change(index, V1, prepared) for index in (1, 2, 3)))

    effects = receive(replica, council.pre_prepare(block, V1, opening))

    assert votes(effects) == [council.prepare(0, block, V1)]


def test_a_prepared_block_that_this_node_finds_invalid_is_a_diagnosis_not_a_view_change() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()
    prepared = council.certificate(PREPARE, block, (1, 2, 3))
    opening = council.opening(V1, *(council.view_change(index, V1, prepared) for index in (1, 2, 3)))

    effects = validate(replica, receive(replica, council.pre_prepare(block, V1, opening)), ok=False)

    assert NoticeKind.EXECUTION_DIFFERS in [notice.kind for notice in of(effects, Notice)]
    assert not votes(effects)


def test_votes_for_a_view_not_entered_yet_are_kept() -> None:
    council = Council()
    replica, block = council.replica(0), council.block(2)
    opening = council.opening(V1, *(council.view_change(index, V1) for index in (1, 2, 3)))
    receive(replica, council.prepare(3, block, V1))

    effects = accept(replica, council.pre_prepare(block, V1, opening))

    assert votes(effects) == [council.prepare(0, block, V1), council.commit(0, block, V1)]


# R8


def test_r8_a_backup_says_its_prepare_and_commit_again() -> None:
    council = Council()
    replica, block = committed(council), council.block()

    again = votes(expire(replica, TimerKind.RESEND))

    assert again == [council.prepare(0, block), council.commit(0, block)]


def test_r8_a_primary_sends_its_proposal_again_to_those_who_have_not_prepared_it() -> None:
    council = Council()
    replica, block = council.replica(1), council.block()
    propose(replica, block)
    receive(replica, council.prepare(2, block))

    effects = expire(replica, TimerKind.RESEND)

    assert [effect.validator for effect in of(effects, Send)] == [0, 3]
    assert council.prepare(1, block) in votes(effects), "who lost only the seal gets it as a PREPARE"


def test_r8_a_large_proposal_is_repeated_less_and_less_often() -> None:
    council = Council()
    replica = council.replica(1)
    propose(replica, council.block())

    ticks = [tick for tick in range(1, 25) if of(expire(replica, TimerKind.RESEND), Send)]

    assert ticks == [1, 2, 4, 8, 16, 24]


def test_r8_who_is_in_a_view_shows_others_in() -> None:
    council = Council()
    replica = asked(council)
    receive(replica, council.view_change(1, V1), council.view_change(3, V1))

    effects = expire(replica, TimerKind.RESEND, V0)

    assert [m.view for m in sent(effects) if isinstance(m, ViewChangeCertificate)] == [V1]


def test_a_replica_whose_height_is_over_disarms_its_timers() -> None:
    council = Council()
    replica, block = committed(council), council.block()
    effects = receive(replica, council.commit(1, block), council.commit(2, block))
    after = append(replica, effects, council)

    assert {effect.kind for effect in of(after, CancelTimer)} == {TimerKind.VIEW, TimerKind.RESEND}
    assert not of(after, Broadcast)
