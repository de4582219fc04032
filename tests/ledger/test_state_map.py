"""The state map against a dict, a naive reading of its tree, and whoever wants to prove what is not so."""

from __future__ import annotations

import doctest
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import state_map
from ledger.codec import CodecError, decode, encode
from ledger.digest import Digest
from ledger.state_map import DuplicatePositionError, OtherLeaf, StateMap, StateProof, verify_state
from ledger.state_proof import STATE_PROOF_BYTES_MAX, verify_position
from ledger.state_tree import DEPTH_MAX, EMPTY, Batch, Inner, Leaf, Node, descend, find, make_leaf

VECTORS: Final = Path(__file__).parents[1] / "vectors" / "state_map"

KEYS: Final = st.integers(0, 40).map(lambda number: b"key/%d" % number)
CHANGES: Final = st.dictionaries(KEYS, st.none() | st.binary(max_size=3), max_size=15)
CONTENTS: Final = st.dictionaries(KEYS, st.binary(max_size=3), max_size=30)


class ProofVector(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    value: str | None
    siblings: list[str]
    other: list[str] | None
    encoded: str


class StepVector(msgspec.Struct, forbid_unknown_fields=True):
    changes: dict[str, str | None]
    count: int
    root: str
    proofs: list[ProofVector]


class RefusedVector(msgspec.Struct, forbid_unknown_fields=True):
    why: str
    root: str
    key: str
    value: str | None
    encoded: str


class Vectors(msgspec.Struct, forbid_unknown_fields=True):
    description: str
    steps: list[StepVector]
    refused: list[RefusedVector]


class TreeLeafVector(msgspec.Struct, forbid_unknown_fields=True):
    position: str
    value: str


class TreeVector(msgspec.Struct, forbid_unknown_fields=True):
    what: str
    leaves: list[TreeLeafVector]
    root: str


class TreeVectors(msgspec.Struct, forbid_unknown_fields=True):
    description: str
    trees: list[TreeVector]


def unhex(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def flip(data: bytes, bit: int) -> Digest:
    return Digest((int.from_bytes(data, "big") ^ 1 << bit).to_bytes(len(data), "big"))


def position_of(key: bytes) -> int:
    return int.from_bytes(sha256(key).digest(), "big")


def root_as_defined(leaves: Mapping[int, bytes], depth: int = 0) -> bytes:
    """Return the root of position -> value by the definition in `ledger.state_tree`, word for word."""
    if not leaves:
        return bytes(32)
    if len(leaves) == 1:
        ((position, value),) = leaves.items()
        return sha256(b"\x00" + position.to_bytes(32, "big") + sha256(value).digest()).digest()
    bit = 1 << (255 - depth)
    left = {position: value for position, value in leaves.items() if not position & bit}
    right = {position: value for position, value in leaves.items() if position & bit}
    return sha256(b"\x01" + root_as_defined(left, depth + 1) + root_as_defined(right, depth + 1)).digest()


def root_of(content: Mapping[bytes, bytes]) -> bytes:
    return root_as_defined({position_of(key): value for key, value in content.items()})


def changed(content: Mapping[bytes, bytes], changes: Mapping[bytes, bytes | None]) -> dict[bytes, bytes]:
    after = dict(content)
    for key, value in changes.items():
        if value is None:
            after.pop(key, None)
        else:
            after[key] = value
    return after


def tree_of(leaves: Mapping[int, bytes]) -> Node:
    return Batch((position, make_leaf(position, b"", value)) for position, value in leaves.items()).apply(EMPTY)


def prove_position(top: Node, position: int) -> StateProof:
    end, siblings = descend(top, position)
    other = None
    if isinstance(end, Leaf) and end.position != position:
        other = OtherLeaf(Digest(end.position.to_bytes(32, "big")), Digest(sha256(end.value).digest()))
    return StateProof(tuple(siblings), other)


def inner_nodes(top: Node) -> dict[int, Inner]:
    """Return every inner node under `top` by the identity of its object."""
    found: dict[int, Inner] = {}
    waiting = [top]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Inner):
            found[id(node)] = node
            waiting += [node.left, node.right]
    return found


# --- a map -----------------------------------------------------------------------------------------------------------


@given(st.lists(CHANGES, max_size=8))
def test_a_map_is_a_dict_with_a_root(batches: list[dict[bytes, bytes | None]]) -> None:
    state, model = StateMap.empty(), dict[bytes, bytes]()
    for changes in batches:
        before, before_content = state, model
        state, model = state.update(changes), changed(model, changes)

        assert state.root == root_of(model)
        assert dict(state.items()) == model
        assert len(state) == len(model)
        for key in changes:
            assert state.get(key) == model.get(key)
            assert (key in state) == (key in model)
        assert dict(before.items()) == before_content
        assert before.root == root_of(before_content)


@given(CONTENTS, CONTENTS, st.randoms(use_true_random=False))
def test_the_root_does_not_tell_the_history(
    content: dict[bytes, bytes], detour: dict[bytes, bytes], random: Random
) -> None:
    """Built at once, entry by entry in any order, or by way of other content: the same root."""
    entries = list(content.items())
    random.shuffle(entries)
    one_by_one = StateMap.empty()
    for key, value in entries:
        one_by_one = one_by_one.update({key: value})
    back = StateMap.build(detour.items()).update({**dict.fromkeys(detour), **content})

    assert StateMap.build(entries).root == one_by_one.root == back.root == root_of(content)
    assert list(StateMap.build(entries).items()) == list(one_by_one.items()) == list(back.items())


@given(CONTENTS, CONTENTS)
def test_different_content_has_a_different_root(one: dict[bytes, bytes], other: dict[bytes, bytes]) -> None:
    assert (StateMap.build(one.items()).root == StateMap.build(other.items()).root) == (one == other)


def test_an_empty_map_has_the_zero_root() -> None:
    assert StateMap.empty().root == StateMap.build([]).root == bytes(32)
    assert len(StateMap.empty()) == 0
    assert list(StateMap.empty().items()) == []
    assert StateMap.build([(b"a", b"1")]).update({b"a": None}).root == bytes(32)


def test_an_empty_value_is_not_absence_and_an_empty_key_is_a_key() -> None:
    state = StateMap.build([(b"", b"")])

    assert state.get(b"") == b""
    assert len(state) == 1
    assert verify_state(state.root, b"", b"", state.prove(b""))
    assert not verify_state(state.root, b"", None, state.prove(b""))


def test_entries_come_in_order_of_position() -> None:
    keys = [b"key/%d" % number for number in range(500)]
    state = StateMap.build((key, b"") for key in keys)

    assert [key for key, _ in state.items()] == sorted(keys, key=position_of)


def test_a_key_named_twice_is_refused() -> None:
    with pytest.raises(DuplicatePositionError, match=f"{position_of(b'a'):064x} twice") as caught:
        StateMap.build([(b"a", b"1"), (b"b", b"2"), (b"a", b"1")])

    assert caught.value.position == position_of(b"a")


def test_changes_that_change_nothing_give_the_same_map() -> None:
    state = StateMap.build((b"key/%d" % number, b"1") for number in range(50))

    assert state.update({}) is state
    assert state.update({b"key/7": b"1", b"key/8": b"1", b"absent": None}) is state


def test_an_update_makes_new_nodes_only_on_the_changed_ways() -> None:
    state = StateMap.build((b"key/%d" % number, b"1") for number in range(1_000))
    keys = [b"key/%d" % number for number in range(0, 1_000, 50)]
    old = inner_nodes(state._top)
    after = state.update(dict.fromkeys(keys, b"2"))
    new = {name: node for name, node in inner_nodes(after._top).items() if name not in old}

    depths = {key: len(state.prove(key).siblings) for key in keys}
    ways = {(depth, position_of(key) >> (256 - depth)) for key in keys for depth in range(depths[key])}
    assert len(new) == len(ways)


def test_the_example_in_the_documentation_is_true() -> None:
    result = doctest.testmod(state_map)

    assert result.attempted > 0
    assert result.failed == 0


# --- proofs ----------------------------------------------------------------------------------------------------------


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


# --- hostile shapes --------------------------------------------------------------------------------------------------

DEEP: Final = {(1 << 256) - 1 - (1 << bit): b"%d" % bit for bit in range(256)} | {(1 << 256) - 1: b"deepest"}
"""For each length from 0 to 255 a position that shares exactly so many bits with the last one."""


def test_a_tree_as_deep_as_positions_allow_keeps_every_promise() -> None:
    top = tree_of(DEEP)

    assert top.digest == root_as_defined(DEEP)
    assert top.count == 257
    for position, value in DEEP.items():
        proof = prove_position(top, position)
        where, value_digest = position.to_bytes(32, "big"), sha256(value).digest()
        assert verify_position(top.digest, where, value_digest, proof)
        assert not verify_position(top.digest, where, None, proof)
        assert decode(encode(proof), StateProof, bytes_max=STATE_PROOF_BYTES_MAX) == proof
    assert len(prove_position(top, (1 << 256) - 1).siblings) == DEPTH_MAX


def test_two_leaves_that_differ_in_the_last_bit_only_are_told_apart() -> None:
    left, right = 6 << 200, 6 << 200 | 1
    top = tree_of({left: b"left", right: b"right"})
    proof = prove_position(top, left)

    assert top.digest == root_as_defined({left: b"left", right: b"right"})
    assert len(proof.siblings) == DEPTH_MAX
    assert proof.siblings[:-1] == (bytes(32),) * (DEPTH_MAX - 1)
    assert verify_position(top.digest, left.to_bytes(32, "big"), sha256(b"left").digest(), proof)
    assert len(encode(proof)) <= STATE_PROOF_BYTES_MAX

    beside = 6 << 200 ^ 1 << 255
    absent = prove_position(top, beside)
    assert absent == StateProof((proof_end(top),), None)
    assert verify_position(top.digest, beside.to_bytes(32, "big"), None, absent)


def proof_end(top: Node) -> Digest:
    assert isinstance(top, Inner)
    return top.left.digest


def test_a_leaf_whose_neighbours_go_moves_up_all_the_way() -> None:
    left, right = 6 << 200, 6 << 200 | 1
    top = tree_of({left: b"left", right: b"right"})

    alone = Batch([(right, None)]).apply(top)
    assert alone is find(top, left)
    assert prove_position(alone, left) == StateProof((), None)
    assert prove_position(alone, right).siblings == ()
    assert Batch([(right, None), (left, None)]).apply(top) is EMPTY


@given(st.sets(st.sampled_from(sorted(DEEP))), st.sets(st.sampled_from(sorted(DEEP))))
def test_deep_trees_forget_their_history_too(first: set[int], second: set[int]) -> None:
    before = tree_of({position: DEEP[position] for position in first})
    changes = [(position, None) for position in first - second]
    puts = [(position, make_leaf(position, b"", DEEP[position])) for position in second]

    after = Batch([*changes, *puts]).apply(before)
    assert after.digest == root_as_defined({position: DEEP[position] for position in second})
    assert after.count == len(second)


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


# --- vectors ---------------------------------------------------------------------------------------------------------


def test_the_vectors_give_every_root_and_proof_byte_for_byte() -> None:
    known = msgspec.json.decode((VECTORS / "updates.json").read_bytes(), type=Vectors)
    state, model = StateMap.empty(), dict[bytes, bytes]()
    for step in known.steps:
        changes = {bytes.fromhex(key): unhex(value) for key, value in step.changes.items()}
        state, model = state.update(changes), changed(model, changes)

        assert state.root.hex() == root_of(model).hex() == step.root
        assert len(state) == step.count
        for vector in step.proofs:
            key, value = bytes.fromhex(vector.key), unhex(vector.value)
            proof = state.prove(key)
            assert [sibling.hex() for sibling in proof.siblings] == vector.siblings
            assert (None if proof.other is None else [part.hex() for part in msgspec.structs.astuple(proof.other)]) == (
                vector.other
            )
            assert encode(proof).hex() == vector.encoded
            assert state.get(key) == value
            assert verify_state(bytes.fromhex(step.root), key, value, proof)


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


def test_the_vectors_give_the_roots_of_trees_that_no_keys_reach() -> None:
    known = msgspec.json.decode((VECTORS / "trees.json").read_bytes(), type=TreeVectors)

    assert known.trees
    for vector in known.trees:
        leaves = {int(leaf.position, 16): bytes.fromhex(leaf.value) for leaf in vector.leaves}
        assert tree_of(leaves).digest.hex() == root_as_defined(leaves).hex() == vector.root, vector.what
