"""Merkle lists: one root for a sequence of byte strings. One law: a root stands for one list of one length.

The tree is that of RFC 9162: leaves and nodes are hashed under different first bytes, so that a node never passes for
a leaf, and a last leaf without a partner is carried up, never doubled, so that two lists of different length never
meet in one tree (CVE-2012-2459). The root that the project stores also hashes the number of leaves, so that it alone
says how long the list is.

With H = SHA-256 and k the largest power of two smaller than n::

    leaf_hash(d)  = H(0x00 || d)
    MTH()         = H()
    MTH(d0)       = leaf_hash(d0)
    MTH(d0..dn-1) = H(0x01 || MTH(d0..dk-1) || MTH(dk..dn-1))
    root          = digest("merkle", n as 8 big-endian bytes, MTH)

Source: RFC 9162, "Certificate Transparency Version 2.0", section 2.1.
Differs from it in: the root commits to the leaf count as well (the RFC signs it beside the root).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Annotated, Final

from msgspec import Meta

from ledger.codec import Record
from ledger.digest import DIGEST_BYTES, Digest, digest
from ledger.fields import DigestField

LEAVES_MAX: Final = 1 << 32
"""Leaves of one list."""

PATH_DIGESTS_MAX: Final = 32
"""Longest path in a list of `LEAVES_MAX` leaves."""

INCLUSION_PROOF_BYTES_MAX: Final = 24 + PATH_DIGESTS_MAX * (DIGEST_BYTES + 2)
"""Encoded size of the longest proof; in a list of n leaves it is about 34 * log2(n) bytes."""


class LeafIndexError(IndexError):
    """The list has no leaf with this index."""

    def __init__(self, *, index: int, count: int) -> None:
        super().__init__(f"a proof needs the index of one of the list's {count} leaves (from 0), got {index}")
        self.index = index
        self.count = count


class InclusionProof(Record, frozen=True):
    """What leads from one leaf to the root: proves that the list has that leaf *at that index*."""

    index: Annotated[int, Meta(ge=0, lt=LEAVES_MAX)]
    """Place of the leaf, from 0."""

    count: Annotated[int, Meta(ge=1, le=LEAVES_MAX)]
    """How many leaves the list has."""

    path: Annotated[tuple[DigestField, ...], Meta(max_length=PATH_DIGESTS_MAX)]
    """Sibling hashes from the leaf upwards; as many as index and count demand, at most `PATH_DIGESTS_MAX`."""


def leaf_hash(leaf: bytes | bytearray | memoryview) -> Digest:
    """Hash one leaf, which may be large: it is not copied."""
    state = sha256(b"\x00")
    state.update(leaf)
    return Digest(state.digest())


def node_hash(left: bytes, right: bytes) -> Digest:
    """Hash two neighbouring subtrees, 32 bytes each, into their parent."""
    return Digest(sha256(b"\x01" + left + right).digest())


def merkle_root(leaves: Iterable[bytes]) -> Digest:
    """Return the root of a list of byte strings, which may be empty.

    Cost: 2n hashes, O(n) memory.
    """
    return root_of_hashes([leaf_hash(leaf) for leaf in leaves])


def root_of_hashes(leaf_hashes: Sequence[bytes]) -> Digest:
    """Return the root of the list whose leaves have these `leaf_hash`es, 32 bytes each."""
    return _seal(len(leaf_hashes), tree_hash(leaf_hashes))


def tree_hash(leaf_hashes: Sequence[bytes]) -> Digest:
    """Return the RFC's MTH: the top of the tree, *without* the leaf count."""
    if not leaf_hashes:
        return Digest(sha256().digest())
    level = leaf_hashes
    while len(level) > 1:
        level = _parents(level)
    return Digest(level[0])


def prove(leaves: Iterable[bytes], index: int) -> InclusionProof:
    """Prove that `leaves` has its leaf number `index`.

    Raises:
        LeafIndexError: it has none.

    Cost: as `merkle_root`.
    """
    return prove_hash([leaf_hash(leaf) for leaf in leaves], index)


def prove_hash(leaf_hashes: Sequence[bytes], index: int) -> InclusionProof:
    """Prove that the list with these `leaf_hash`es has its leaf number `index`.

    Raises:
        LeafIndexError: it has none.
    """
    count = len(leaf_hashes)
    if not 0 <= index < count:
        raise LeafIndexError(index=index, count=count)
    path: list[Digest] = []
    place, level = index, leaf_hashes
    while len(level) > 1:
        sibling = place ^ 1
        if sibling < len(level):
            path.append(Digest(level[sibling]))
        place, level = place >> 1, _parents(level)
    return InclusionProof(index, count, tuple(path))


def verify_inclusion(root: bytes, leaf: bytes, proof: InclusionProof) -> bool:
    """Tell whether the list under `root` has `proof.count` leaves and `leaf` is the one at `proof.index`."""
    return verify_hash_inclusion(root, leaf_hash(leaf), proof)


def verify_hash_inclusion(root: bytes, hashed_leaf: bytes, proof: InclusionProof) -> bool:
    """Tell whether the list under `root` has the leaf with this `leaf_hash` at `proof.index`.

    Never raises for a proof of the declared types, whatever its values. Refused are: an index or a count out of
    bounds; a path item that is not 32 bytes; a path longer or shorter than index and count demand; one that leads to
    another root. For one (root, index) at most one leaf and one proof verify.

    Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= proof.index < proof.count <= LEAVES_MAX or any(len(item) != DIGEST_BYTES for item in proof.path):
        return False
    place, last, top = proof.index, proof.count - 1, hashed_leaf
    for sibling in proof.path:
        if last == 0:
            return False
        if place & 1 or place == last:
            top = node_hash(sibling, top)
            while not place & 1 and place != 0:
                place, last = place >> 1, last >> 1
        else:
            top = node_hash(top, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and _seal(proof.count, top) == root


class MerkleAccumulator:
    """The root of a list whose leaves come one after another: holds at most 33 hashes, whatever the length."""

    __slots__ = ("_count", "_peaks")

    def __init__(self) -> None:
        self._count = 0
        self._peaks: list[bytes] = []  # tops of the full subtrees, largest first: one for each set bit of `_count`

    def __len__(self) -> int:
        return self._count

    def append(self, hashed_leaf: bytes) -> None:
        """Take the `leaf_hash` of the next leaf."""
        carry, full = hashed_leaf, self._count
        while full & 1:
            carry, full = node_hash(self._peaks.pop(), carry), full >> 1
        self._peaks.append(carry)
        self._count += 1

    def root(self) -> Digest:
        """Return the root of the leaves so far, equal to `root_of_hashes` of them; more may follow."""
        if not self._peaks:
            return root_of_hashes(())
        top = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            top = node_hash(peak, top)
        return _seal(self._count, top)


def _parents(level: Sequence[bytes]) -> list[bytes]:
    """Return the level above: neighbours hashed in pairs, a last one without a partner carried up as it is."""
    halves = iter(level)
    parents = [sha256(b"\x01" + left + right).digest() for left, right in zip(halves, halves, strict=False)]
    if len(level) & 1:
        parents.append(level[-1])
    return parents


def _seal(count: int, top: bytes) -> Digest:
    """Hash the leaf count and the top of the tree into the root."""
    return digest("merkle", count.to_bytes(8, "big"), top)
