"""Joining, leaving and new keys: what is voted on happens, after the next height, and nothing else does."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from fl.availability import HEIGHTS_MAX
from fl.membership.actions import REPLACEMENT_DELAY_MS
from fl.membership.proposals import LIFE_MS
from fl.membership.records import OPEN_PER_ORGANISATION_MAX, AddMember, RemoveMember
from fl.state import participant_of
from ledger.digest import ZERO_DIGEST
from ledger.identity import Signature
from ledger.reigns import reigns_of, set_of, validators_at
from ledger.validators import quorum_of
from tests.fl.consortium import SCHEMA, key_of, task_spec
from tests.fl.members import Members, add, card, names, replacement, rotation, validator


def test_a_change_decides_the_height_after_the_next_and_both_headers_say_so() -> None:
    members = Members.begin()
    decided = members.vote(RemoveMember("d"), "a", "b", "c")
    assert members.proposal(decided).status == "enacted"
    at = members.height
    assert (members.seated(), members.coming()) == (["a", "b", "c", "d"], ["a", "b", "c"])

    following = members.block().header

    assert following.validators_hash == members.sets[at + 1].hash == members.sets[1].hash
    assert following.next_validators_hash == members.sets[at + 2].hash
    assert [member.name for member in members.sets[at + 2].members] == ["a", "b", "c"]


def test_a_newcomer_needs_a_quorum_of_votes_and_f_plus_1_that_saw_it_in_sync() -> None:
    members = Members.begin()
    number = members.vote(add("e"), "a", "b")
    assert members.proposal(number).status == "open"
    members.attest(number, "a", "b", "c")  # nobody waits for it yet: that changes nothing
    members.approve("c", number)
    members.settle()
    assert (members.proposal(number).status, members.coming()) == ("waiting", list(names(4)))

    members.attest(number, "a")
    members.attest(number, "a")
    assert members.coming() == list(names(4))
    members.attest(number, "b")

    assert (members.proposal(number).status, members.coming()) == ("enacted", list(names(5)))


def test_a_newcomers_officer_votes_and_a_leavers_does_not() -> None:
    members = Members.begin()
    members.attest(members.vote(add("e"), "a", "b", "c"), "a", "b")
    members.settle()
    assert quorum_of(5) == 4
    number = members.vote(RemoveMember("d"), "a", "b", "c", "e")
    assert members.proposal(number).status == "enacted"
    members.settle()

    assert members.seated() == ["a", "b", "c", "e"]
    assert participant_of(members.chain.state, key_of("d", "participant").public_key) is None
    assert members.propose("d", RemoveMember("x")).code == "transaction.unknown_sender"


def test_the_subject_has_no_vote_on_its_own_removal_and_f_organisations_do_not_suffice() -> None:
    members = Members.begin()
    number = members.vote(RemoveMember("d"), "a", "b")

    assert members.approve("d", number).code == "governance.subject"
    assert members.proposal(number).status == "open"
    assert members.propose("d", RemoveMember("d")).accepted  # it may well propose it; that is no approval
    assert members.proposal(number).approvals == ("a", "b")


def test_votes_of_organisations_that_left_do_not_count_any_more() -> None:
    members = Members.begin(7)
    number = members.vote(add("x"), "a", "b", "c", "g")
    members.vote(RemoveMember("g"), "a", "b", "c", "d", "e")
    members.settle()
    assert members.seated() == list(names(6))
    assert quorum_of(6) == 4
    members.block()

    assert members.proposal(number).status == "open"
    members.approve("d", number)
    assert members.proposal(number).status == "waiting"


def test_what_changes_nothing_is_no_error_and_leaves_no_set_pending() -> None:
    members = Members.begin()
    before = members.seated()

    nothing = [
        members.propose("a", RemoveMember("nobody")),
        members.say("a", "validator.rotate", rotation("a", use="", old_use="")),
    ]
    number = members.vote(RemoveMember("d"), "a", "b", "c")
    again = [members.approve("c", number), members.propose("b", RemoveMember("d"))]
    members.settle()

    assert [receipt.code for receipt in (*nothing, *again)] == ["ok"] * 4
    assert [event.kind for event in nothing[0].events] == ["governance.nothing_to_do"]
    assert members.seated() == [name for name in before if name != "d"]
    assert members.chain.application.due_ms(members.chain.state) is None


def test_a_key_that_old_and_new_agree_on_takes_the_seat() -> None:
    members = Members.begin()

    receipt = members.say("b", "validator.rotate", rotation("b"))
    members.settle()

    assert [event.kind for event in receipt.events] == ["rotation.accepted"]
    assert members.chain.validators.members[1] == validator("b", use="-new")


@pytest.mark.parametrize(
    "code, by, said",
    [
        ("rotation.not_own", "a", rotation("b")),
        ("rotation.no_consent", "b", msgspec.structs.replace(rotation("b"), consent=Signature(bytes(64)))),
        ("rotation.no_consent", "b", rotation("b", old_use="-older")),
        ("member.proof", "b", msgspec.structs.replace(rotation("b"), proofs=())),
        ("member.proof", "b", msgspec.structs.replace(rotation("b"), proofs=rotation("b", use="-x").proofs)),
        ("member.proof", "b", rotation("b", address="nowhere")),
    ],
)
def test_a_rotation_without_all_its_signatures_is_refused(code: str, by: str, said: object) -> None:
    members = Members.begin()

    receipt = members.say(by, "validator.rotate", said)  # type: ignore[arg-type]

    assert receipt.code == code
    assert members.coming() == list(names(4))
    assert members.chain.application.due_ms(members.chain.state) is None


def test_lost_keys_are_replaced_by_vote_after_a_time_in_which_the_old_key_can_object() -> None:
    members = Members.begin()
    number = members.vote(replacement("d"), "a", "b", "c")
    waiting = members.proposal(number)
    assert waiting.status == "waiting"
    assert members.chain.application.due_ms(members.chain.state) == waiting.due_ms
    members.block(after_ms=REPLACEMENT_DELAY_MS - 1)
    assert members.proposal(number).status == "waiting"

    members.block()
    members.settle()

    assert members.proposal(number).status == "enacted"
    assert members.chain.validators.members[3] == validator("d", use="-new")


def test_a_rotation_by_the_key_that_was_called_lost_stops_its_replacement() -> None:
    members = Members.begin()
    number = members.vote(replacement("d"), "a", "b", "c")

    members.say("d", "validator.rotate", rotation("d", use="-own"))
    members.settle()
    members.block(after_ms=REPLACEMENT_DELAY_MS)

    assert (members.proposal(number).status, members.proposal(number).reason) == ("failed", "member.proof")
    assert members.chain.validators.members[3] == validator("d", use="-own")


def test_no_more_than_max_1_f_seats_change_a_height_and_all_changes_happen_in_the_end() -> None:
    members = Members.begin()
    raws = [members.chain.transaction(name, "validator.rotate", rotation(name)) for name in names(4)]
    members.block(*raws)
    members.settle()

    changes = [
        sum(before != after for before, after in zip(older.members, newer.members, strict=True))
        for older, newer in zip(members.sets, members.sets[1:], strict=False)
    ]

    assert max(changes) == 1
    assert members.chain.validators.members == tuple(validator(name, use="-new") for name in names(4))


@pytest.mark.parametrize(
    "code, action",
    [
        ("member.card", AddMember(card("e", chain_id=ZERO_DIGEST))),
        ("member.card", AddMember(msgspec.structs.replace(card("e"), proofs=card("e").proofs[1:]))),
        ("member.exists", AddMember(card("a", people=2))),
        ("member.unknown", replacement("z")),
        ("member.proof", msgspec.structs.replace(replacement("b"), proofs=())),
    ],
)
def test_an_action_that_is_not_possible_is_not_put_to_the_vote(code: str, action: AddMember) -> None:
    members = Members.begin()

    assert members.propose("a", action).code == code


def test_the_last_validator_cannot_be_removed() -> None:
    members = Members.begin(3)
    members.vote(RemoveMember("c"), "a", "b")
    members.settle()

    assert members.seated() == ["a", "b"]
    number = members.vote(RemoveMember("b"), "a")
    members.block()
    assert members.proposal(number).status == "open", "one of two is no quorum"


def test_an_organisation_cannot_fill_the_docket_and_proposals_lapse() -> None:
    members = Members.begin()
    newcomers = [f"new{number}" for number in range(OPEN_PER_ORGANISATION_MAX + 1)]
    codes = [members.propose("a", add(name)).code for name in newcomers]
    assert codes == [*["ok"] * OPEN_PER_ORGANISATION_MAX, "governance.too_many"]
    assert members.propose("b", add(newcomers[-1])).accepted

    members.block(after_ms=LIFE_MS)

    assert members.proposal(1).status == "lapsed"
    assert members.propose("a", add(newcomers[-1])).accepted


def test_the_state_tells_the_set_of_every_height_it_has_had() -> None:
    members = Members.begin()
    for leaver in ("d", "c"):
        members.vote(RemoveMember(leaver), *[name for name in ("a", "b", "c") if name != leaver])
        members.settle()
        members.block()
    state = members.chain.state

    found = [validators_at(state, height) for height in range(1, len(members.sets))]

    assert found == members.sets[1:]
    assert reigns_of(state)[0].first == 1
    assert all(set_of(state, one.hash) == one for one in members.sets)
    assert set_of(state, ZERO_DIGEST) is None


def test_what_a_late_set_keeps_may_still_stand_in_a_block_and_what_an_old_one_kept_may_not() -> None:
    for blocks, code in ((0, "ok"), (HEIGHTS_MAX - 4, "ok"), (HEIGHTS_MAX, "update.unavailable")):
        members = Members.begin(4, task_spec())
        submission = members.chain.update("a", np.zeros(SCHEMA.size, np.int16))
        members.vote(RemoveMember("d"), "a", "b", "c")
        members.settle()
        assert submission.availability.seals[-1].validator < len(members.chain.validators) == 3
        first = members.chain.update("b", np.ones(SCHEMA.size, np.int16))
        too_few = msgspec.structs.replace(first.availability, seals=first.availability.seals[:1])
        assert members.say("b", "update", msgspec.structs.replace(first, availability=too_few)).code != "ok"
        members.say("c", "validator.rotate", rotation("c"))  # so that the sets' keys differ
        members.settle()
        for _ in range(blocks):
            members.block()

        assert members.say("a", "update", submission).code == code
