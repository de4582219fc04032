"""I2: what was signed is remembered, and nothing is signed on doubtful ground."""

from __future__ import annotations

import pytest

from consensus import (
    AppendBlock,
    BlockBuilt,
    BuildBlock,
    Effect,
    Notice,
    NoticeKind,
    Replica,
    SafetyRecordError,
    Started,
    Timer,
    TimerExpired,
    TimerKind,
    WorkArrived,
)
from consensus.messages import Decided, PreparedClaim, ViewChange, ViewChangeCertificate
from consensus.safety import (
    CommitRecord,
    EnteredRecord,
    PrepareRecord,
    SafetyRecord,
    ViewChangeRecord,
    encode_record,
    reload,
)
from ledger.certificate import PREPARE
from ledger.fields import Height
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
    votes,
)
from tests.simulation import toy


def time_out(replica: Replica) -> list[Effect]:
    return replica.step(TimerExpired(Timer(TimerKind.VIEW, H1, V0)))


def restarted(council: Council, index: int, *steps: list[Effect]) -> tuple[Replica, list[Effect]]:
    replica = Replica(
        toy.CHAIN_ID,
        council.keys[index],
        toy.PARAMETERS,
        council.validators,
        height=H1,
        parent_id=toy.CHAIN_ID,
        safety=[record for effects in steps for record in records(effects)],
        boot_epoch=2,
    )
    return replica, replica.step(Started())


def prepare_record(council: Council, text: bytes = b"tx", sender: int = 0) -> PrepareRecord:
    block = council.block(text=text)
    return PrepareRecord(H1, V0, block, council.prepare(sender, block).seal)


def commit_record(council: Council, text: bytes = b"tx") -> CommitRecord:
    block = council.block(text=text)
    return CommitRecord(council.certificate(PREPARE, block, (0, 1, 2)), council.commit(0, block).seal)


def test_a_restarted_replica_says_the_same_again_and_prepares_nothing_else() -> None:
    council = Council()
    block, another = council.block(), council.block(text=b"another")
    before = accept(council.replica(0), council.pre_prepare(block))

    replica, first = restarted(council, 0, before)
    second = receive(replica, council.pre_prepare(another))

    assert votes(first) == [council.prepare(0, block)]
    assert not votes(second)


def test_a_restarted_replica_commits_with_the_prepares_that_come_now() -> None:
    council = Council()
    block = council.block()
    before = accept(council.replica(0), council.pre_prepare(block))
    replica, _ = restarted(council, 0, before)

    effects = receive(replica, council.prepare(1, block), council.prepare(2, block))

    assert votes(effects) == [council.commit(0, block)]


def test_a_restarted_primary_proposes_the_same_block_again_and_builds_no_other() -> None:
    council = Council()
    block = council.block()
    before = propose(council.replica(1), block)

    replica, first = restarted(council, 1, before)
    second = replica.step(WorkArrived())

    assert council.pre_prepare(block) in sent(first)
    assert not of(second, BuildBlock)
    assert not votes(replica.step(BlockBuilt(H1, V0, council.block(text=b"another"))))


def test_a_restarted_replica_still_tells_what_it_committed_to() -> None:
    council = Council()
    block, old = council.block(), council.replica(0)
    steps = [accept(old, council.pre_prepare(block)), receive(old, council.prepare(2, block))]
    replica, _ = restarted(council, 0, *steps)

    replica.step(WorkArrived())
    (message,) = votes(time_out(replica))

    assert isinstance(message, ViewChange)
    assert message.claim.prepared == PreparedClaim(V0, block.id)


def test_a_restarted_replica_keeps_to_its_view_change() -> None:
    council = Council()
    old = council.replica(0)
    old.step(WorkArrived())
    before = time_out(old)

    replica, first = restarted(council, 0, before)
    second = receive(replica, council.pre_prepare(council.block()))

    assert votes(first) == [council.view_change(0, V1)]
    assert not votes(second)


def test_a_restarted_replica_is_in_its_view_and_can_show_others_in() -> None:
    """Once the others have asked for later views, nobody could assemble the certificate again."""
    council = Council()
    old = council.replica(0)
    before = receive(old, council.opening(V1, *(council.view_change(index, V1) for index in (1, 2, 3))))

    replica, effects = restarted(council, 0, before)

    assert replica.view == V1
    assert [m.view for m in sent(effects) if isinstance(m, ViewChangeCertificate)] == [V1]


def test_a_single_validator_finishes_after_its_restart_what_it_committed_to() -> None:
    council = Council(1)
    before = propose(council.replica(0), council.block(0))

    _, effects = restarted(council, 0, before)

    assert isinstance(effects[-1], AppendBlock)


def contradictions(council: Council) -> dict[str, list[SafetyRecord]]:
    view_change = ViewChangeRecord(council.view_change(0, V1))
    prepared = council.certificate(PREPARE, council.block(), (0, 1, 2))
    opening = council.opening(V1, *(council.view_change(index, V1) for index in (1, 2, 3)))
    return {
        "two PREPAREs in a view": [prepare_record(council), prepare_record(council, b"another")],
        "COMMIT without PREPARE": [commit_record(council)],
        "COMMIT for another block": [prepare_record(council), commit_record(council, b"another")],
        "PREPARE after VIEW-CHANGE": [view_change, prepare_record(council)],
        "COMMIT after VIEW-CHANGE": [prepare_record(council), view_change, commit_record(council)],
        "two COMMITs in a view": [prepare_record(council), commit_record(council), commit_record(council)],
        "two VIEW-CHANGEs to a view": [view_change, view_change],
        "VIEW-CHANGE that hides": [
            prepare_record(council),
            commit_record(council),
            view_change,
        ],
        "VIEW-CHANGE that invents": [ViewChangeRecord(council.view_change(0, V1, prepared))],
        "a view entered twice": [EnteredRecord(opening), EnteredRecord(opening)],
        "another validator's": [prepare_record(council, sender=2)],
        "another height's": [ViewChangeRecord(council.view_change(0, V1, height=H2))],
    }


@pytest.mark.parametrize("name", sorted(contradictions(Council())))
def test_safety_records_that_contradict_each_other_are_refused(name: str) -> None:
    said = contradictions(Council())[name]

    with pytest.raises(SafetyRecordError, match="safety records of height 1"):
        reload(H1, 0, [encode_record(record) for record in said])


def test_a_safety_record_that_is_none_is_refused() -> None:
    with pytest.raises(SafetyRecordError, match="not a valid encoding"):
        reload(H1, 0, [b"\x91\x01"])


def test_after_a_repair_nothing_is_signed_until_a_block_of_after_the_start_has_been_appended() -> None:
    council = Council()
    block = council.block()
    replica = council.replica(0, observe_until_ms=block.header.time_ms)

    silent = receive(replica, council.pre_prepare(block), council.prepare(2, block), council.commit(1, block))
    decided = receive(replica, council.commit(2, block), council.commit(3, block))
    after = append(replica, decided, council)
    second = council.block(2, tip=toy.after(block))

    assert not votes(silent)
    assert NoticeKind.SIGNING_RESUMED in [notice.kind for notice in of(after, Notice)]
    assert votes(accept(replica, council.pre_prepare(second)))


def test_after_a_repair_a_block_of_before_the_start_does_not_end_the_silence() -> None:
    """Its height may be one below that of a forgotten vote."""
    council = Council()
    block = council.block()
    second = council.block(2, tip=toy.after(block))
    replica = council.replica(0, observe_until_ms=block.header.time_ms + 1)

    old = append(replica, receive(replica, Decided(council.certified(block))), council)
    silent = receive(replica, council.pre_prepare(second), council.prepare(1, second), council.prepare(3, second))
    new = append(replica, receive(replica, Decided(council.certified(second))), council)

    assert NoticeKind.SIGNING_RESUMED not in [notice.kind for notice in of(old, Notice)]
    assert not votes(silent)
    assert NoticeKind.SIGNING_RESUMED in [notice.kind for notice in of(new, Notice)]
    assert replica.can_sign


def test_after_a_repair_records_that_contradict_each_other_are_not_looked_at() -> None:
    council = Council()
    damaged = [encode_record(record) for record in contradictions(council)["COMMIT without PREPARE"]]

    assert not council.replica(0, damaged, observe_until_ms=toy.GENESIS_TIME_MS).can_sign


def silenced(effects: list[Effect]) -> bool:
    return NoticeKind.SIGNED_ELSEWHERE in [notice.kind for notice in of(effects, Notice)]


def test_an_own_vote_that_this_process_did_not_cast_silences_it_for_the_height() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()

    effects = receive(replica, council.prepare(0, council.block(text=b"elsewhere")))
    later = receive(replica, council.pre_prepare(block))

    assert silenced(effects)
    assert not votes(later)
    assert not replica.can_sign


def test_an_own_vote_of_a_later_height_silences_until_that_height_is_over() -> None:
    council = Council()
    replica, block = council.replica(0), council.block()
    second = council.block(2, tip=toy.after(block))

    assert silenced(receive(replica, council.prepare(0, second)))
    decided = receive(replica, council.pre_prepare(block), *(council.commit(index, block) for index in (1, 2, 3)))
    append(replica, decided, council)

    assert replica.height == H2
    assert not replica.can_sign


def test_an_own_status_of_a_later_start_silences() -> None:
    """The data directory was copied back from before that start."""
    council = Council()
    replica = council.replica(0, boot_epoch=3)

    assert silenced(receive(replica, council.seats[0].sign_status(Height(5), V0, 4, None)))
    assert not replica.can_sign


def test_a_status_of_an_earlier_start_is_answered_with_the_later_one() -> None:
    council = Council()
    replica = council.replica(0)
    later = council.seats[2].sign_status(H1, V0, 9, None)
    receive(replica, later)

    assert sent(receive(replica, council.seats[2].sign_status(H1, V0, 8, None))) == [later]


def test_own_words_that_come_back_after_a_restart_do_not_silence() -> None:
    council = Council()
    block, old = council.block(), council.replica(0)
    steps = [
        accept(old, council.pre_prepare(block)),
        receive(old, council.prepare(2, block)),
        time_out(old),
        receive(old, council.view_change(1, V1), council.view_change(3, V1)),
    ]
    replica, _ = restarted(council, 0, *steps)

    effects = [effect for step in steps for message in sent(step) for effect in receive(replica, message)]

    assert not silenced(effects)
    assert replica.can_sign
