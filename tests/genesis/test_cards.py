"""Cards, assembly and signatures: nobody brings a key he does not hold, and every member agrees or no chain begins."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from fl.records import Participant
from genesis.cards import InvalidCardError, MemberCard, Membership, card_text, load_card, make_card, read_card
from genesis.ceremony import assemble, card_faults, members_without_card
from genesis.document import InvalidGenesisError, document_text
from genesis.presets import heart_task
from genesis.signatures import (
    GenesisSignatures,
    InvalidSignaturesError,
    NotAMemberError,
    UnsignedGenesisError,
    load_signatures,
    merge,
    require_signed,
    sign_genesis,
    signatures_text,
    unsigned,
)
from ledger.digest import digest
from ledger.identity import PublicKey, SigningKey
from ledger.validators import Validator
from tests.genesis.consortium import GENESIS_MS

replace = msgspec.structs.replace
NAMES = ("cleveland", "hungary", "switzerland", "va-long-beach")


def key(name: str, use: str) -> SigningKey:
    return SigningKey(digest("test-card", name.encode(), use.encode()))


def membership(name: str, *, node: bool = True) -> Membership:
    people = [Participant(name, name, key(name, "trainer").public_key, ("trainer",))]
    if node:
        people.append(Participant(f"{name}-officer", name, key(name, "officer").public_key, ("officer",)))
    validator = Validator(
        name, key(name, "validator").public_key, key(name, "transport").public_key, f"{name}.example:7001"
    )
    return Membership(name, GENESIS_MS + len(name), validator if node else None, tuple(people))


def moved(said: Membership, address: str) -> Membership:
    assert said.validator is not None
    return replace(said, validator=replace(said.validator, address=address))


def with_voting_key(said: Membership, public_key: bytes) -> Membership:
    assert said.validator is not None
    return replace(said, validator=replace(said.validator, public_key=PublicKey(public_key)))


def keys_of(name: str) -> list[SigningKey]:
    return [key(name, use) for use in ("validator", "transport", "trainer", "officer")]


def card(name: str) -> MemberCard:
    return make_card(membership(name), keys_of(name))


def cards() -> list[MemberCard]:
    return [card(name) for name in NAMES]


def test_a_card_survives_its_way_on_paper(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(card_text(card("hungary")))
    assert load_card(tmp_path / "c.json") == card("hungary")


CHANGES: dict[str, Callable[[Membership], Membership]] = {
    "address": lambda said: moved(said, "elsewhere.example:7001"),
    "time": lambda said: replace(said, time_ms=said.time_ms + 1),
    "role": lambda said: replace(
        said, participants=(replace(said.participants[0], roles=("trainer", "officer")), *said.participants[1:])
    ),
    "participant left out": lambda said: replace(said, participants=said.participants[:1]),
    "key": lambda said: with_voting_key(said, key("mallory", "x").public_key),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_card_that_was_changed_on_its_way_is_refused(change: Callable[[Membership], Membership]) -> None:
    sent = card("hungary")
    came = MemberCard(change(sent.membership), sent.proofs)
    with pytest.raises(InvalidCardError):
        read_card(card_text(came), source="card")


def test_a_key_cannot_be_brought_by_who_does_not_hold_it() -> None:
    """Mallory copies hungary's trainer key from its card, and signs for it with a key of her own."""
    stolen = Participant("mallory", "mallory", key("hungary", "trainer").public_key, ("trainer",))
    said = Membership("mallory", GENESIS_MS, None, (stolen,))
    with pytest.raises(InvalidCardError, match="one proof"):
        make_card(said, [key("mallory", "x")])
    forged = make_card(
        replace(said, participants=(replace(stolen, public_key=key("m", "x").public_key),)), [key("m", "x")]
    )
    swapped = replace(forged.proofs[0], public_key=stolen.public_key)
    with pytest.raises(InvalidCardError, match="does not hold the key"):
        read_card(card_text(MemberCard(said, (swapped,))), source="card")


def test_a_proof_of_one_card_is_none_for_another() -> None:
    """The same key on a second card: its old proof does not cover what is new."""
    old = card("hungary")
    new = replace(old.membership, time_ms=old.membership.time_ms + 1)
    with pytest.raises(InvalidCardError, match="the card was changed"):
        read_card(card_text(MemberCard(new, old.proofs)), source="card")


@pytest.mark.parametrize(
    "said,hint",
    [
        (replace(membership("a"), name="b"), "its name is b's, got a"),
        (replace(membership("a"), participants=membership("b").participants), "speaks for a alone"),
        (replace(membership("a"), participants=membership("a").participants[::-1]), "ascending"),
        (replace(membership("a"), validator=None), "officers vote for a node"),
        (Membership("a", 0, None, ()), "brings neither"),
        (moved(membership("a"), "a:x"), "needs host:port"),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(said: Membership, hint: str) -> None:
    with pytest.raises(InvalidCardError, match=hint):
        make_card(said, keys_of(said.name))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "foedus-key/1"}'])
def test_what_is_no_card_is_a_typed_error(text: str) -> None:
    with pytest.raises(InvalidCardError):
        read_card(text, source="card")


def test_the_order_of_the_cards_does_not_matter() -> None:
    task = heart_task(NAMES)
    texts = {
        document_text(assemble(list(order), chain_name="c", tasks=[task])) for order in itertools.permutations(cards())
    }
    assert len(texts) == 1


def test_the_chain_begins_at_the_time_of_the_youngest_card() -> None:
    assert assemble(cards(), chain_name="c").time_ms == max(one.membership.time_ms for one in cards())


def test_every_node_and_participant_of_the_cards_is_in_the_document() -> None:
    guest = make_card(membership("guest", node=False), [key("guest", "trainer")])
    document = assemble([*cards(), guest], chain_name="c")
    assert [member.name for member in document.validators.members] == sorted(NAMES)
    names = [one.name for one in document.learning.participants]
    assert names == sorted([*NAMES, *(f"{name}-officer" for name in NAMES), "guest"])


def test_the_same_card_twice_is_no_fault_and_two_cards_of_one_are() -> None:
    assert assemble([*cards(), card("hungary")], chain_name="c") == assemble(cards(), chain_name="c")
    younger = make_card(replace(membership("hungary"), time_ms=GENESIS_MS + 99), keys_of("hungary"))
    with pytest.raises(InvalidCardError, match="two cards"):
        assemble([*cards(), younger], chain_name="c")


def test_two_institutions_cannot_bring_the_same_key() -> None:
    shared = Participant("twin", "twin", key("hungary", "trainer").public_key, ("trainer",))
    twin = make_card(Membership("twin", GENESIS_MS, None, (shared,)), [key("hungary", "trainer")])
    with pytest.raises(InvalidGenesisError, match="used 2 times"):
        assemble([*cards(), twin], chain_name="c")


def test_no_cards_make_no_document() -> None:
    with pytest.raises(InvalidGenesisError, match="got none"):
        assemble([], chain_name="c")


def test_a_document_is_compared_with_the_cards_that_are_there() -> None:
    document = assemble(cards(), chain_name="c")
    assert card_faults(document, cards()) == []
    assert members_without_card(document, cards()[:2]) == NAMES[2:]
    elsewhere = make_card(moved(membership("hungary"), "h.example:1"), keys_of("hungary"))
    assert card_faults(document, [elsewhere]) == [
        "hungary: the document has another node, keys or address than its card"
    ]


def test_a_document_is_signed_when_every_member_has_signed() -> None:
    document = assemble(cards(), chain_name="c")
    parts = [sign_genesis(document, key(name, "validator")) for name in NAMES]
    assert unsigned(document, merge(document, parts[1:])) == (NAMES[0],)
    with pytest.raises(UnsignedGenesisError, match="1 of 4 members have not signed"):
        require_signed(document, merge(document, parts[1:]))
    require_signed(document, merge(document, parts[::-1]))
    assert merge(document, parts) == merge(document, parts[::-1])


def test_signatures_survive_their_way_on_paper(tmp_path: Path) -> None:
    signed = sign_genesis(assemble(cards(), chain_name="c"), key("hungary", "validator"))
    (tmp_path / "s.json").write_text(signatures_text(signed))
    assert load_signatures(tmp_path / "s.json") == signed


def test_a_signature_counts_for_its_document_and_its_member_alone() -> None:
    document, other = assemble(cards(), chain_name="c"), assemble(cards(), chain_name="d")
    signed = sign_genesis(other, key("hungary", "validator"))
    with pytest.raises(InvalidSignaturesError, match="signs chain"):
        merge(document, [signed])
    with pytest.raises(InvalidSignaturesError, match="not by this member's key"):
        merge(document, [GenesisSignatures(document.chain_id, signed.signatures)])
    genuine = sign_genesis(document, key("hungary", "validator")).signatures[0]
    with pytest.raises(InvalidSignaturesError, match="cleveland: the signature is not"):
        merge(document, [GenesisSignatures(document.chain_id, (replace(genuine, validator="cleveland"),))])
    with pytest.raises(InvalidSignaturesError, match="no member"):
        merge(document, [GenesisSignatures(document.chain_id, (replace(genuine, validator="mallory"),))])


def test_only_members_sign() -> None:
    document = assemble(cards(), chain_name="c")
    with pytest.raises(NotAMemberError, match="validator key"):
        sign_genesis(document, key("hungary", "transport"))


def test_a_card_names_unknown_fields_with_the_nearest_known_one() -> None:
    tree = json.loads(card_text(card("hungary")))
    tree["membership"]["adress"] = ""
    tree["membership"]["participant"] = []
    with pytest.raises(InvalidCardError, match=r"did you mean participants\?"):
        read_card(json.dumps(tree), source="card")
