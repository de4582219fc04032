"""What is said about membership, and what the state keeps of it. One law: an action is complete in itself.

Whoever approves a proposal approves exactly the action under its digest.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

from fl.governance.records import ChangeTask, PauseLearning, ReleaseModel, ResumeLearning
from fl.membership.cards import KeyProof, MemberCard
from fl.policies.records import PolicyAction
from fl.privacy.records import SetBudget
from ledger.codec import Record, encode
from ledger.digest import Digest, digest
from ledger.evidence import OffenceKind, Proof
from ledger.fields import DigestField, HeightField, NameField, PublicKeyField, SignatureField, TimeField, Uint
from ledger.validators import VALIDATORS_MAX, Validator

KEYS_OF_VALIDATOR: Final = 2
PEOPLE_MAX: Final = 4_096
"""Participants of all members together."""

OPEN_PER_ORGANISATION_MAX: Final = 8
"""Proposals of one organisation that are not decided; no institution can fill the docket."""

OPEN_MAX: Final = OPEN_PER_ORGANISATION_MAX * VALIDATORS_MAX

# Actions


class AddMember(Record, frozen=True, tag="add-member"):
    """An institution joins with its node and its people."""

    card: MemberCard
    """Made for this chain; the keys have signed it."""


class RemoveMember(Record, frozen=True, tag="remove-member"):
    """An institution leaves: its seat is taken away and its participants are no longer registered."""

    name: NameField


class ReplaceKeys(Record, frozen=True, tag="replace-keys"):
    """A validator that lost its keys gets new ones; the others vote, since its own word cannot be proven any more."""

    validator: Validator
    proofs: Annotated[tuple[KeyProof, ...], Meta(max_length=KEYS_OF_VALIDATOR)]
    """One for each key that is new, ascending by key, in domain `key-rotation`."""


class ReinstateMember(Record, frozen=True, tag="reinstate-member"):
    """A suspended validator gets its seat back; what it did before is forgiven."""

    name: NameField


MembershipAction: TypeAlias = AddMember | RemoveMember | ReplaceKeys | ReinstateMember
LearningAction: TypeAlias = PauseLearning | ResumeLearning | ChangeTask | ReleaseModel
Action: TypeAlias = MembershipAction | LearningAction | PolicyAction | SetBudget

# Payloads of transactions


class Proposal(Record):
    """`governance.propose`: an officer puts an action to the vote; this is also its organisation's approval."""

    action: Action


class Approval(Record):
    """`governance.approve`: an officer's organisation agrees to a proposal."""

    number: Uint
    action: DigestField
    """Digest of the action that was read."""


class KeyRotation(Record):
    """`validator.rotate`: a validator changes its keys or its address by its own word."""

    validator: Validator
    """Its new record, of the same name."""

    consent: SignatureField
    """By the old validator key in domain `key-rotation`, over the old and the new record."""

    proofs: Annotated[tuple[KeyProof, ...], Meta(max_length=KEYS_OF_VALIDATOR)]
    """One for each key that is new, ascending by key; over the same."""


class SyncAttestation(Record):
    """`validator.attest`: a validator has seen that a newcomer's node holds the chain."""

    number: Uint
    """Of the proposal that waits for it."""


class EvidenceReport(Record):
    """`evidence`: anybody of the consortium shows what a validator signed."""

    proof: Proof


# Facts of the state

ProposalStatus = Literal["open", "waiting", "enacted", "failed", "lapsed"]


class Person(Record):
    """Who is registered, for those who must know all."""

    name: NameField
    organisation: NameField
    public_key: PublicKeyField


class Roster(Record):
    """All participants."""

    people: Annotated[tuple[Person, ...], Meta(max_length=PEOPLE_MAX)]
    """Ascending by name."""


class Docket(Record):
    """Proposals that are not decided, and the number of the next one."""

    next: Uint
    undecided: Annotated[tuple[Uint, ...], Meta(max_length=OPEN_MAX)]
    """Numbers, ascending."""


class ProposalState(Record):
    """Where a proposal stands."""

    number: Uint
    """1, 2, 3, ..."""

    action: Action
    organisation: NameField
    """Who proposed it."""

    status: ProposalStatus
    """`open`: collects approvals; `waiting`: has enough, and waits for its time or for a newcomer in sync."""

    approvals: Annotated[tuple[NameField, ...], Meta(max_length=VALIDATORS_MAX)]
    """Organisations, ascending."""

    attestations: Annotated[tuple[NameField, ...], Meta(max_length=VALIDATORS_MAX)]
    """Validators that saw the newcomer in sync, ascending."""

    proposed_height: HeightField
    due_ms: TimeField
    """Not enacted before; 0 as long as it is open, and when there is no timelock."""

    lapses_ms: TimeField
    """No longer possible from then on."""

    decided_height: HeightField
    """Block in which it was enacted, failed or lapsed; 0 before."""

    reason: Annotated[str, Meta(max_length=256)]
    """Why it failed; empty otherwise."""

    @property
    def digest(self) -> Digest:
        """Names exactly this action; approvals refer to it."""
        return action_digest(self.action)


class SeatChange(Record):
    """What is to become of one seat."""

    name: NameField
    validator: Validator | None
    """Who sits there from then on; None when the seat is taken away."""


class SeatChanges(Record):
    """What is decided and not carried out, since a height changes few seats."""

    waiting: Annotated[tuple[SeatChange, ...], Meta(max_length=OPEN_MAX)]
    """In the order in which they are carried out; one for each name at most."""


class Suspension(Record):
    """A validator whose seat is taken away by rule."""

    validator: Validator
    """What it was; a reinstatement gives this seat back."""

    offence: OffenceKind
    height: HeightField
    """Block that suspended it."""


class Suspended(Record):
    """All who are suspended; some may still sit, when too few seats would be left."""

    members: Annotated[tuple[Suspension, ...], Meta(max_length=VALIDATORS_MAX)]
    """Ascending by name."""


class Standing(Record):
    """What a validator's past counts for."""

    offences: Uint
    """How many of its offences are on record."""

    forgiven_height: HeightField
    """Offences of heights below this one have no consequences any more: it was reinstated."""


class OffenceState(Record):
    """A proven offence."""

    validator: NameField
    kind: OffenceKind
    offence_height: HeightField
    """Whose set judges it; for votes the height at which they were cast."""

    view: Uint
    """Of the votes; 0 for statements that belong to no view."""

    transaction: DigestField
    """Where the proof stands."""

    height: HeightField
    """Of its block."""


def action_digest(action: Action) -> Digest:
    """Return what names an action."""
    return digest("action", encode(action))
