"""Catching up: STATUS, DECIDED, fetched blocks, early messages; and what a liar can do with them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consensus import (
    AppendBlock,
    BlockAppended,
    BlockBuilt,
    CertifiedBlockReceived,
    Drop,
    DropReason,
    Effect,
    FetchBlocks,
    FetchEnded,
    Replica,
    Send,
    SetTimer,
    Started,
    Timer,
    TimerExpired,
    TimerKind,
    ValidateBlock,
    WorkArrived,
)
from consensus.messages import Decided, Status
from ledger.block import Block, CertifiedBlock
from ledger.certificate import COMMIT, Seal, make_certificate
from ledger.fields import Height
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
    receive,
    sent,
    votes,
)
from tests.simulation import toy

H3 = Height(3)


def at_height_2(council: Council, index: int = 0) -> tuple[Replica, Block]:
    replica, block = council.replica(index), council.block()
    append(replica, receive(replica, Decided(council.certified(block))), council)
    assert replica.height == H2
    return replica, block


def tick(replica: Replica) -> list[Effect]:
    return replica.step(TimerExpired(Timer(TimerKind.RESEND, replica.height, replica.view)))


# Helping


def test_r8_who_is_one_behind_gets_the_block_once_between_two_ticks() -> None:
    council = Council()
    replica, block = at_height_2(council)
    status = council.seats[2].sign_status(H1, V0, 1, None)

    first, second = receive(replica, status), receive(replica, status)
    tick(replica)
    third = receive(replica, status)

    assert sent(first) == sent(third) == [Decided(council.certified(block))]
    assert not sent(second)
    assert [effect.validator for effect in of(first, Send)] == [2]


def test_r8_a_view_change_at_a_decided_height_is_answered() -> None:
    council = Council()
    replica, block = at_height_2(council)

    assert sent(receive(replica, council.view_change(3, V1))) == [Decided(council.certified(block))]


def test_late_votes_are_the_normal_case_and_not_answered() -> None:
    council = Council()
    replica, block = at_height_2(council)

    effects = receive(replica, council.commit(3, block), council.prepare(3, block), council.pre_prepare(block))

    assert [drop.reason for drop in of(effects, Drop)] == [DropReason.STALE] * 3


def test_who_is_far_behind_is_told_where_the_others_are() -> None:
    council = Council()
    replica, block = at_height_2(council)
    second = council.block(2, tip=toy.after(block))
    append(replica, receive(replica, Decided(council.certified(second))), council)

    (answer,) = sent(receive(replica, council.seats[2].sign_status(H1, V0, 1, None)))

    assert isinstance(answer, Status)
    assert answer.height == H3
    assert answer.certificate == council.certified(second).certificate


# Being helped


def idle(council: Council) -> Replica:
    return council.replica(1)


def building(council: Council) -> Replica:
    replica = council.replica(1)
    replica.step(WorkArrived())
    return replica


def validating(council: Council) -> Replica:
    replica = council.replica(0)
    receive(replica, council.pre_prepare(council.block()))
    return replica


def misled(council: Council) -> Replica:
    replica = council.replica(0)
    accept(replica, council.pre_prepare(council.block(text=b"another")))
    return replica


def leaving(council: Council) -> Replica:
    replica = council.replica(0)
    replica.step(WorkArrived())
    replica.step(TimerExpired(Timer(TimerKind.VIEW, H1, V0)))
    return replica


def in_a_later_view(council: Council) -> Replica:
    replica = council.replica(0)
    receive(replica, council.opening(V1, *(council.view_change(index, V1) for index in (1, 2, 3))))
    return replica


def without_body(council: Council) -> Replica:
    replica = council.replica(0)
    receive(replica, *(council.commit(index, council.block()) for index in (1, 2, 3)))
    return replica


@pytest.mark.parametrize("state", [idle, building, validating, misled, leaving, in_a_later_view, without_body])
def test_r5_a_decided_block_is_taken_in_any_state(state: Callable[[Council], Replica]) -> None:
    council = Council()
    replica, block = state(council), council.block()

    effects = receive(replica, Decided(council.certified(block)))
    append(replica, effects, council)

    assert replica.height == H2
    assert not votes(replica.step(BlockBuilt(H1, V0, block)))


def test_a_fetched_block_is_taken_like_a_decided_one() -> None:
    council = Council()
    certified = council.certified(council.block())

    effects = council.replica(0).step(CertifiedBlockReceived(certified))

    assert effects[-1] == AppendBlock(certified)


def few(council: Council, block: Block) -> CertifiedBlock:
    return CertifiedBlock(block, council.certificate(COMMIT, block, (1, 2)))


def doubled(council: Council, block: Block) -> CertifiedBlock:
    certificate = council.certificate(COMMIT, block, (1, 2))
    seals = (*certificate.seals, certificate.seals[-1])
    return CertifiedBlock(block, type(certificate)(H1, V0, block.id, seals))


def forged(council: Council, block: Block) -> CertifiedBlock:
    seals = [Seal(index, council.commit(1, block).seal.signature) for index in range(3)]
    return CertifiedBlock(block, make_certificate(H1, V0, block.id, seals))


def mismatched(council: Council, block: Block) -> CertifiedBlock:
    return CertifiedBlock(block, council.certified(council.block(text=b"another")).certificate)


def hollow(council: Council, block: Block) -> CertifiedBlock:
    return CertifiedBlock(Block(block.header, ()), council.certified(block).certificate)


@pytest.mark.parametrize("lie", [few, doubled, forged, mismatched, hollow])
def test_a_block_with_a_wrong_certificate_or_body_is_dropped(
    lie: Callable[[Council, Block], CertifiedBlock],
) -> None:
    council = Council()
    effects = receive(council.replica(0), Decided(lie(council, council.block())))

    assert of(effects, Drop)[0].reason in (DropReason.BAD_CERTIFICATE, DropReason.WRONG_BLOCK)
    assert not of(effects, AppendBlock)


def test_a_verified_certificate_of_a_later_height_starts_a_fetch_and_ends_the_voting() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()
    second = council.block(2, tip=toy.after(block))

    effects = receive(replica, Decided(council.certified(second)))

    (fetch,) = of(effects, FetchBlocks)
    assert (fetch.from_height, fetch.to_height) == (H1, H2)
    assert set(fetch.validators) <= {1, 2, 3}
    assert not of(receive(replica, council.pre_prepare(block)), ValidateBlock)


def test_a_fetch_goes_on_while_it_brings_blocks_and_waits_for_a_tick_when_it_does_not() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()
    tip = council.certified(council.block(2, tip=toy.after(block)))
    receive(replica, council.seats[2].sign_status(Height(5), V0, 1, None))
    (first,) = of(receive(replica, council.seats[3].sign_status(Height(5), V0, 1, tip.certificate)), FetchBlocks)

    append(replica, replica.step(CertifiedBlockReceived(council.certified(block))), council)
    (second,) = of(replica.step(FetchEnded()), FetchBlocks)

    assert (first.from_height, second.from_height) == (H1, H2)
    assert not of(replica.step(FetchEnded()), FetchBlocks)
    assert of(tick(replica), FetchBlocks)


def test_one_liar_cannot_make_anybody_fetch_but_f_plus_1_can() -> None:
    council = Council()
    replica = council.replica(0)

    alone = receive(replica, council.seats[2].sign_status(Height(2**40), V0, 1, None))
    together = receive(replica, council.seats[3].sign_status(Height(9), V0, 1, None))

    assert not of(alone, FetchBlocks)
    assert not of(alone, SetTimer)
    (fetch,) = of(together, FetchBlocks)
    assert (fetch.from_height, fetch.to_height) == (H1, Height(8))


def look_around(replica: Replica) -> list[Effect]:
    return replica.step(TimerExpired(Timer(TimerKind.STATUS, replica.height, replica.view)))


def test_the_word_of_one_member_is_looked_into_once_between_two_statuses_and_believed_never() -> None:
    """Who missed a change of the set can verify no proof of the new set's, and may know one of its members only."""
    council = Council()
    replica = council.replica(0)
    replica.step(Started())
    receive(replica, council.seats[2].sign_status(Height(9), V0, 1, None))

    (fetch,) = of(look_around(replica), FetchBlocks)
    again = look_around(replica)
    replica.step(FetchEnded())
    later = look_around(replica)

    assert fetch == FetchBlocks(H1, Height(8), (2,))
    assert not of(again, FetchBlocks), "one fetch at a time"
    assert of(later, FetchBlocks)
    assert votes(accept(replica, council.pre_prepare(council.block()))), (
        "meanwhile it votes: nobody is believed to be ahead"
    )


def test_nobody_fetches_whom_nobody_is_ahead_of() -> None:
    replica = Council().replica(0)
    replica.step(Started())

    assert not of(look_around(replica), FetchBlocks)


def test_a_status_with_the_certificate_of_this_height_decides_it() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()
    receive(replica, council.pre_prepare(block))

    effects = receive(replica, council.seats[3].sign_status(H2, V0, 1, council.certified(block).certificate))

    assert isinstance(effects[-1], AppendBlock)


def test_a_follower_learns_and_signs_nothing() -> None:
    council = Council()
    follower = Replica(
        toy.CHAIN_ID, SigningKey(bytes(32)), toy.PARAMETERS, council.validators, height=H1, parent_id=toy.CHAIN_ID
    )
    block = council.block()

    effects = [
        *follower.step(Started()),
        *follower.step(WorkArrived()),
        *receive(follower, council.pre_prepare(block), *(council.commit(index, block) for index in (1, 2, 3))),
    ]

    assert isinstance(effects[-1], AppendBlock)
    assert not sent(effects)


def test_a_follower_without_the_body_fetches_it_from_those_who_signed() -> None:
    council = Council()
    follower = Replica(
        toy.CHAIN_ID, SigningKey(bytes(32)), toy.PARAMETERS, council.validators, height=H1, parent_id=toy.CHAIN_ID
    )
    block = council.block()
    follower.step(Started())
    receive(follower, *(council.commit(index, block) for index in (1, 2, 3)))

    (fetch,) = of(tick(follower), FetchBlocks)

    assert (fetch.from_height, fetch.to_height, set(fetch.validators)) == (H1, H1, {1, 2, 3})


# R9


def test_r9_a_message_that_is_a_moment_early_is_kept() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()
    second = council.block(2, tip=toy.after(block))
    receive(replica, council.pre_prepare(second), council.prepare(3, second))

    effects = append(replica, receive(replica, Decided(council.certified(block))), council)

    assert of(effects, ValidateBlock) == [ValidateBlock(V0, second, fresh=True)]


def test_r9_a_liar_fills_its_own_slots_only() -> None:
    council = Council()
    replica = council.replica(0)
    for height in range(2, 40):
        block = council.block(tip=toy.Tip(Height(height - 1), toy.CHAIN_ID, 5, toy.CHAIN_ID), text=b"%d" % height)
        receive(replica, council.prepare(3, block), council.commit(3, block), council.pre_prepare(block))
        receive(replica, council.prepare(3, block, V1), council.view_change(3, V1, height=Height(height)))

    assert len(replica._early) <= 2 * (3 + 4), "two heights: three kinds of the liar's, one proposal of each primary"


def test_r9_an_early_message_with_a_bad_seal_is_not_kept() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()
    second = council.block(2, tip=toy.after(block))

    effects = receive(replica, type(council.prepare(3, second))(H2, V0, second.id, council.prepare(3, block).seal))

    assert [drop.reason for drop in of(effects, Drop)] == [DropReason.BAD_SIGNATURE]


def test_certificates_are_verified_with_the_set_of_their_height() -> None:
    """The set changes at the border of two heights; the old members' votes do not decide the new height."""
    old, new = Council(4), Council(7)
    replica, block = old.replica(0), old.block()
    decided = receive(replica, Decided(old.certified(block)))
    assert isinstance(decided[-1], AppendBlock)
    replica.step(BlockAppended(H1, block.id, new.validators, toy.PARAMETERS))
    second = new.block(2, tip=toy.after(block))

    by_old = receive(replica, Decided(old.certified(second)))
    by_new = receive(replica, Decided(new.certified(second)))

    assert not of(by_old, AppendBlock)
    assert isinstance(by_new[-1], AppendBlock)


def test_a_member_that_leaves_the_set_goes_on_as_a_follower() -> None:
    old = Council(4)
    smaller = toy.validator_set(old.keys[:3])
    replica, block = old.replica(3), old.block()
    receive(replica, Decided(old.certified(block)))

    replica.step(BlockAppended(H1, block.id, smaller, toy.PARAMETERS))

    assert replica.index is None
    assert not sent(replica.step(WorkArrived()))
