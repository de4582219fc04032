"""From the genesis document's set over any number of changes; a step that its own quorum did not sign leads nowhere."""

from __future__ import annotations

import msgspec
import pytest

from fl.membership.records import RemoveMember
from fl.membership.state import roster_of
from ledger.certificate import COMMIT, QuorumCertificate, make_certificate, sign_vote
from ledger.chain import CertifiedHeader
from ledger.codec import CodecError, decode, encode
from ledger.execution import Execution
from ledger.fields import Height, View
from ledger.light import LightProofError, StateFact, prove_state
from ledger.reigns import reigns_of
from ledger.succession import FollowedProof, SuccessionStep, decode_followed_proof, follow, verify_followed_proof
from ledger.validators import ValidatorSet
from tests.fl.consortium import CHAIN, key_of
from tests.fl.members import Members, rotation, rotation_to, validator
from tests.project.protocol_reader import is_followed
from tests.project.protocol_records import decode as their_decode

replace = msgspec.structs.replace


class Told(Members):
    """A consortium that keeps its blocks' outcomes."""

    outcomes: list[Execution]

    def block(self, *raws: bytes, after_ms: int = 1) -> Execution:
        outcome = super().block(*raws, after_ms=after_ms)
        self.outcomes = [*getattr(self, "outcomes", []), outcome]
        return outcome


@pytest.fixture(scope="module")
def told() -> Told:
    members = Told.begin(5)
    assert isinstance(members, Told)
    members.vote(RemoveMember("e"), "a", "b", "c", "d")
    members.settle()
    for name in ("a", "b"):
        members.say(name, "validator.rotate", rotation(name))
        members.settle()
    members.block()
    return members


def certificate(members: Told, outcome: Execution) -> QuorumCertificate:
    height = Height(outcome.header.height)
    validators = members.sets[height]
    keys = [key_of(one.name, "validator" + use) for one in validators.members for use in ("", "-new")]
    seals = [
        sign_vote(key, CHAIN, COMMIT, height, View(0), validators, outcome.block.id)
        for key in keys
        if validators.index_of(key.public_key) is not None
    ]
    return make_certificate(height, View(0), outcome.block.id, seals)


def steps(members: Told) -> list[SuccessionStep]:
    found = []
    for reign in reigns_of(members.chain.state)[1:]:
        last = members.outcomes[reign.first - 2]
        found.append(SuccessionStep(last.header, certificate(members, last), members.sets[reign.first]))
    return found


def followed(members: Told) -> FollowedProof:
    outcome = members.outcomes[-1]
    certified = CertifiedHeader(outcome.header, certificate(members, outcome))
    return FollowedProof(tuple(steps(members)), prove_state(certified, outcome.state, b"fl/roster"))


def test_three_changes_are_followed_and_a_fact_after_them_is_proven(told: Told) -> None:
    proof = followed(told)

    fact = verify_followed_proof(CHAIN, told.sets[1], decode_followed_proof(encode(proof)))

    assert len(proof.steps) == 3
    assert follow(CHAIN, told.sets[1], proof.steps) == told.sets[-1]
    assert isinstance(fact, StateFact)
    assert fact.value is not None
    assert b"e" not in {one.name.encode() for one in roster_of(told.chain.state).people}
    theirs = their_decode("FollowedProof", encode(proof), 1 << 26)
    first = their_decode("ValidatorSet", encode(told.sets[1]), 1 << 20)
    assert is_followed(CHAIN, first, theirs)


def test_a_way_with_a_step_left_out_changed_or_turned_round_leads_nowhere(told: Told) -> None:
    proof = followed(told)
    one, two, three = proof.steps
    lessened = replace(two, certificate=replace(two.certificate, seals=two.certificate.seals[:2]))
    usurped = replace(two, validators=ValidatorSet(told.sets[1].members[:1]))
    retimed = replace(two, header=replace(two.header, time_ms=two.header.time_ms + 1))
    first = their_decode("ValidatorSet", encode(told.sets[1]), 1 << 20)

    for bad in (
        (one, three),
        (two, one, three),
        (one, lessened, three),
        (one, usurped, three),
        (one, retimed, three),
        (),
    ):
        spoilt = replace(proof, steps=bad)
        with pytest.raises(LightProofError):
            verify_followed_proof(CHAIN, told.sets[1], spoilt)
        assert not is_followed(CHAIN, first, their_decode("FollowedProof", encode(spoilt), 1 << 26))


def test_steps_only_go_up_even_when_a_set_comes_back() -> None:
    members = Told.begin(4)
    assert isinstance(members, Told)
    here, there = validator("a"), validator("a", address="there:1")
    for before, after in ((here, there), (there, here)):
        members.say("a", "validator.rotate", rotation_to(before, after, []))
        members.settle()
    members.block()
    forth, back = steps(members)
    assert back.validators == members.sets[1]

    assert follow(CHAIN, members.sets[1], (forth, back)) == members.sets[1]
    with pytest.raises(LightProofError, match="steps go up from height"):
        follow(CHAIN, members.sets[1], (forth, back, forth))


def test_a_light_proof_and_a_followed_one_are_never_taken_for_each_other(told: Told) -> None:
    with pytest.raises(CodecError):
        decode_followed_proof(encode(followed(told).proof))
    with pytest.raises(CodecError):
        decode(encode(followed(told)), type(followed(told).proof), bytes_max=1 << 20)
