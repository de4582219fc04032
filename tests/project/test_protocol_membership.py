"""The page's second implementation goes through every way of joining, leaving, rotating and lying with the first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest

from fl.aggregators import RuleSpec
from fl.governance.changes import TIMELOCK_BLOCKS, change_between
from fl.governance.records import PauseLearning, ReleaseModel, ResumeLearning
from fl.membership.actions import REPLACEMENT_DELAY_MS
from fl.membership.proposals import LIFE_MS
from fl.membership.records import (
    AddMember,
    Approval,
    EvidenceReport,
    ReinstateMember,
    RemoveMember,
    ReplaceKeys,
    SyncAttestation,
)
from fl.state import model_of, present
from ledger.codec import encode
from ledger.digest import ZERO_DIGEST
from ledger.evidence import ForgottenCommit
from ledger.execution import Execution
from ledger.identity import Signature
from ledger.validators import Validator
from ledger.view_change import PreparedClaim
from tests.fl.consortium import SCHEMA, Consortium, key_of, task_spec
from tests.fl.members import BLOCK_A, Members, add, card, names, replacement, rotation, rotation_to, validator
from tests.fl.proofs import every_kind, forgotten, fork_in_one_view, fork_in_two_views, verdicts
from tests.project.protocol_execution import execute
from tests.project.protocol_records import decode
from tests.project.protocol_records import encode as their_encode
from tests.project.test_protocol_page import refusals
from tests.project.test_protocol_refusals import MEMBERSHIP

NO_SIGNATURE = Signature(bytes(64))


@dataclass
class Watched(Members):
    """Every block is executed by the reader too, from the same state."""

    blocks: int = 0
    codes: set[str] = field(default_factory=set)

    def block(self, *raws: bytes, after_ms: int = 1) -> Execution:
        before = dict(self.chain.state.items())
        execution = super().block(*raws, after_ms=after_ms)
        header = decode("Header", encode(execution.header), 1 << 16)
        theirs = execute(header, list(raws), before)
        assert [their_encode(one) for one in theirs.receipts] == [encode(one) for one in execution.receipts]
        assert theirs.state == dict(execution.state.items())
        assert theirs.header == header
        self.blocks += 1
        self.codes |= {receipt.code for receipt in execution.receipts}
        return execution


def watched(count: int = 4) -> Watched:
    """Return a consortium of so many, which learns."""
    chain = Consortium.begin(task_spec(), names=names(count))
    return Watched(chain, [chain.validators, chain.validators])


def joining(members: Watched) -> None:
    number = members.vote(add("e"), "a", "b")
    members.attest(number, "a")
    members.approve("c", number)
    members.approve("c", number)
    assert members.say("a", "governance.approve", Approval(99, ZERO_DIGEST)).code == "governance.unknown"
    assert members.say("a", "governance.approve", Approval(number, ZERO_DIGEST)).code == "governance.other_action"
    assert members.say("a", "validator.attest", SyncAttestation(number)).code == "governance.not_validator"
    assert members.say_as_validator("a", "validator.attest", SyncAttestation(99)).code == "governance.unknown"
    members.attest(number, "d", "d", "a")
    members.settle()
    assert members.seated() == list(names(5))
    members.propose("e", add("e"))
    members.propose("a", add("f"))
    members.propose("e", add("f"))
    for letter in "ghijklmno":
        members.propose("a", add(letter))
    members.block(after_ms=LIFE_MS)
    members.propose("a", AddMember(card("p", people=3)))


def leaving(members: Watched) -> None:
    number = members.vote(RemoveMember("d"), "d", "a", "b")
    assert members.approve("d", number).code == "governance.subject"
    members.approve("c", number)
    members.settle()
    assert members.propose("d", RemoveMember("a")).code == "transaction.unknown_sender"
    members.block()
    members.propose("a", RemoveMember("d"))
    members.vote(RemoveMember("c"), "a", "b")
    members.settle()
    members.block()
    members.vote(RemoveMember("b"), "a", "b")
    assert members.seated() == ["a", "b"]


def rotating(members: Watched) -> None:
    bent = [
        msgspec.structs.replace(rotation("b"), consent=NO_SIGNATURE),
        msgspec.structs.replace(rotation("b"), proofs=()),
        rotation("b", address="nowhere"),
        rotation("b", address="host:0"),
    ]
    for said in bent:
        members.say("b", "validator.rotate", said)
    members.say("a", "validator.rotate", rotation("b"))
    members.say("b", "validator.rotate", rotation("b", use="", old_use=""))
    raws = [members.chain.transaction(name, "validator.rotate", rotation(name, address="h:1")) for name in names(4)]
    members.block(*raws)
    members.settle()
    members.block()
    assert members.propose("a", replacement("d")).code == "member.proof"  # made for the record that d had before


def replacing(members: Watched) -> None:
    stopped = members.vote(replacement("b"), "a", "c", "d")
    members.say("b", "validator.rotate", rotation("b", use="-own"))
    members.block(after_ms=REPLACEMENT_DELAY_MS)
    members.settle()
    assert members.proposal(stopped).status == "failed"
    first = members.vote(replacement("d"), "a", "b", "c")
    members.block(after_ms=REPLACEMENT_DELAY_MS)
    members.settle()
    assert members.proposal(first).status == "enacted"
    members.accuse(members.double_vote("c", 1))
    members.settle()
    members.block()
    second = members.vote(replacement("c"), "a", "b")
    members.block(after_ms=REPLACEMENT_DELAY_MS)
    assert members.proposal(second).status == "enacted"
    members.attest(members.vote(ReinstateMember("c"), "a", "b"), "a")
    members.settle()
    assert members.seated() == list(names(4))
    members.propose("a", replacement("z"))


def colliding(members: Watched) -> None:
    for owner, use in (("a", "validator"), ("a", "transport"), ("c", "participant")):
        key = key_of(owner, use)
        after = Validator("b", key.public_key, key_of("b", "transport-new").public_key, "")
        said = rotation_to(validator("b"), after, [key, key_of("b", "transport-new")])
        members.say("b", "validator.rotate", said)
        members.propose("a", ReplaceKeys(said.validator, said.proofs))
        members.propose("a", AddMember(card("x", voting=key)))
    members.propose("a", AddMember(card("x", chain_id=ZERO_DIGEST)))
    members.accuse(members.double_vote("d", 1))
    members.settle()
    members.say("d", "validator.rotate", rotation("d"))
    members.propose("a", AddMember(card("d", people=2)))
    members.propose("a", replacement("z"))
    assert members.coming() == ["a", "b", "c"]


def learning(members: Watched) -> None:
    early = [members.chain.update(name, np.full(SCHEMA.size, 7, np.int16)) for name in names(3)]
    members.vote(RemoveMember("d"), "a", "b", "c")
    members.settle()
    members.say("c", "validator.rotate", rotation("c"))
    members.settle()
    assert members.say("a", "update", early[0]).code == "ok"
    for name in "bab":
        members.say(name, "validator.rotate", rotation(name, address="h:1"))
        members.say(name, "validator.rotate", rotation(name, use="-2", old_use="-new"))
        members.settle()
    members.say("b", "update", early[1])
    members.say("c", "update", msgspec.structs.replace(early[2], samples=3))


def lying(members: Watched) -> None:
    members.block()
    for name, proof in zip(names(7), every_kind(members, "g", 1).values(), strict=True):
        members.accuse(proof, by=name)
        members.accuse(proof, by="a")
        for part in ("first", "second"):
            if hasattr(proof, part) and hasattr(proof, "validator"):
                word = msgspec.structs.replace(getattr(proof, part), signature=NO_SIGNATURE)
                members.accuse(msgspec.structs.replace(proof, **{part: word}))
        if hasattr(proof, "validator"):
            members.accuse(msgspec.structs.replace(proof, validator=9))
        if not isinstance(proof, ForgottenCommit):
            members.accuse(msgspec.structs.replace(proof, second=proof.first))
        members.accuse(msgspec.structs.replace(proof, height=10**9))
    members.settle()
    members.block()
    members.accuse(fork_in_one_view(members, 1, "abcde", "cdefg"))
    members.settle()
    assert len(members.seated()) == 5
    suspended = members.vote(ReinstateMember("g"), "a", "b", "c", "d", "e")
    members.attest(suspended, "a", "b")
    members.settle()
    members.accuse(members.double_vote("g", 2))
    members.accuse(verdicts(members, "g", 1))


def forking(members: Watched) -> None:
    told = PreparedClaim(forgotten(members, "a", 1).view, BLOCK_A)
    good = fork_in_two_views(members, 1, "acd", "abcd", {"b": None, "c": None, "d": None})
    for told_so in ({"a": told, "b": None, "c": told}, {"a": told, "b": None}):
        members.accuse(fork_in_two_views(members, 1, "acd", "abcd", told_so))
    members.accuse(msgspec.structs.replace(good, opening=None))
    members.accuse(msgspec.structs.replace(good, first=good.second))
    members.accuse(msgspec.structs.replace(good, first=msgspec.structs.replace(good.first, height=2)))
    members.accuse(msgspec.structs.replace(good, first=msgspec.structs.replace(good.first, seals=())))
    members.accuse(msgspec.structs.replace(good, second=msgspec.structs.replace(good.second, view=9)))
    opening = good.opening
    assert opening is not None
    members.accuse(msgspec.structs.replace(good, opening=msgspec.structs.replace(opening, view=1)))
    members.accuse(msgspec.structs.replace(good, opening=msgspec.structs.replace(opening, height=3)))
    for proof in (forgotten(members, "a", 1, told=told), forgotten(members, "a", 1, view=2)):
        members.accuse(proof)
    members.accuse(good)
    members.settle()
    assert members.seated() == ["a", "b", "d"]
    assert members.say_as_validator("c", "evidence", EvidenceReport(good)).code == "transaction.unknown_sender"


def braking(members: Watched) -> None:
    words = [np.full(SCHEMA.size, 7, np.int16)] * 4
    update = members.chain.update("a", words[0])
    members.say("b", "update", members.chain.update("b", words[1]))
    members.propose("a", PauseLearning("lungs", 1))
    members.vote(PauseLearning("heart", 5_000), "a", "b")
    assert members.say("a", "update", update).code == "update.paused"
    members.vote(PauseLearning("heart", 50), "a", "b")
    members.vote(PauseLearning(None, 9_000), "c", "d")
    members.propose("a", ResumeLearning("lungs"))
    members.vote(ResumeLearning("heart"), "a", "b", "c")
    members.block(after_ms=9_000)
    members.block(*(members.chain.transaction(name, "update", members.chain.update(name, words[0])) for name in "acd"))
    claim = members.chain.claim(members.chain.compute())
    members.vote(PauseLearning(None, 300), "c", "d")
    assert members.chain.certify(claim).code == "aggregate.paused"
    members.block(after_ms=300)
    assert members.chain.certify(claim).accepted


def changing(members: Watched) -> None:
    spec = members.chain.task().spec
    after = change_between(spec, msgspec.structs.replace(spec, rule=RuleSpec("median/1", 1), rounds=3))
    for bent in ({"task": "lungs"}, {"specification": ZERO_DIGEST}, {"rule": RuleSpec("krum/1", 1)}):
        members.propose("a", msgspec.structs.replace(after, **bent))
    members.vote(after, "a", "b", "c")
    members.propose("b", after)
    for _ in range(TIMELOCK_BLOCKS):
        members.block()
    for _ in range(2):
        words = [members.chain.update(name, np.full(SCHEMA.size, 7, np.int16)) for name in "abcd"]
        members.block(*(members.chain.transaction(n, "update", w) for n, w in zip("abcd", words, strict=True)))
        assert members.chain.certify(members.chain.claim(members.chain.compute())).accepted
    assert members.chain.task().spec.rule.rule == "median/1"
    spec = members.chain.task().spec
    members.vote(change_between(spec, msgspec.structs.replace(spec, rounds=9)), "a", "b", "c")
    model = present(present(model_of(members.chain.state, "heart", 2), "the model").payload, "its bytes")
    members.propose("a", ReleaseModel("heart", 7, model))
    number = members.vote(ReleaseModel("heart", 2, model), "a", "b", "c")
    members.approve("a", number)
    members.approve("d", number)
    members.propose("a", ReleaseModel("heart", 2, model))


STORIES: list[tuple[Callable[[Watched], None], int]] = [
    (joining, 4),
    (leaving, 4),
    (rotating, 4),
    (replacing, 4),
    (learning, 4),
    (colliding, 4),
    (lying, 7),
    (forking, 4),
    (braking, 4),
    (changing, 4),
]


@pytest.mark.parametrize(
    "story, count",
    STORIES,
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_reader_and_code_agree_on_every_receipt_and_every_byte_of_the_state(
    story: Callable[[Watched], None], count: int
) -> None:
    members = watched(count)

    story(members)

    assert members.blocks > 5


def test_every_refusal_about_membership_was_met() -> None:
    met: set[str] = set()
    for story, count in STORIES:
        members = watched(count)
        story(members)
        met |= members.codes
    known = {code for code, _ in refusals("RefusalError", "fl") if code.startswith(MEMBERSHIP)}

    assert known <= met
