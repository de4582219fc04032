"""What institutions say about membership, put together by hand on top of `tests.fl.consortium`."""

from __future__ import annotations

from dataclasses import dataclass, field

from fl.membership.actions import ROTATION_DOMAIN, rotation_message
from fl.membership.cards import CARD_DOMAIN, MemberCard, Membership, prove_keys
from fl.membership.records import (
    Action,
    AddMember,
    Approval,
    EvidenceReport,
    KeyRotation,
    Proposal,
    ProposalState,
    ReplaceKeys,
    SyncAttestation,
)
from fl.membership.state import proposal_of
from fl.records import Participant, TaskSpec
from fl.state import present
from ledger.certificate import COMMIT, PREPARE, vote_message
from ledger.codec import Record, encode
from ledger.digest import Digest, digest
from ledger.evidence import ConflictingVotes, Proof, VoteKind, VoteWord
from ledger.execution import Execution
from ledger.fields import Height, View
from ledger.identity import Signature, SigningKey
from ledger.receipt import Receipt
from ledger.reigns import coming_validators_of, validators_of
from ledger.validators import Validator, ValidatorSet
from tests.fl.consortium import CHAIN, Consortium, key_of

BLOCK_A, BLOCK_B = digest("test-block", b"a"), digest("test-block", b"b")


@dataclass
class Members:
    """A consortium that decides about itself; the set of each height is its own."""

    chain: Consortium
    sets: list[ValidatorSet] = field(default_factory=list)
    """By height, from 0."""

    @classmethod
    def begin(cls, count: int = 4, *tasks: TaskSpec) -> Members:
        """Return so many institutions named a, b, c, ..."""
        chain = Consortium.begin(*tasks, names=names(count))
        return cls(chain, [chain.validators, chain.validators])

    def block(self, *raws: bytes, after_ms: int = 1) -> Execution:
        """Append a block that the set of its height decides."""
        execution = self.chain.block(*raws, after_ms=after_ms)
        self.chain.validators = execution.next_validators
        self.sets.append(execution.next_validators)
        return execution

    def say(self, name: str, kind: str, payload: Record) -> Receipt:
        """Append a block with one statement of an organisation's officer and return its receipt."""
        return self.block(self.chain.transaction(name, kind, payload)).receipts[0]

    def say_as_validator(self, name: str, kind: str, payload: Record) -> Receipt:
        """The same, with the validator's own key."""
        return self.block(self.chain.transaction("", kind, payload, key=key_of(name, "validator"))).receipts[0]

    def propose(self, name: str, action: Action) -> Receipt:
        """Let an organisation propose."""
        return self.say(name, "governance.propose", Proposal(action))

    def approve(self, name: str, number: int) -> Receipt:
        """Let an organisation approve."""
        return self.say(name, "governance.approve", Approval(number, self.proposal(number).digest))

    def vote(self, action: Action, *voters: str) -> int:
        """Let the first propose and the others approve; return the number."""
        self.propose(voters[0], action)
        number = next(
            number
            for number in range(1, 1_000)
            if (found := proposal_of(self.chain.state, number)) is not None
            and found.action == action
            and found.status in {"open", "waiting"}
        )
        for voter in voters[1:]:
            self.approve(voter, number)
        return number

    def attest(self, number: int, *validators: str) -> None:
        """Let validators say that the newcomer is in sync."""
        for name in validators:
            assert self.say_as_validator(name, "validator.attest", SyncAttestation(number)).accepted

    def accuse(self, proof: Proof, *, by: str = "a") -> Receipt:
        """Let a participant show a proof."""
        return self.say(by, "evidence", EvidenceReport(proof))

    def settle(self) -> None:
        """Append blocks as long as one is due."""
        while self.chain.application.due_ms(self.chain.state) == 0:
            assert self.block().receipts[-1].events, "nobody votes for a block for nothing"

    def proposal(self, number: int) -> ProposalState:
        """Return where a proposal stands."""
        return present(proposal_of(self.chain.state, number), "the proposal")

    @property
    def height(self) -> int:
        """The latest block's."""
        return self.chain.height

    def seated(self) -> list[str]:
        """Return who decides the next height."""
        return [member.name for member in validators_of(self.chain.state).members]

    def coming(self) -> list[str]:
        """Return who decides the height after it."""
        return [member.name for member in coming_validators_of(self.chain.state).members]

    def double_vote(
        self, name: str, height: int, *, view: int = 0, kinds: tuple[VoteKind, VoteKind] = ("prepare", "prepare")
    ) -> ConflictingVotes:
        """Let a validator vote for two blocks."""
        validators = self.sets[height]
        index = next(index for index, member in enumerate(validators.members) if member.name == name)
        at = Height(height)
        words = tuple(
            VoteWord(kind, block, vote_signature(name, kind, at, View(view), validators, index, block))
            for kind, block in zip(kinds, (BLOCK_A, BLOCK_B), strict=True)
        )
        return ConflictingVotes(at, View(view), index, words[0], words[1])


def names(count: int) -> tuple[str, ...]:
    """Return a, b, c, ..."""
    return tuple("abcdefghijklmnopqrstuvwxyz"[:count])


def vote_signature(
    name: str, kind: VoteKind, height: Height, view: View, validators: ValidatorSet, index: int, block: Digest
) -> Signature:
    """Sign a vote."""
    assert kind in (COMMIT, PREPARE)
    return key_of(name, "validator").sign(
        "vote", CHAIN, vote_message(kind, height, view, validators.hash, index, block)
    )


def validator(name: str, *, use: str = "", address: str = "") -> Validator:
    """Return a validator record; another `use` gives other keys."""
    return Validator(
        name, key_of(name, "validator" + use).public_key, key_of(name, "transport" + use).public_key, address
    )


def card(name: str, *, chain_id: Digest = CHAIN, people: int = 1, voting: SigningKey | None = None) -> MemberCard:
    """Return the card of an institution with an officer, whose node may vote with somebody else's key."""
    voting = voting or key_of(name, "validator")
    participants = tuple(
        Participant(name + suffix, name, key_of(name + suffix, "participant").public_key, ("trainer", "officer"))
        for suffix in ("", "-2", "-3")[:people]
    )
    node = Validator(name, voting.public_key, key_of(name, "transport").public_key, "")
    said = Membership(name, 1_000, node, participants)
    keys = [voting, key_of(name, "transport")]
    keys += [key_of(one.name, "participant") for one in participants]
    return MemberCard(said, prove_keys(CARD_DOMAIN, chain_id, encode(said), keys))


def add(name: str) -> AddMember:
    """Return the action that lets an institution in."""
    return AddMember(card(name))


def rotation(name: str, *, use: str = "-new", old_use: str = "", address: str = "") -> KeyRotation:
    """Return a validator's word that it has new keys."""
    new = [] if use == old_use else [key_of(name, "validator" + use), key_of(name, "transport" + use)]
    return rotation_to(validator(name, use=old_use), validator(name, use=use, address=address), new, old_use=old_use)


def rotation_to(before: Validator, after: Validator, new: list[SigningKey], *, old_use: str = "") -> KeyRotation:
    """Return a validator's word that its record changes, with the proofs of these keys."""
    message = rotation_message(before, after)
    consent = key_of(before.name, "validator" + old_use).sign(ROTATION_DOMAIN, CHAIN, message)
    return KeyRotation(after, consent, prove_keys(ROTATION_DOMAIN, CHAIN, message, new))


def replacement(name: str, *, use: str = "-new") -> ReplaceKeys:
    """Return the action that gives a validator that lost its keys new ones."""
    said = rotation(name, use=use)
    return ReplaceKeys(said.validator, said.proofs)
