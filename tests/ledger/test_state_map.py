"""The state map against a dict and against a naive reading of its tree."""

from __future__ import annotations

import doctest
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import state_map
from ledger.codec import encode
from ledger.state_map import DuplicatePositionError, StateMap, verify_state
from tests.ledger.state_reference import (
    CHANGES,
    CONTENTS,
    VECTORS,
    Vectors,
    changed,
    inner_nodes,
    position_of,
    root_of,
    unhex,
)


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
