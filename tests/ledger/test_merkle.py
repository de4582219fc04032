"""Merkle lists against RFC 9162, a naive reading of it, and whoever wants to prove what is not so."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.codec import CodecError, decode, encode
from ledger.digest import digest
from ledger.merkle import (
    INCLUSION_PROOF_BYTES_MAX,
    LEAVES_MAX,
    PATH_DIGESTS_MAX,
    InclusionProof,
    LeafIndexError,
    MerkleAccumulator,
    leaf_hash,
    merkle_root,
    node_hash,
    prove,
    prove_hash,
    root_of_hashes,
    tree_hash,
    verify_hash_inclusion,
    verify_inclusion,
)

VECTORS: Final = Path(__file__).parents[1] / "vectors" / "merkle"

LEAVES: Final = [bytes([number]) * number for number in range(70)]
"""All different, the first one empty."""


class ListVector(msgspec.Struct, forbid_unknown_fields=True):
    count: int
    mth: str
    root: str


class ProofVector(msgspec.Struct, forbid_unknown_fields=True):
    index: int
    count: int
    path: list[str]
    encoded: str


class RefusedVector(msgspec.Struct, forbid_unknown_fields=True):
    why: str
    root: str
    leaf: str
    index: int
    count: int
    path: list[str]


class Vectors(msgspec.Struct, forbid_unknown_fields=True):
    description: str
    leaves: list[str]
    lists: list[ListVector]
    proofs: list[ProofVector]
    refused: list[RefusedVector]


def vectors() -> Vectors:
    return msgspec.json.decode((VECTORS / "rfc9162.json").read_bytes(), type=Vectors)


def mth_as_the_rfc_says_it(leaves: list[bytes]) -> bytes:
    """Return MTH by the recursion of RFC 9162, section 2.1.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + mth_as_the_rfc_says_it(leaves[:k]) + mth_as_the_rfc_says_it(leaves[k:])).digest()


def path_as_the_rfc_says_it(index: int, leaves: list[bytes]) -> list[bytes]:
    """Return PATH by the recursion of RFC 9162, section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if index < k:
        return [*path_as_the_rfc_says_it(index, leaves[:k]), mth_as_the_rfc_says_it(leaves[k:])]
    return [*path_as_the_rfc_says_it(index - k, leaves[k:]), mth_as_the_rfc_says_it(leaves[:k])]


def hashes(leaves: list[bytes]) -> list[bytes]:
    return [leaf_hash(leaf) for leaf in leaves]


def flip(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data, "big") ^ 1 << bit).to_bytes(len(data), "big")


# --- roots -----------------------------------------------------------------------------------------------------------


def test_the_vectors_give_the_tree_heads_of_certificate_transparency() -> None:
    """The eight leaves and nine heads are those of the RFC 6962 reference implementation."""
    known = vectors()
    leaves = [bytes.fromhex(leaf) for leaf in known.leaves]

    assert [vector.count for vector in known.lists] == list(range(9))
    for vector in known.lists:
        assert tree_hash(hashes(leaves[: vector.count])).hex() == vector.mth
        assert merkle_root(leaves[: vector.count]).hex() == vector.root


def test_the_vectors_give_every_proof_byte_for_byte() -> None:
    known = vectors()
    leaves = [bytes.fromhex(leaf) for leaf in known.leaves]

    assert len(known.proofs) == sum(range(1, 9))
    for vector in known.proofs:
        proof = prove(leaves[: vector.count], vector.index)
        assert proof == InclusionProof(vector.index, vector.count, proof.path)
        assert [item.hex() for item in proof.path] == vector.path
        assert encode(proof).hex() == vector.encoded
        assert verify_inclusion(bytes.fromhex(known.lists[vector.count].root), leaves[vector.index], proof)


def test_the_vectors_to_be_refused_are_refused() -> None:
    refused = vectors().refused

    assert refused
    for vector in refused:
        path = msgspec.convert([bytes.fromhex(item) for item in vector.path], tuple[bytes, ...])
        proof = InclusionProof(vector.index, vector.count, path)  # type: ignore[arg-type]
        assert not verify_inclusion(bytes.fromhex(vector.root), bytes.fromhex(vector.leaf), proof), vector.why


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_the_tree_is_the_one_that_the_rfc_describes(leaves: list[bytes]) -> None:
    assert tree_hash(hashes(leaves)) == mth_as_the_rfc_says_it(leaves)


def test_the_root_hashes_the_leaf_count() -> None:
    top = mth_as_the_rfc_says_it(LEAVES[:5])

    assert merkle_root(LEAVES[:5]) == digest("merkle", (5).to_bytes(8, "big"), top)


def test_a_list_may_be_empty() -> None:
    empty = digest("merkle", bytes(8), sha256(b"").digest())

    assert merkle_root([]) == root_of_hashes([]) == MerkleAccumulator().root() == empty


def test_an_accumulator_has_the_list_s_root_after_every_leaf() -> None:
    tree = MerkleAccumulator()
    for count, leaf in enumerate(LEAVES):
        assert len(tree) == count
        assert tree.root() == merkle_root(LEAVES[:count])
        tree.append(leaf_hash(leaf))


def test_an_accumulator_holds_one_hash_for_each_set_bit_of_its_length() -> None:
    tree = MerkleAccumulator()
    for count in range(1, 2_000):
        tree.append(bytes(32))
        assert len(tree._peaks) == count.bit_count()


# --- proofs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 32, 33, 64, 65, 70])
def test_every_leaf_of_a_list_can_be_proven(count: int) -> None:
    leaves = LEAVES[:count]
    root = merkle_root(leaves)
    for index, leaf in enumerate(leaves):
        proof = prove(leaves, index)
        assert proof == prove_hash(hashes(leaves), index)
        assert list(proof.path) == path_as_the_rfc_says_it(index, leaves)
        assert verify_inclusion(root, leaf, proof)
        assert verify_hash_inclusion(root, leaf_hash(leaf), proof)
        assert decode(encode(proof), InclusionProof, bytes_max=INCLUSION_PROOF_BYTES_MAX) == proof


@pytest.mark.parametrize("index", [-1, 3, 4])
def test_a_leaf_that_is_not_there_cannot_be_proven(index: int) -> None:
    with pytest.raises(LeafIndexError, match=f"3 leaves .*got {index}") as caught:
        prove(LEAVES[:3], index)

    assert (caught.value.index, caught.value.count) == (index, 3)


@given(st.data())
def test_no_changed_proof_verifies(data: st.DataObject) -> None:
    """Bits, index, count, length and order: a root and an index have one leaf and one proof."""
    leaves = LEAVES[: data.draw(st.integers(2, 40))]
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, leaf, proof = merkle_root(leaves), leaves[index], prove(leaves, index)
    path = proof.path
    bit = data.draw(st.integers(0, 255))

    changed_paths = [
        *((*path[:place], flip(item, bit), *path[place + 1 :]) for place, item in enumerate(path)),
        *((*path[:place], *path[place + 1 :]) for place in range(len(path))),
        *((*path[:place], item, *path[place:]) for place, item in enumerate(path)),
        *((*path[:place], item[:-1], *path[place + 1 :]) for place, item in enumerate(path)),
        *((*path[:place], item + b"\0", *path[place + 1 :]) for place, item in enumerate(path)),
        (*path, path[-1]),
        (*path, bytes(32)),
        *([path[::-1]] if len(path) > 1 else []),
        (),
    ]
    for changed in changed_paths:
        assert not verify_inclusion(root, leaf, InclusionProof(index, len(leaves), changed))  # type: ignore[arg-type]
    for other in {*range(-2, len(leaves) + 3), index + 2**32, index - len(leaves)} - {index}:
        assert not verify_inclusion(root, leaf, InclusionProof(other, len(leaves), path))
    for count in {*range(-1, 2 * len(leaves) + 2), LEAVES_MAX, LEAVES_MAX + 1, 2**80} - {len(leaves)}:
        assert not verify_inclusion(root, leaf, InclusionProof(index, count, path))
    assert not verify_inclusion(flip(root, bit), leaf, proof)
    assert not verify_inclusion(root, leaf + b"\0", proof)
    assert not verify_hash_inclusion(root, flip(leaf_hash(leaf), bit), proof)


def test_a_proof_at_one_index_proves_no_other_leaf() -> None:
    leaves = LEAVES[:9]
    root = merkle_root(leaves)
    for index in range(9):
        proof = prove(leaves, index)
        assert [verify_inclusion(root, leaf, proof) for leaf in leaves] == [other == index for other in range(9)]


# --- attacks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 5, 6, 7])
def test_a_list_with_its_tail_doubled_has_another_root(count: int) -> None:
    """Bitcoin's tree gave both lists one root (CVE-2012-2459)."""
    leaves = LEAVES[:count]
    tail = count & -count  # the leaves of the smallest full subtree, which Bitcoin would have doubled
    doubled = leaves + leaves[-tail:]

    assert tree_hash(hashes(doubled)) != tree_hash(hashes(leaves))
    assert merkle_root(doubled) != merkle_root(leaves)
    forged = prove(doubled, len(doubled) - 1)
    assert not verify_inclusion(merkle_root(leaves), doubled[-1], forged)
    assert not verify_inclusion(merkle_root(leaves), doubled[-1], InclusionProof(count - 1, count, forged.path))


def test_an_inner_node_never_passes_for_a_leaf() -> None:
    left, right = leaf_hash(b"left"), leaf_hash(b"right")
    root = merkle_root([b"left", b"right"])

    assert merkle_root([left + right]) != root
    assert merkle_root([b"\x01" + left + right]) != root
    assert not verify_inclusion(root, left + right, InclusionProof(0, 1, ()))
    assert not verify_hash_inclusion(root, node_hash(left, right), InclusionProof(0, 1, ()))


def test_a_subtree_s_proof_does_not_stand_for_a_leaf_s() -> None:
    """Naming the hash of a pair as if it were a leaf of a shorter list fails at the committed count."""
    leaves = LEAVES[:4]
    pair = node_hash(leaf_hash(leaves[0]), leaf_hash(leaves[1]))
    sibling = node_hash(leaf_hash(leaves[2]), leaf_hash(leaves[3]))

    assert not verify_hash_inclusion(merkle_root(leaves), pair, InclusionProof(0, 2, (sibling,)))
    assert not verify_hash_inclusion(merkle_root(leaves), pair, InclusionProof(0, 4, (sibling,)))


def forged_root(count: int, top: bytes) -> bytes:
    """Return a root that no list has: its maker hashed whatever suited him."""
    return digest("merkle", count.to_bytes(8, "big"), top)


def test_a_path_of_another_length_than_demanded_is_refused_even_when_it_leads_to_the_root() -> None:
    leaf, item = leaf_hash(b"leaf"), leaf_hash(b"item")

    too_long = forged_root(1, node_hash(item, leaf))
    assert not verify_inclusion(too_long, b"leaf", InclusionProof(0, 1, (item,)))
    too_short = forged_root(3, node_hash(leaf, item))
    assert not verify_inclusion(too_short, b"leaf", InclusionProof(0, 3, (item,)))


@pytest.mark.parametrize("item", [b"", bytes(31), bytes(33)])
def test_a_path_item_of_another_size_is_refused_even_when_it_leads_to_the_root(item: bytes) -> None:
    root = forged_root(2, node_hash(leaf_hash(b"leaf"), item))

    assert not verify_inclusion(root, b"leaf", InclusionProof(0, 2, (item,)))  # type: ignore[arg-type]


def test_a_count_beyond_every_bound_is_refused_and_not_computed_with() -> None:
    """A count of 81 bits has no place in the eight bytes that the root hashes."""
    proof = InclusionProof(0, 2**80, (leaf_hash(b""),) * 80)

    assert not verify_inclusion(bytes(32), b"leaf", proof)


def test_nothing_is_in_an_empty_list() -> None:
    for proof in (InclusionProof(0, 0, ()), InclusionProof(0, 1, ()), InclusionProof(-1, 0, ())):
        assert not verify_inclusion(merkle_root([]), b"", proof)


def test_the_longest_proof_fits_its_bound_and_a_longer_one_is_not_decoded() -> None:
    item = leaf_hash(b"")
    longest = InclusionProof(LEAVES_MAX - 1, LEAVES_MAX, (item,) * PATH_DIGESTS_MAX)
    longer = InclusionProof(LEAVES_MAX - 1, LEAVES_MAX, (item,) * (PATH_DIGESTS_MAX + 1))

    assert decode(encode(longest), InclusionProof, bytes_max=INCLUSION_PROOF_BYTES_MAX) == longest
    with pytest.raises(CodecError, match="length <= 32"):
        decode(encode(longer), InclusionProof, bytes_max=10_000)


@pytest.mark.parametrize(
    "fields",
    [(-1, 1, ()), (0, 0, ()), (LEAVES_MAX, LEAVES_MAX, ()), (0, LEAVES_MAX + 1, ()), (0, 2, (bytes(31),)), (0, 1)],
)
def test_a_proof_out_of_bounds_is_not_decoded(fields: tuple[object, ...]) -> None:
    with pytest.raises(CodecError):
        decode(encode(fields), InclusionProof, bytes_max=INCLUSION_PROOF_BYTES_MAX)
