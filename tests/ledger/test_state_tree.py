"""The tree over positions in shapes that no known keys can force on it."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ledger.codec import decode, encode
from ledger.digest import Digest
from ledger.state_map import StateProof
from ledger.state_proof import STATE_PROOF_BYTES_MAX, verify_position
from ledger.state_tree import (
    DEPTH_MAX,
    EMPTY,
    Batch,
    Inner,
    Node,
    find,
    make_leaf,
)
from tests.ledger.state_reference import (
    VECTORS,
    TreeVectors,
    prove_position,
    root_as_defined,
    tree_of,
)

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


def test_the_vectors_give_the_roots_of_trees_that_no_keys_reach() -> None:
    known = msgspec.json.decode((VECTORS / "trees.json").read_bytes(), type=TreeVectors)

    assert known.trees
    for vector in known.trees:
        leaves = {int(leaf.position, 16): bytes.fromhex(leaf.value) for leaf in vector.leaves}
        assert tree_of(leaves).digest.hex() == root_as_defined(leaves).hex() == vector.root, vector.what
