"""R10: a primary that keeps a waiting transaction off the chain is not waited for, and nobody can abuse that."""

from __future__ import annotations

import pytest

from consensus import AppendBlock, BlockValidated, Effect, Notice, NoticeKind, Replica, ValidateBlock
from consensus.messages import Prepare, ViewChange
from ledger.certificate import PREPARE
from ledger.fields import View
from tests.consensus.council import H1, V0, V1, V2, Council, of, receive, votes

TRANSACTION = "transaction ab has waited for 3.0 s"


def find_one_passed_over(replica: Replica, effects: list[Effect]) -> list[Effect]:
    """Answer the one `ValidateBlock`: the block is valid and keeps a transaction off the chain."""
    (asked,) = of(effects, ValidateBlock)
    return replica.step(BlockValidated(H1, asked.view, asked.block.id, ok=True, passes_over=TRANSACTION))


def kinds(effects: list[Effect]) -> list[type]:
    return [type(vote) for vote in votes(effects)]


def test_a_block_that_passes_a_transaction_over_counts_as_a_timer_expiry() -> None:
    council = Council()
    replica = council.replica(0)

    effects = find_one_passed_over(replica, receive(replica, council.pre_prepare(council.block())))

    assert votes(effects) == [council.view_change(0, V1)], "VIEW-CHANGE and no PREPARE"
    notice = Notice(NoticeKind.TRANSACTION_PASSED_OVER, H1, V0, TRANSACTION)
    assert notice in of(effects, Notice)


def test_it_counts_in_the_first_f_views_of_a_height_only() -> None:
    """Of f + 1 primaries one is honest; so whatever somebody believes, f views are lost at the most."""
    council = Council(7)
    for view, answer in ((V0, ViewChange), (V1, ViewChange), (V2, Prepare)):
        replica = council.replica(0)
        wishes = [council.view_change(member, view) for member in range(1, 6)]
        opening = council.opening(view, *wishes) if view else None
        proposer = council.validators.primary(H1, view)
        proposal = council.pre_prepare(council.block(proposer), view, opening)

        assert kinds(find_one_passed_over(replica, receive(replica, proposal))) == [answer]


@pytest.mark.parametrize("n", [2, 3])
def test_where_no_liar_is_tolerated_nobody_is_accused(n: int) -> None:
    council = Council(n)
    replica = council.replica(0)

    effects = find_one_passed_over(replica, receive(replica, council.pre_prepare(council.block(1))))

    assert kinds(effects)[0] is Prepare


def test_a_block_that_a_quorum_has_prepared_is_not_turned_down() -> None:
    """It may have been decided: turning it down could only delay what is final."""
    council = Council(7)
    block = council.block()
    lock = council.certificate(PREPARE, block, range(5))
    wishes = [council.view_change(member, V1, lock) for member in range(5)]
    replica = council.replica(6)

    effects = receive(replica, council.pre_prepare(block, V1, council.opening(V1, *wishes)))

    assert kinds(find_one_passed_over(replica, effects)) == [Prepare]


def test_one_that_is_wrong_about_it_stops_nobody() -> None:
    """The others have a quorum without it; it appends what they decide."""
    council = Council()
    block = council.block()
    replica = council.replica(0)
    find_one_passed_over(replica, receive(replica, council.pre_prepare(block)))

    effects = receive(replica, *(council.commit(member, block) for member in (1, 2, 3)))

    assert isinstance(effects[-1], AppendBlock)
    assert effects[-1].certified.block == block


def test_f_plus_1_that_notice_it_take_the_others_along_at_once() -> None:
    council = Council()
    other = council.replica(3)
    receive(other, council.pre_prepare(council.block()))

    effects = receive(other, council.view_change(0, V1), council.view_change(2, V1))

    assert council.view_change(3, V1) in votes(effects)
    assert other.view == View(1)
