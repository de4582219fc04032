"""What a consortium decides about its learning: pauses, changes of a running task, releases."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from fl.aggregators import RuleSpec
from fl.governance.changes import TIMELOCK_BLOCKS, change_between
from fl.governance.records import PAUSE_MS_MAX, ChangeTask, PauseLearning, ReleaseModel, ResumeLearning
from fl.governance.state import change_of, pauses_of, release_of, spec_of_round
from fl.results import job_of
from fl.state import model_of, present, round_of
from ledger.payload import describe
from ledger.receipt import Receipt
from tests.fl.consortium import SCHEMA, task_spec
from tests.fl.members import Members

HOUR_MS = 3_600_000
ROWS = np.arange(4 * SCHEMA.size, dtype=np.int16).reshape(4, SCHEMA.size)


def learning(**changes: object) -> Members:
    """Return four institutions that learn."""
    return Members.begin(4, task_spec(**changes))


def submit(members: Members, *names: str) -> list[Receipt]:
    """Let participants submit to the open round, in one block."""
    updates = [
        members.chain.transaction(name, "update", members.chain.update(name, ROWS["abcd".index(name)]))
        for name in names
    ]
    return list(members.block(*updates).receipts[: len(names)])


def hold_round(members: Members) -> Receipt:
    """Let a round of all four be certified."""
    submit(members, "a", "b", "c", "d")
    return members.chain.certify(members.chain.claim(members.chain.compute()))


def changed(members: Members, **changes: object) -> ChangeTask:
    """Return the change of the task to a specification with these fields."""
    spec = members.chain.task().spec
    return change_between(spec, msgspec.structs.replace(spec, **changes))


def test_f_plus_1_organisations_pause_learning_and_f_do_not() -> None:
    members = learning()
    number = members.vote(PauseLearning("heart", HOUR_MS), "a")
    assert members.proposal(number).status == "open"
    assert submit(members, "a")[0].accepted

    members.approve("b", number)

    assert members.proposal(number).status == "enacted"
    refused = submit(members, "b")[0]
    assert refused.code == "update.paused"
    assert str(members.chain.time_ms - 1 + HOUR_MS) in refused.detail


def test_a_pause_ends_by_itself_at_its_time_and_a_block_is_due_then() -> None:
    members = learning()
    members.vote(PauseLearning(None, HOUR_MS), "a", "b")
    until_ms = members.chain.time_ms + HOUR_MS
    assert members.chain.application.due_ms(members.chain.state) == until_ms
    members.block(after_ms=HOUR_MS - 1)
    assert submit(members, "a")[0].code == "update.paused"  # the block of that time is the one that ends it

    assert pauses_of(members.chain.state) == ()
    assert submit(members, "a")[0].accepted


def test_a_paused_round_loses_no_time_however_pauses_overlap() -> None:
    members = learning()
    submit(members, "a")
    left_ms = members.chain.round().deadline_ms - members.chain.time_ms
    members.vote(PauseLearning("heart", HOUR_MS), "a", "b")
    members.block(after_ms=10_000)
    members.vote(PauseLearning(None, 2 * HOUR_MS), "b", "c")
    members.vote(ResumeLearning("heart"), "a", "b", "c")
    members.block(after_ms=HOUR_MS)
    assert members.chain.round().status == "open"
    members.vote(ResumeLearning(None), "a", "b", "c")

    voting_ms = 2  # two blocks decided the first pause
    assert members.chain.round().deadline_ms - members.chain.time_ms == left_ms - voting_ms
    assert submit(members, "b", "c", "d")[0].accepted
    assert members.chain.round().status == "closed"


def test_to_end_a_pause_early_takes_a_quorum() -> None:
    members = learning()
    members.vote(PauseLearning("heart", HOUR_MS), "a", "b")
    number = members.vote(ResumeLearning("heart"), "c", "d")
    assert members.proposal(number).status == "open"

    members.approve("a", number)

    assert submit(members, "a")[0].accepted


def test_no_result_is_taken_while_a_task_is_paused_and_it_is_afterwards() -> None:
    members = learning()
    submit(members, "a", "b", "c", "d")
    claim = members.chain.claim(members.chain.compute())
    members.vote(PauseLearning("heart", HOUR_MS), "a", "b")
    assert members.chain.certify(claim).code == "aggregate.paused"

    members.block(after_ms=HOUR_MS)

    assert members.chain.certify(claim).accepted
    assert members.chain.task().version == 1


def test_a_task_that_is_not_active_cannot_be_paused() -> None:
    members = learning()
    assert members.propose("a", PauseLearning("lungs", HOUR_MS)).code == "pause.unknown_task"
    assert members.propose("a", ResumeLearning("heart")).events[0].kind == "governance.nothing_to_do"
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(PauseLearning(None, PAUSE_MS_MAX + 1)), type=PauseLearning)


def test_a_change_is_decided_by_a_quorum_and_holds_from_the_first_round_after_its_timelock() -> None:
    members = learning()
    number = members.vote(changed(members, rule=RuleSpec("median/1", 1), updates_min=4), "a", "b")
    assert change_of(members.chain.state, "heart") is None
    members.approve("c", number)
    decided = members.height
    assert present(change_of(members.chain.state, "heart"), "the change").from_height == decided + TIMELOCK_BLOCKS
    assert hold_round(members).accepted
    assert members.chain.task().spec.rule.rule == "trimmed-mean/1"
    while members.height < decided + TIMELOCK_BLOCKS:
        members.block()
    running = members.chain.round().number
    assert members.chain.task().spec.rule.rule == "trimmed-mean/1"  # the open round is finished as it was begun

    receipt = hold_round(members)

    assert [event.kind for event in receipt.events] == ["round.certified", "task.changed", "round.opened"]
    assert members.chain.task().spec.rule.rule == "median/1"
    assert change_of(members.chain.state, "heart") is None
    rules = [spec_of_round(members.chain.state, members.chain.task(), at).rule.rule for at in (1, running, running + 1)]
    assert rules == ["trimmed-mean/1", "trimmed-mean/1", "median/1"]
    past = present(round_of(members.chain.state, "heart", running), "a round that is over")
    assert job_of(members.chain.state, past).spec.rule.rule == "trimmed-mean/1"  # whoever audits computes it again


def test_a_change_that_could_not_run_or_is_one_of_something_else_is_not_put_to_the_vote() -> None:
    members = learning()
    unsound = changed(members, rule=RuleSpec("krum/1", 1), updates_max=4)
    assert members.propose("a", unsound).code == "task.unsound"
    stale = msgspec.structs.replace(changed(members, rounds=5), specification=task_spec(rounds=9).digest)
    assert members.propose("a", stale).code == "change.other_specification"
    elsewhere = msgspec.structs.replace(changed(members, rounds=5), task="lungs")
    assert members.propose("a", elsewhere).code == "change.unknown_task"
    assert members.propose("a", changed(members)).events[0].kind == "governance.nothing_to_do"


def test_what_is_learned_cannot_be_changed() -> None:
    before = task_spec()
    after = msgspec.structs.replace(before, description="something else", initial_model=describe(bytes(64)), rounds=3)
    with pytest.raises(ValueError, match="keeps its description, initial_model"):
        change_between(before, after)


def test_a_second_change_takes_the_place_of_one_that_waits() -> None:
    members = learning()
    members.vote(changed(members, rounds=5), "a", "b", "c")
    members.vote(changed(members, rounds=7), "a", "b", "c")
    pending = present(change_of(members.chain.state, "heart"), "the change")
    assert (pending.spec.rounds, pending.from_height) == (7, members.height + TIMELOCK_BLOCKS)


def test_a_model_is_released_by_a_quorum_without_whoever_proposes_it() -> None:
    members = learning()
    hold_round(members)
    model = present(model_of(members.chain.state, "heart", 1), "the model")
    release = ReleaseModel("heart", 1, present(model.payload, "its bytes"))
    number = members.vote(release, "a", "b", "c")
    assert members.proposal(number).status == "open"
    assert members.proposal(number).approvals == ("b", "c")
    assert members.approve("a", number).code == "governance.subject"

    members.approve("d", number)

    released = present(release_of(members.chain.state, "heart", 1), "the release")
    assert (released.organisations, released.proposal, released.model) == (("b", "c", "d"), number, model.payload)


def test_only_the_very_bytes_of_a_certified_model_can_be_released() -> None:
    members = learning()
    hold_round(members)
    payload = present(present(model_of(members.chain.state, "heart", 1), "the model").payload, "its bytes")
    other = msgspec.structs.replace(payload, size=payload.size + 1)
    for action in (ReleaseModel("heart", 1, other), ReleaseModel("heart", 2, payload), ReleaseModel("x", 1, payload)):
        assert members.propose("a", action).code == "release.unknown_model"
