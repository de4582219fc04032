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
from typing import Final, Literal

import msgspec

from fl.membership.cards import CARD_BYTES_MAX, CARD_DOMAIN, KeyProof, MemberCard, Membership, card_faults, prove_keys
from fl.records import PARTICIPANTS_MAX
from genesis.files import read_text
from genesis.reading import FaultsError, read, to_json
from ledger.codec import CodecError, decode, encode
from ledger.digest import ZERO_DIGEST, Digest
from ledger.identity import SigningKey

__all__ = [
    "CARD_BYTES_MAX",
    "CARD_KIND",
    "InvalidCardError",
    "KeyProof",
    "MemberCard",
    "Membership",
    "card_text",
    "cards_by_name",
    "load_card",
    "make_card",
    "read_card",
    "require_sound_card",
]

CARD_KIND: Final = "foedus-member-card/1"


class InvalidCardError(FaultsError):
    """A card cannot be used; `faults` names each reason."""


class _CardFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Literal["foedus-member-card/1"]
    membership: Membership
    proofs: tuple[KeyProof, ...]


def make_card(membership: Membership, keys: Sequence[SigningKey], *, chain_id: Digest = ZERO_DIGEST) -> MemberCard:
    """Return the card of a membership.

    Args:
        membership: what is said.
        keys: every key that it names.
        chain_id: of the chain that it asks to join; zero for one that has not begun.

    Raises:
        InvalidCardError: a key is missing, or what is said contradicts itself.
    """
    card = MemberCard(membership, prove_keys(CARD_DOMAIN, chain_id, encode(membership), keys))
    require_sound_card(card, chain_id=chain_id)
    return card


def require_sound_card(card: MemberCard, *, chain_id: Digest = ZERO_DIGEST, source: str = "") -> None:
    """Check a card that may come from anybody.

    Args:
        card: the card.
        chain_id: of the chain that it asks to join; zero for a chain that has not begun.
        source: where it came from, for the message.

    Raises:
        InvalidCardError: what it says contradicts itself, or a key has no proof that holds; all faults at once.
    """
    faults = card_faults(card, chain_id)
    if faults:
        raise InvalidCardError(source or f"card of {card.name}", faults)


def load_card(path: Path, *, chain_id: Digest = ZERO_DIGEST) -> MemberCard:
    """Read a card from a file and check it, as a card for the chain with this id.

    Raises:
        InvalidCardError: the file cannot be read, is no card, or see `require_sound_card`.
    """
    try:
        text = read_text(path, bytes_max=CARD_BYTES_MAX)
    except FaultsError as error:
        raise InvalidCardError(error.source, error.faults) from error
    return read_card(text, source=str(path), chain_id=chain_id)


def read_card(text: str, *, source: str, chain_id: Digest = ZERO_DIGEST) -> MemberCard:
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
    require_sound_card(card, chain_id=chain_id, source=source)
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
