"""State proofs, and whoever wants to prove what is not so."""

from __future__ import annotations

from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.codec import CodecError, decode, encode
from ledger.digest import Digest
from ledger.state_map import OtherLeaf, StateMap, StateProof, verify_state
from ledger.state_proof import STATE_PROOF_BYTES_MAX, verify_position
from ledger.state_tree import (
    DEPTH_MAX,
    Inner,
    inner_digest,
    leaf_digest,
    make_leaf,
)
from tests.ledger.state_reference import (
    CHANGES,
    CONTENTS,
    KEYS,
    VECTORS,
    Vectors,
    flip,
    position_of,
    unhex,
)


@given(CONTENTS, KEYS)
def test_presence_and_absence_can_be_proven(content: dict[bytes, bytes], key: bytes) -> None:
    state, value = StateMap.build(content.items()), content.get(key)
    proof = state.prove(key)

    assert verify_state(state.root, key, value, proof)
    assert decode(encode(proof), StateProof, bytes_max=STATE_PROOF_BYTES_MAX) == proof
    for wrong in {None, b"", b"\0", b"wrong", (value or b"") + b"x"} - {value}:
        assert not verify_state(state.root, key, wrong, proof)


@given(CONTENTS, KEYS, KEYS)
def test_a_proof_speaks_of_no_other_key_than_its_own(content: dict[bytes, bytes], key: bytes, asked: bytes) -> None:
    """A proof may also show that another key is absent, which is true then, but never a falsehood."""
    state = StateMap.build(content.items())
    proof = state.prove(key)
    for value in {None, *content.values()}:
        if verify_state(state.root, asked, value, proof):
            assert content.get(asked) == value
            assert proof == state.prove(asked)


@given(CONTENTS, CHANGES, KEYS)
def test_a_proof_outlives_no_change_of_its_map(
    content: dict[bytes, bytes], changes: dict[bytes, bytes | None], key: bytes
) -> None:
    old = StateMap.build(content.items())
    new = old.update(changes)

    assert verify_state(new.root, key, content.get(key), old.prove(key)) == (old.root == new.root)


def mutations(proof: StateProof, bit: int) -> list[StateProof]:
    """Return every proof that differs from `proof` in one way that an attacker may try."""
    siblings, other = proof.siblings, proof.other
    ways: list[tuple[bytes, ...]] = [
        *((*siblings[:place], flip(item, bit), *siblings[place + 1 :]) for place, item in enumerate(siblings)),
        *((*siblings[:place], bytes(32), *siblings[place + 1 :]) for place, item in enumerate(siblings) if any(item)),
        *((*siblings[:place], *siblings[place + 1 :]) for place in range(len(siblings))),
        *((*siblings[:place], bytes(32), *siblings[place:]) for place in range(len(siblings) + 1)),
        *((*siblings[:place], item, *siblings[place:]) for place, item in enumerate(siblings)),
        *((*siblings[:place], item[:-1], *siblings[place + 1 :]) for place, item in enumerate(siblings)),
        *((*siblings[:place], item + b"\0", *siblings[place + 1 :]) for place, item in enumerate(siblings)),
        (*siblings, *(bytes(32),) * (DEPTH_MAX + 1 - len(siblings))),
        *([siblings[::-1]] if siblings != siblings[::-1] else []),
    ]
    others = [OtherLeaf(flip(bytes(32), bit), Digest(bytes(32)))]
    if other is not None:
        others += [
            OtherLeaf(flip(other.position, bit), other.value_digest),
            OtherLeaf(other.position, flip(other.value_digest, bit)),
            OtherLeaf(other.value_digest, other.position),
            OtherLeaf(Digest(other.position[:-1]), other.value_digest),
            OtherLeaf(other.position, Digest(other.value_digest + b"\0")),
        ]
    return [
        *(StateProof(way, other) for way in ways),  # type: ignore[arg-type]
        *(StateProof(siblings, changed_other) for changed_other in others),
        *([StateProof(siblings, None)] if other is not None else []),
    ]


@given(CONTENTS, KEYS, st.integers(0, 255))
def test_no_changed_proof_verifies(content: dict[bytes, bytes], key: bytes, bit: int) -> None:
    state = StateMap.build(content.items())
    proof = state.prove(key)
    for mutation in mutations(proof, bit):
        assert mutation != proof
        for value in {None, content.get(key), b"wrong"}:
            assert not verify_state(state.root, key, value, mutation)
    assert not verify_state(flip(state.root, bit), key, content.get(key), proof)
    assert not verify_state(state.root[:-1], key, content.get(key), proof)


def test_a_present_key_is_not_absent_by_its_own_leaf() -> None:
    """The leaf that an absence proof names must be another's."""
    state = StateMap.build([(b"a", b"1"), (b"b", b"2"), (b"c", b"3")])
    own = OtherLeaf(Digest(sha256(b"a").digest()), Digest(sha256(b"1").digest()))

    assert not verify_state(state.root, b"a", None, StateProof(state.prove(b"a").siblings, own))


def test_a_leaf_elsewhere_in_the_map_does_not_prove_absence() -> None:
    """With the other leaf's own way the root comes out right, but the key does not go that way."""
    content = {b"key/%d" % number: b"1" for number in range(20)}
    state = StateMap.build(content.items())
    for key in content:
        leaf = OtherLeaf(Digest(sha256(key).digest()), Digest(sha256(b"1").digest()))
        elsewhere = StateProof(state.prove(key).siblings, leaf)
        for asked in content:
            assert not verify_state(state.root, asked, None, elsewhere)


def test_neither_kind_of_node_passes_for_the_other() -> None:
    top = StateMap.build((b"key/%d" % number, b"1") for number in range(8))._top
    assert isinstance(top, Inner)

    children_as_leaf = (top.left.digest, top.right.digest)
    assert not verify_position(top.digest, *children_as_leaf, StateProof((), None))
    asked = flip(top.left.digest, 0)
    assert not verify_position(top.digest, asked, None, StateProof((), OtherLeaf(*children_as_leaf)))

    leaf = make_leaf(0, b"", b"1")
    assert not verify_position(leaf.digest, bytes(32), None, StateProof((Digest(sha256(b"1").digest()),), None))


def test_the_zero_root_is_no_way_s_end_but_its_own() -> None:
    empty = StateProof((), None)

    assert verify_state(bytes(32), b"any", None, empty)
    assert not verify_state(bytes(32), b"any", b"", empty)
    assert not verify_state(bytes(32), b"any", None, StateProof((Digest(bytes(32)),), None))


def test_the_bytes_of_a_leaf_cannot_be_cut_elsewhere_into_another_leaf() -> None:
    """A leaf hashes 64 bytes: cut after 31 of them, the key's own leaf would pass for another's and prove absence."""
    state = StateMap.build([(b"key", b"value")])
    position, value_digest = sha256(b"key").digest(), sha256(b"value").digest()
    for cut in (0, 31, 33, 64):
        content = position + value_digest
        other = OtherLeaf(Digest(content[:cut]), Digest(content[cut:]))
        assert leaf_digest(other.position, other.value_digest) == state.root
        assert not verify_state(state.root, b"key", None, StateProof((), other))


# A forged root is one that no map has, since its maker hashed whatever suited him. A proof must not lead to it.


def test_a_leaf_that_was_put_where_it_does_not_belong_proves_no_absence() -> None:
    asked, sibling = bytes(32), Digest(sha256(b"").digest())
    for stray in (1 << 255, (1 << 256) - 1):
        other = OtherLeaf(Digest(stray.to_bytes(32, "big")), sibling)
        forged = inner_digest(leaf_digest(other.position, other.value_digest), sibling)
        assert not verify_position(forged, asked, None, StateProof((sibling,), other))


def test_a_lone_leaf_that_did_not_move_up_proves_nothing() -> None:
    empty, value_digest = Digest(bytes(32)), sha256(b"value").digest()
    position = position_of(b"key").to_bytes(32, "big")
    leaf = leaf_digest(position, value_digest)
    forged = inner_digest(empty, leaf) if position[0] & 0x80 else inner_digest(leaf, empty)

    assert not verify_state(forged, b"key", b"value", StateProof((empty,), None))


@pytest.mark.parametrize("item", [b"", bytes(31), b"x" * 33])
def test_a_part_of_another_size_is_refused_even_when_it_leads_to_the_root(item: bytes) -> None:
    asked, wrong, fine = bytes(32), Digest(item), Digest(sha256(b"").digest())

    forged = inner_digest(leaf_digest(asked, fine), wrong)
    assert not verify_position(forged, asked, fine, StateProof((wrong,), None))
    for other in (OtherLeaf(wrong, fine), OtherLeaf(fine, wrong)):
        forged = leaf_digest(other.position, other.value_digest)
        assert not verify_position(forged, asked, None, StateProof((), other))


def test_a_proof_longer_than_a_position_is_neither_verified_nor_decoded() -> None:
    proof = StateProof((Digest(sha256(b"").digest()),) * (DEPTH_MAX + 1), None)

    assert not verify_state(bytes(32), b"key", None, proof)
    with pytest.raises(CodecError, match="length <= 256"):
        decode(encode(proof), StateProof, bytes_max=100_000)


def test_the_longest_proof_fits_its_bound() -> None:
    item = Digest(sha256(b"").digest())
    longest = StateProof((item,) * DEPTH_MAX, OtherLeaf(item, item))

    assert decode(encode(longest), StateProof, bytes_max=STATE_PROOF_BYTES_MAX) == longest


@pytest.mark.parametrize("fields", [((bytes(31),), None), ((), (bytes(32), bytes(33))), ((), (bytes(32),)), ((),)])
def test_a_malformed_proof_is_not_decoded(fields: tuple[object, ...]) -> None:
    with pytest.raises(CodecError):
        decode(encode(fields), StateProof, bytes_max=STATE_PROOF_BYTES_MAX)


def test_the_vectors_to_be_refused_are_refused() -> None:
    known = msgspec.json.decode((VECTORS / "updates.json").read_bytes(), type=Vectors)

    assert known.refused
    for vector in known.refused:
        try:
            proof = decode(bytes.fromhex(vector.encoded), StateProof, bytes_max=STATE_PROOF_BYTES_MAX)
        except CodecError:
            continue
        root, key = bytes.fromhex(vector.root), bytes.fromhex(vector.key)
        assert not verify_state(root, key, unhex(vector.value), proof), vector.why
