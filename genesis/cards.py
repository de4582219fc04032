"""Member cards: what an institution brings into a consortium. One law: no key on a card without its holder's proof.

Institutions share no disk. Each makes a card on its own machine and gives it to the others; secrets stay where they
are. A proof is a signature by the key itself over everything the card says, so nobody can bring a key that is not his,
and nobody can change a card without all of its keys. Whether a card comes from the institution that it names is for
people to check: they read each other its `fingerprint`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from fl.records import PARTICIPANTS_MAX, Participant
from genesis.document import address_fault
from genesis.files import read_text
from genesis.reading import FaultsError, read, to_json
from ledger.codec import CodecError, Record, decode, encode
from ledger.digest import ZERO_DIGEST, Digest, digest
from ledger.fields import NameField, PublicKeyField, SignatureField, TimeField
from ledger.identity import InvalidKeyError, SigningKey, require_public_key, verify
from ledger.validators import Validator

CARD_DOMAIN: Final = "member-card"
CARD_KIND: Final = "foedus-member-card/1"
CARD_BYTES_MAX: Final = 4 << 20
PROOFS_MAX: Final = PARTICIPANTS_MAX + 2


class InvalidCardError(FaultsError):
    """A card cannot be used; `faults` names each reason."""


class KeyProof(Record):
    """The holder of a key agrees to what its card says."""

    public_key: PublicKeyField
    signature: SignatureField
    """In domain `member-card`, of chain zero, since there is no chain yet; over the encoded `Membership`."""


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


class _CardFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Literal["foedus-member-card/1"]
    membership: Membership
    proofs: tuple[KeyProof, ...]


def make_card(membership: Membership, keys: Sequence[SigningKey]) -> MemberCard:
    """Return the card of a membership.

    Args:
        membership: what is said.
        keys: every key that it names.

    Raises:
        InvalidCardError: a key is missing, or what is said contradicts itself.
    """
    message = encode(membership)
    ordered = sorted(keys, key=lambda key: key.public_key)
    proofs = tuple(KeyProof(key.public_key, key.sign(CARD_DOMAIN, ZERO_DIGEST, message)) for key in ordered)
    card = MemberCard(membership, proofs)
    require_sound_card(card)
    return card


def require_sound_card(card: MemberCard, *, source: str = "") -> None:
    """Check a card that may come from anybody.

    Raises:
        InvalidCardError: what it says contradicts itself, or a key has no proof that holds; all faults at once.
    """
    faults = _membership_faults(card.membership)
    if not faults:
        faults = _proof_faults(card)
    if faults:
        raise InvalidCardError(source or f"card of {card.name}", faults)


def load_card(path: Path) -> MemberCard:
    """Read a card from a file and check it.

    Raises:
        InvalidCardError: the file cannot be read, is no card, or see `require_sound_card`.
    """
    try:
        text = read_text(path, bytes_max=CARD_BYTES_MAX)
    except FaultsError as error:
        raise InvalidCardError(error.source, error.faults) from error
    return read_card(text, source=str(path))


def read_card(text: str, *, source: str) -> MemberCard:
    """Return the card in its JSON form, checked.

    Raises:
        InvalidCardError: see `load_card`.
    """
    faults: list[str] = []
    try:
        tree: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidCardError(source, [f"not JSON: {error}"]) from error
    content = read(tree, _CardFile, faults)
    if content is None or faults:
        raise InvalidCardError(source, faults)
    card = MemberCard(content.membership, content.proofs)
    try:
        decode(encode(card), MemberCard, bytes_max=CARD_BYTES_MAX)
    except CodecError as error:
        raise InvalidCardError(source, [str(error)]) from error
    require_sound_card(card, source=source)
    return card


def card_text(card: MemberCard) -> str:
    """Return the JSON form: the same for the same card."""
    tree = to_json(_CardFile(CARD_KIND, card.membership, card.proofs))
    return json.dumps(tree, indent=2, sort_keys=True) + "\n"


def cards_by_name(cards: Sequence[MemberCard]) -> Mapping[str, MemberCard]:
    """Return the cards by institution, ascending; the same card twice counts once.

    Raises:
        InvalidCardError: an institution has two different cards, or there are too many.
    """
    found: dict[str, MemberCard] = {}
    faults = [
        f"{card.name}: has two cards that differ; ask which one holds"
        for card in cards
        if found.setdefault(card.name, card) != card
    ]
    if len(found) > PARTICIPANTS_MAX:
        faults.append(f"at most {PARTICIPANTS_MAX} cards are possible, got {len(found)}")
    if faults:
        raise InvalidCardError("cards", faults)
    return dict(sorted(found.items()))


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


def _proof_faults(card: MemberCard) -> list[str]:
    said = card.membership
    faults = []
    for key in said.keys:
        try:
            require_public_key(key)
        except InvalidKeyError as error:
            faults.append(str(error))
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
        if not verify(proof.public_key, CARD_DOMAIN, ZERO_DIGEST, message, proof.signature)
    ]
    return faults
