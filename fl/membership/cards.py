"""Member cards: what an institution brings into a consortium. One law: no key without its holder's proof.

A proof is a signature by the key itself over everything the card says, so nobody can bring a key that is not his, and
nobody can change a card without all of its keys. A card is made for one chain: what was said to one consortium cannot
be shown to another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta

from fl.records import PARTICIPANTS_MAX, Participant
from ledger.codec import Record, encode
from ledger.digest import Digest, digest
from ledger.fields import NameField, PublicKeyField, SignatureField, TimeField
from ledger.identity import InvalidKeyError, SigningKey, require_public_key, verify
from ledger.validators import Validator, address_fault

CARD_DOMAIN: Final = "member-card"
CARD_BYTES_MAX: Final = 4 << 20
PROOFS_MAX: Final = PARTICIPANTS_MAX + 2


class KeyProof(Record):
    """The holder of a key agrees to what is said about it."""

    public_key: PublicKeyField
    signature: SignatureField
    """Over what is said, in the domain of the occasion. On a card it is `member-card`, of the chain that the card asks
    to join, or of chain zero for one that has not begun."""


class Membership(Record):
    """What a card says."""

    name: NameField
    """The institution."""

    time_ms: TimeField
    """When the card was made; the latest of a consortium becomes the time of block 0."""

    validator: Validator | None
    """Its node, of the same name; None for an institution that runs none."""

    participants: Annotated[tuple[Participant, ...], Meta(max_length=PARTICIPANTS_MAX)]
    """Trainers and officers it answers for, ascending by name."""

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Every key that the card brings, ascending."""
        own = (self.validator.public_key, self.validator.transport_key) if self.validator else ()
        return tuple(sorted((*own, *(one.public_key for one in self.participants))))

    @property
    def fingerprint(self) -> Digest:
        """What people read each other to be sure that they mean the same card."""
        return digest("member-card", encode(self))


class MemberCard(Record):
    """A membership with the proofs of all its keys."""

    membership: Membership
    proofs: Annotated[tuple[KeyProof, ...], Meta(max_length=PROOFS_MAX)]
    """One a key, ascending by key."""

    @property
    def name(self) -> str:
        """The institution."""
        return self.membership.name


def prove_keys(domain: str, chain_id: Digest, message: bytes, keys: Sequence[SigningKey]) -> tuple[KeyProof, ...]:
    """Let each key agree to `message`; ascending by key."""
    ordered = sorted(keys, key=lambda key: key.public_key)
    return tuple(KeyProof(key.public_key, key.sign(domain, chain_id, message)) for key in ordered)


def are_proven(
    domain: str, chain_id: Digest, message: bytes, needed: Sequence[bytes], proofs: Sequence[KeyProof]
) -> bool:
    """Tell whether exactly the `needed` keys are usable and agreed to `message`, ascending."""
    return [proof.public_key for proof in proofs] == sorted(set(needed)) and all(
        not key_fault(proof.public_key) and verify(proof.public_key, domain, chain_id, message, proof.signature)
        for proof in proofs
    )


def key_fault(key: bytes) -> str:
    """Return why a key may not be registered; empty when it may."""
    try:
        require_public_key(key)
    except InvalidKeyError as error:
        return str(error)
    return ""


def card_faults(card: MemberCard, chain_id: Digest) -> list[str]:
    """Return why a card for this chain does not hold, a line a fault; empty when it does."""
    return _membership_faults(card.membership) or _proof_faults(card, chain_id)


def _membership_faults(said: Membership) -> list[str]:
    faults = []
    if said.validator is not None:
        if said.validator.name != said.name:
            faults.append(f"validator: its name is {said.name}'s, got {said.validator.name}")
        if said.validator.address and (fault := address_fault(said.validator.address)):
            faults.append(f"validator, address: {fault}")
    names = [one.name for one in said.participants]
    if names != sorted(set(names)):
        faults.append(f"participants: unique and ascending names are needed, got {', '.join(names)}")
    for one in said.participants:
        if one.organisation != said.name:
            faults.append(f"participant {one.name}: a card speaks for {said.name} alone, got {one.organisation}")
        if not one.roles or len(set(one.roles)) != len(one.roles):
            faults.append(f"participant {one.name}: one role or both are needed, got {list(one.roles)}")
        if "officer" in one.roles and said.validator is None:
            faults.append(f"participant {one.name}: officers vote for a node, and {said.name} brings none")
    if not said.keys:
        faults.append("a node or a participant is needed, the card brings neither")
    return faults


def _proof_faults(card: MemberCard, chain_id: Digest) -> list[str]:
    said = card.membership
    faults = [fault for key in said.keys if (fault := key_fault(key))]
    if len(set(said.keys)) != len(said.keys):
        faults.append("every key may be used once: give each node, trainer and officer a key of its own")
    if tuple(proof.public_key for proof in card.proofs) != said.keys:
        faults.append("each key of the card needs one proof, ascending by key")
        return faults
    message = encode(said)
    faults += [
        f"key {proof.public_key.hex()}: its signature does not match what the card says: the card was changed, or "
        "whoever made it does not hold the key"
        for proof in card.proofs
        if not verify(proof.public_key, CARD_DOMAIN, chain_id, message, proof.signature)
    ]
    return faults
