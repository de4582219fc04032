"""Dealt keys: who is guilty of a complaint, what is deleted, and the randomness beside another library's."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace

import numpy as np
import pytest
from nacl.public import PrivateKey, SealedBox

from fl.aggregators import RuleSpec
from fl.sealed.committee import Committee
from fl.sealed.field import FIELD, MERSENNE
from fl.sealed.keys import (
    SLOTS_MAX,
    ForgottenSlotError,
    KeyRing,
    SealedKeyError,
    box_keys,
    deal_keys,
    opened_by_receiver,
    opened_by_seed,
    seal,
)
from fl.sealed.messages import Answer, Blame, Complaint, Dealing, Products
from fl.sealed.pads import Stream, mask_shares, pad_share, random_elements, whole_pad
from fl.sealed.participant import Participant
from fl.sealed.polynomial import open_shares
from fl.sealed.setup import Setup
from fl.sealed.stock import Slot
from fl.sealed.validator import Validator
from ledger.digest import digest
from tests.fl.sealed.consortium import play
from tests.fl.sealed.test_rounds import case_of

FOUR = Committee(4)


def entropy_of(committee: Committee, seed: int) -> list[bytes]:
    dice = random.Random(seed)
    return [dice.randbytes(32) for _ in range(len(committee.sets) + committee.n)]


def test_a_box_is_what_libsodium_seals_and_opens() -> None:
    receiver = PrivateKey(bytes(range(32)))
    public = bytes(receiver.public_key)

    box = seal(b"keys", public, b"s" * 32)

    assert SealedBox(receiver).decrypt(box) == b"keys"
    assert opened_by_receiver(box, public, bytes(receiver)) == b"keys"
    assert opened_by_seed(box, public, b"s" * 32) == b"keys"
    assert opened_by_seed(box, public, b"t" * 32) is None
    assert opened_by_seed(box[:-1], public, b"s" * 32) is None
    assert opened_by_receiver(box[:-1], public, bytes(receiver)) is None


def test_keys_of_the_wrong_length_and_public_keys_nobody_has_are_refused() -> None:
    with pytest.raises(SealedKeyError, match="got 31"):
        box_keys(bytes(31))
    with pytest.raises(SealedKeyError, match="8 times 32"):
        deal_keys(FOUR, b"e", 0, [bytes(32)] * 4, [bytes(32)] * 7)
    with pytest.raises(SealedKeyError, match="nothing can be sealed"):
        seal(b"keys", bytes(32), b"s" * 32)


def set_up(participant: Participant, validators: list[Validator], dealing: Dealing) -> Setup:
    setup = Setup(FOUR, b"e", [one.box_key for one in validators], 1)
    assert setup.handle(dealing) is None
    setup.close_dealing()
    return setup


@pytest.fixture
def cast() -> tuple[Participant, list[Validator]]:
    validators = [Validator(FOUR, b"e", seat, bytes([seat]) * 32) for seat in range(4)]
    return Participant(FOUR, b"e", 0, [one.box_key for one in validators], entropy_of(FOUR, 1)), validators


def test_a_dealer_of_a_wrong_key_is_out_and_the_complainer_is_not_named(
    cast: tuple[Participant, list[Validator]],
) -> None:
    """The hash commits to another key than the box holds: the seed shows it."""
    participant, validators = cast
    hashes = list(participant.dealing.deal.hashes)
    hashes[0] = digest("sealed-key", b"another")
    dealing = replace(participant.dealing, deal=replace(participant.dealing.deal, hashes=tuple(hashes)))
    setup = set_up(participant, validators, dealing)

    complaint = validators[0].receive(0, dealing.deal)

    assert complaint == Complaint(0, 0)
    assert setup.handle(complaint) is None
    assert setup.handle(participant.answer(0)) is None
    setup.close()
    assert setup.blamed == [Blame("participant", 0, "false_deal")]
    assert setup.dealers == ()


def test_a_dealer_whose_box_opens_with_its_seed_alone_is_out(cast: tuple[Participant, list[Validator]]) -> None:
    """The box names another ephemeral key than it was sealed with, so that only its dealer can open it."""
    participant, validators = cast
    boxes = list(participant.dealing.deal.boxes)
    boxes[1] = box_keys(b"j" * 32)[0] + boxes[1][32:]
    dealing = replace(participant.dealing, deal=replace(participant.dealing.deal, boxes=tuple(boxes)))
    setup = set_up(participant, validators, dealing)

    assert validators[1].receive(0, dealing.deal) == Complaint(1, 0)
    assert setup.handle(Complaint(1, 0)) is None
    assert setup.handle(participant.answer(1)) is None
    assert setup.blamed == [Blame("participant", 0, "false_deal")]


def test_a_false_complaint_names_the_complainer_and_keeps_the_dealer(
    cast: tuple[Participant, list[Validator]],
) -> None:
    participant, validators = cast
    setup = set_up(participant, validators, participant.dealing)

    assert validators[2].receive(0, participant.dealing.deal) is None
    assert setup.handle(Complaint(2, 0)) is None
    assert setup.open_complaints == ((0, 2),)
    assert setup.handle(Answer(0, 2, bytes(31))) == "malformed"
    assert setup.handle(participant.answer(2)) is None
    setup.close()
    assert setup.blamed == [Blame("validator", 2, "false_complaint")]
    assert setup.dealers == (0,)


def test_a_dealer_who_does_not_answer_or_deals_twice_is_out(cast: tuple[Participant, list[Validator]]) -> None:
    participant, validators = cast
    setup = set_up(participant, validators, participant.dealing)
    assert setup.handle(Complaint(2, 0)) is None
    assert setup.handle(Complaint(2, 0)) == "repeated"
    setup.close()
    assert setup.blamed == [Blame("participant", 0, "false_deal")]

    twice = Setup(FOUR, b"e", [one.box_key for one in validators], 1)
    other = Participant(FOUR, b"e", 0, [one.box_key for one in validators], entropy_of(FOUR, 2))
    assert twice.handle(participant.dealing) is None
    assert twice.handle(participant.dealing) == "repeated"
    assert twice.handle(other.dealing) == "repeated"
    assert twice.blamed == [Blame("participant", 0, "equivocation")]
    assert twice.handle(Dealing(7, participant.dealing.deal)) == "unknown_participant"


def test_a_used_slot_has_no_subkey_any_more() -> None:
    ring = KeyRing({(0, 0): bytes(32)})
    later = ring.subkey(0, 0, 2)

    ring.forget(1)

    assert ring.subkey(0, 0, 2) == later
    with pytest.raises(ForgottenSlotError, match="slot 1 is asked for"):
        ring.subkey(0, 0, 1)
    with pytest.raises(ForgottenSlotError):
        ring.subkey(0, 0, 2 + SLOTS_MAX)


def test_the_disks_of_all_validators_hold_nothing_of_a_slot_that_is_over() -> None:
    """Neither its keys, nor what they were made from, nor any pad; what they do hold opens later slots alone."""
    played = play(case_of(11, 4, m_max=5))
    slot = played.slots[-1]
    gone = [row.tobytes() for validator in played.validators for row in validator._of(slot).pads]
    for validator in played.validators:
        keys = list(validator._ring._keys.values())
        for _ in range(slot.number + 1):
            gone += [*keys, *(digest("sealed-subkey", key) for key in keys)]
            keys = [digest("sealed-ratchet", key) for key in keys]
    before = pickle.dumps(played.validators)
    assert sum(secret in before for secret in gone) >= 4 * 5 * (1 + 3)  # a pad and three keys of each dealer

    for validator in played.validators:
        validator.forget(slot.number)

    dump = pickle.dumps(played.validators)
    assert [secret for secret in gone if secret in dump] == []
    assert all(validator._box_secret == b"" and validator._received == {} for validator in played.validators)
    with pytest.raises(ForgottenSlotError):
        played.validators[0]._of(slot)


def test_a_pad_hides_one_update_and_no_second() -> None:
    participant = Participant(
        FOUR, b"e", 0, [box_keys(bytes([seat]) * 32)[0] for seat in range(4)], entropy_of(FOUR, 3)
    )
    participant.hide(0, np.zeros(5, np.uint64))

    with pytest.raises(ForgottenSlotError):
        participant.hide(0, np.ones(5, np.uint64))


@pytest.mark.parametrize("n", [4, 7])
def test_shares_of_a_pad_lie_on_a_polynomial_whose_value_at_0_is_the_pad(n: int) -> None:
    committee = Committee(n)
    keys = {place: digest("sealed-subkey", bytes([place])) for place in range(len(committee.sets))}
    shares = np.empty((n, 70_000), np.uint64)
    for seat, row in enumerate(shares):
        pad_share(committee, seat, keys, row)
    pad = whole_pad(committee, keys, 70_000)

    for place in (0, 32_767, 32_768, 69_999):
        opened = open_shares(FIELD, {seat + 1: int(shares[seat][place]) for seat in range(n)}, committee.f, 0)
        assert opened is not None
        assert (opened.secret, opened.wrong) == (int(pad[place]), ())
    for dealt in zip(*(mask_shares(committee, seat, keys, 3) for seat in range(n)), strict=True):
        low = open_shares(FIELD, {seat + 1: share for seat, (share, _) in enumerate(dealt)}, committee.f, 0)
        high = open_shares(FIELD, {seat + 1: share for seat, (_, share) in enumerate(dealt)}, 2 * committee.f, 0)
        assert low is not None
        assert high is not None
        assert low.secret == high.secret
        assert high.coefficients[-1] != 0


def test_a_word_that_is_no_element_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in 2^61 words: the stream is made to begin with one."""
    stream = Stream(FIELD, bytes(32), b"pad")

    class Ones:
        def update_into(self, data: memoryview, buffer: memoryview) -> None:
            buffer[: len(data)] = b"\xff" * len(data)

    monkeypatch.setattr(stream, "_encryptor", Ones())
    elements = stream.next(4).tolist()

    assert len(set(elements)) == 4
    assert all(element < MERSENNE for element in elements)


def test_the_randomness_is_that_of_another_library() -> None:
    """MPyC's pseudorandom sharings and sharings of 0, given our streams as its random functions."""
    thresha = pytest.importorskip("mpyc.thresha", reason="MPyC is not installed: pip install -e '.[dev]'")
    finfields = pytest.importorskip("mpyc.finfields", reason="MPyC is not installed: pip install -e '.[dev]'")
    field, n = finfields.GF(MERSENNE), 7
    committee = Committee(n)
    keys = {place: digest("sealed-subkey", bytes([place])) for place in range(len(committee.sets))}
    each = committee.f + 1
    for seat in range(n):
        places = committee.sets_of(seat)
        drawn = {place: random_elements(FIELD, keys[place], b"mask", 2 * each) for place in places}

        def secret(values: list[int], count: int) -> list[int]:
            return [values[partner * each] for partner in range(count)]

        def zeros(values: list[int], count: int) -> list[int]:
            """Its first number belongs to the highest power."""
            return [part for k in range(count // committee.f) for part in values[k * each + 1 : (k + 1) * each][::-1]]

        sets = {committee.sets[place]: values for place, values in drawn.items()}
        low = thresha.pseudorandom_share(
            field, n, seat, {m: lambda _, count, v=v: secret(v, count) for m, v in sets.items()}, b"", 2
        )
        zero = thresha.pseudorandom_share_zero(
            field, n, seat, {m: lambda _, count, v=v: zeros(v, count) for m, v in sets.items()}, b"", 2
        )
        ours = mask_shares(committee, seat, keys, 2)
        assert [int(share) % MERSENNE for share in low] == [share for share, _ in ours]
        assert [int(a + b) % MERSENNE for a, b in zip(low, zero, strict=True)] == [share for _, share in ours]


def test_a_slot_with_a_silent_validator_waits_and_says_for_whom() -> None:
    """Two f + 1 points always fit: going on with them would believe a liar."""
    slot = Slot(FOUR, (0, 1, 2), 0, 5)
    for seat in (0, 1, 3):
        assert slot.handle(Products(seat, (seat,) * 6)) is None

    assert slot.phase == "products"
    assert slot.waiting_for == (2,)


def test_a_liar_among_the_first_to_reveal_a_disputed_slot_is_the_one_that_is_named() -> None:
    validators = [Validator(FOUR, b"e", seat, bytes([seat]) * 32) for seat in range(4)]
    keys = [one.box_key for one in validators]
    for seat in range(3):
        dealt = Participant(FOUR, b"e", seat, keys, entropy_of(FOUR, seat)).dealing
        assert [one.receive(seat, dealt.deal) for one in validators] == [None] * 4
    for one in validators:
        one.finish_setup(range(3))
    slot = Slot(FOUR, range(3), 0, 5)
    posts = [one.products(slot) for one in validators]
    posts[3] = replace(posts[3], values=(posts[3].values[0] ^ 1, *posts[3].values[1:]))
    assert [slot.handle(post) for post in posts] == [None] * 4
    assert slot.phase == "dispute"

    right = [one.reveal(slot) for one in validators]
    wrong = replace(
        right[3], subkeys=tuple(tuple(digest("sealed-subkey", key) for key in line) for line in right[3].subkeys)
    )
    for reveal in (right[0], wrong, right[1], right[2]):
        assert slot.handle(reveal) is None

    assert slot.phase == "burnt"
    assert set(slot.blamed) == {Blame("validator", 3, "false_reveal"), Blame("validator", 3, "false_product")}
    assert slot.handle(right[3]) == "repeated"


def test_rules_are_drawn_for_every_case() -> None:
    assert {case_of(seed, 4).rule.rule for seed in range(200)} > {RuleSpec("mda/1", 1).rule, "dnc/1", "caf/1"}
