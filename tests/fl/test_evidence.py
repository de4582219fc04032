"""Evidence: what is proven suspends its author and nobody else; what an honest validator may say convicts nobody."""

from __future__ import annotations

import msgspec
import pytest

from fl.membership.records import EvidenceReport, ReinstateMember, RemoveMember
from fl.membership.state import offence_of, standing_of, suspension_of
from ledger.digest import Digest
from ledger.evidence import EvidenceError, ForgottenCommit, Offence, Proof, offences
from ledger.fields import View
from ledger.identity import Signature
from ledger.view_change import PreparedClaim
from tests.fl.consortium import CHAIN
from tests.fl.members import BLOCK_A, BLOCK_B, Members, names, rotation, validator
from tests.fl.proofs import every_kind, forgotten, fork_in_one_view, fork_in_two_views, verdicts

KINDS = sorted(every_kind(Members.begin(), "d", 1))
NO_SIGNATURE = Signature(bytes(64))


@pytest.mark.parametrize("kind", KINDS)
def test_a_proof_of_any_kind_takes_its_authors_seat_after_the_next_height(kind: str) -> None:
    members = Members.begin()
    members.block()
    proof = every_kind(members, "d", 1)[kind]

    receipt = members.accuse(proof)

    assert [event.kind for event in receipt.events] == ["evidence.recorded", "validator.suspended"]
    assert (members.seated(), members.coming()) == (["a", "b", "c", "d"], ["a", "b", "c"])
    (offence,) = offences(CHAIN, members.sets[1], proof)
    kept = offence_of(members.chain.state, "d", offence.id)
    assert kept is not None
    assert (kept.kind, kept.height) == (offence.kind, members.height)
    members.settle()
    assert members.seated() == ["a", "b", "c"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_proof_with_any_signature_changed_proves_nothing(kind: str) -> None:
    members = Members.begin()
    members.block()
    proof = every_kind(members, "d", 1)[kind]

    for bent in _without_one_signature(proof):
        with pytest.raises(EvidenceError):
            offences(CHAIN, members.sets[1], bent)
        receipt = members.accuse(bent)
        assert (receipt.code, members.coming()) == ("evidence.unproven", list(names(4)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_proof_does_not_convict_anybody_else_nor_count_on_another_chain_or_height(kind: str) -> None:
    members = Members.begin()
    members.block()
    proof = every_kind(members, "d", 1)[kind]
    with pytest.raises(EvidenceError):
        offences(Digest(bytes(32)), members.sets[1], proof)
    if hasattr(proof, "validator"):
        with pytest.raises(EvidenceError):
            offences(CHAIN, members.sets[1], msgspec.structs.replace(proof, validator=2))
    if kind not in {"two verdicts", "two results"}:  # what they say belongs to no height
        with pytest.raises(EvidenceError):
            offences(CHAIN, members.sets[1], msgspec.structs.replace(proof, height=2))


def test_what_honest_validators_say_convicts_nobody() -> None:
    members = Members.begin()
    honest: list[Proof] = [
        msgspec.structs.replace(one, second=one.first)
        for one in every_kind(members, "d", 1).values()
        if not isinstance(one, ForgottenCommit)
    ]
    told = PreparedClaim(View(1), BLOCK_A)
    honest.append(forgotten(members, "d", 1, told=told))
    honest.append(forgotten(members, "d", 1, told=PreparedClaim(View(1), BLOCK_B), view=0))  # prepared again later
    honest.append(forgotten(members, "d", 1, view=2))  # the COMMIT came after the VIEW-CHANGE
    for proof in honest:
        with pytest.raises(EvidenceError):
            offences(CHAIN, members.sets[1], proof)


def test_two_certificates_of_one_view_name_everybody_who_signed_both() -> None:
    members = Members.begin(7)
    proof = fork_in_one_view(members, 1, "abcde", "cdefg")

    assert _convicted(members, proof) == ["c", "d", "e"]
    assert len(_convicted(members, proof)) > members.sets[1].faulty_max


def test_two_certificates_of_different_views_name_who_forgot_the_first_and_not_who_was_deceived() -> None:
    members = Members.begin()
    told = PreparedClaim(View(1), BLOCK_A)
    # a is honest: it told of its COMMIT, and voted again only because c and d hid theirs.
    leaving: dict[str, PreparedClaim | None] = {"b": None, "c": None, "d": None}
    proof = fork_in_two_views(members, 1, "acd", "abcd", leaving)
    assert _convicted(members, proof) == ["c", "d"]

    for harmless in ({"a": told, "b": None, "c": told}, {"a": told, "b": None}):
        with pytest.raises(EvidenceError):
            offences(CHAIN, members.sets[1], fork_in_two_views(members, 1, "acd", "abcd", harmless))
    with pytest.raises(EvidenceError):
        offences(CHAIN, members.sets[1], msgspec.structs.replace(proof, opening=None))


def test_an_offence_counts_once_however_many_proofs_are_shown_and_by_whomever() -> None:
    members = Members.begin()
    members.accuse(members.double_vote("d", 1))

    again = members.accuse(members.double_vote("d", 1, kinds=("commit", "commit")), by="b")

    assert (again.code, again.events) == ("ok", ())
    assert standing_of(members.chain.state, "d").offences == 1


def test_after_a_reinstatement_old_offences_are_forgiven_and_new_ones_are_not() -> None:
    members = Members.begin()
    members.accuse(members.double_vote("d", 1))
    members.settle()
    members.block()
    assert members.seated() == ["a", "b", "c"]

    number = members.vote(ReinstateMember("d"), "a", "b")
    members.attest(number, "c")
    members.settle()
    assert members.seated() == ["a", "b", "c", "d"]
    assert suspension_of(members.chain.state, "d") is None

    assert members.accuse(members.double_vote("d", 2)).events == ()
    members.block()
    assert members.accuse(members.double_vote("d", members.height)).events != ()
    assert members.coming() == ["a", "b", "c"]


def test_a_repeated_verdict_does_not_suspend_again_under_another_height() -> None:
    members = Members.begin()
    members.accuse(verdicts(members, "d", 1))
    members.settle()
    members.attest(members.vote(ReinstateMember("d"), "a", "b"), "a")
    members.settle()
    members.block()

    receipt = members.accuse(verdicts(members, "d", members.height))

    assert (receipt.code, receipt.events) == ("ok", ())


def test_rule_leaves_a_quorum_of_the_whole_consortium_seated_and_votes_may_go_further() -> None:
    members = Members.begin(7)
    for liar in ("g", "f", "e", "d"):
        members.accuse(members.double_vote(liar, 1))
        members.settle()

    assert members.seated() == list("abcde")  # 5 of 7 are a quorum; e and d are suspended and keep their seats
    assert suspension_of(members.chain.state, "d") is not None
    members.vote(RemoveMember("d"), "a", "b", "c", "e")
    members.settle()
    assert members.seated() == list("abce")
    # Six are left in all, of whom four are a quorum: no further seat can go.
    assert suspension_of(members.chain.state, "e") is not None


def test_f_seats_at_most_are_taken_a_height_even_when_more_are_convicted_at_once() -> None:
    members = Members.begin(7)
    members.accuse(fork_in_one_view(members, 1, "abcde", "cdefg"))

    assert len(members.coming()) == 5
    assert members.seated() == list(names(7))


def test_a_suspended_validator_cannot_rotate_itself_back_into_a_seat() -> None:
    members = Members.begin()
    waiting = members.chain.transaction("d", "validator.rotate", rotation("d"))
    convicting = members.chain.transaction("a", "evidence", EvidenceReport(members.double_vote("d", 1)))
    members.block(waiting, convicting)
    members.settle()
    members.block()

    assert members.say("d", "validator.rotate", rotation("d")).code == "rotation.not_seated"
    members.settle()
    assert members.seated() == ["a", "b", "c"]


def test_a_validator_that_rotated_is_still_answerable_for_its_old_key() -> None:
    members = Members.begin()
    proof = members.double_vote("d", 1)
    members.say("d", "validator.rotate", rotation("d"))
    members.settle()
    members.block()
    assert members.chain.validators.members[3] == validator("d", use="-new")

    members.accuse(proof)
    members.settle()

    assert members.seated() == ["a", "b", "c"]


def test_evidence_of_a_height_that_is_not_there_is_refused() -> None:
    members = Members.begin()
    proof = msgspec.structs.replace(members.double_vote("d", 1), height=9)

    assert members.accuse(proof).code == "evidence.height"


def _convicted(members: Members, proof: Proof) -> list[str]:
    found: tuple[Offence, ...] = offences(CHAIN, members.sets[1], proof)
    return [members.sets[1].members[one.validator].name for one in found]


def _without_one_signature(proof: Proof) -> list[Proof]:
    bent: list[Proof] = []
    for field in ("first", "second", "seal", "claim"):
        word = getattr(proof, field, None)
        if word is None:
            continue
        if hasattr(word, "seal"):
            word = msgspec.structs.replace(word, seal=msgspec.structs.replace(word.seal, signature=NO_SIGNATURE))
        else:
            word = msgspec.structs.replace(word, signature=NO_SIGNATURE)
        bent.append(msgspec.structs.replace(proof, **{field: word}))
    assert bent
    return bent
