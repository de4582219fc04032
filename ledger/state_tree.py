"""The tree under the state map: leaves placed by 256-bit positions. One law: a set of leaves has one tree.

A position's bits, highest first, say left (0) or right (1) from the root down. A subtree with no leaf is *empty*; a
subtree with one leaf *is* that leaf, so a leaf lies only as deep as its neighbours force it to. Hence the shape
depends on the leaves alone and not on the order in which they came.

With H = SHA-256::

    leaf  = H(0x00 || position || H(value))        inner = H(0x01 || left || right)        empty = 32 zero bytes

Leaf and inner inputs differ in their first byte, and nobody knows an input that hashes to 32 zero bytes: a hash
belongs to one kind of node only, so none can be presented as another kind (no second preimage).

Nodes are never changed, only replaced along the changed paths; all older roots stay whole and share the rest. Nodes
refer to nodes below only, so they cannot form cycles and stay out of the garbage collector (`gc=False`).

Source: Gao, Hu, Wu: "Jellyfish Merkle Tree" (Diem), 2021, section 3.
Differs from it in: binary in memory too (no 16-way nodes); no version in keys, since nodes are not stored; the empty
subtree is zero bytes; leaves and inner nodes are told apart by one byte.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from hashlib import sha256
from itertools import pairwise
from operator import itemgetter
from typing import ClassVar, Final, TypeAlias

import msgspec

from ledger.digest import DIGEST_BYTES, ZERO_DIGEST, Digest

DEPTH_MAX: Final = 256
"""Levels below the root: the bits of a position. Recursion goes no deeper."""

EMPTY_DIGEST: Final = ZERO_DIGEST
"""Stands for a subtree without a leaf."""


class DuplicatePositionError(ValueError):
    """One batch names a position twice, so that what it means would depend on an order."""

    def __init__(self, *, position: int) -> None:
        super().__init__(
            f"a batch names each key once, got position {position:064x} twice: keep only the last change to each key"
        )
        self.position = position


class Empty(msgspec.Struct, frozen=True, gc=False):
    """A subtree without a leaf; `EMPTY` is the only one."""

    digest: ClassVar[Digest] = EMPTY_DIGEST
    count: ClassVar[int] = 0


class Leaf(msgspec.Struct, frozen=True, gc=False):
    """One entry of the map, and a subtree in which it is alone."""

    count: ClassVar[int] = 1
    digest: Digest
    position: int
    key: bytes
    value: bytes


class Inner(msgspec.Struct, frozen=True, gc=False):
    """A subtree with two leaves or more."""

    digest: Digest
    left: Node
    right: Node
    count: int
    """Leaves below."""


Node: TypeAlias = Empty | Leaf | Inner

EMPTY: Final = Empty()


def leaf_digest(position: bytes, value_digest: bytes) -> Digest:
    """Hash a leaf: where it is and what it holds, 32 bytes each."""
    return Digest(sha256(b"\x00" + position + value_digest).digest())


def inner_digest(left: bytes, right: bytes) -> Digest:
    """Hash two subtrees, 32 bytes each, into their parent."""
    return Digest(sha256(b"\x01" + left + right).digest())


def bit(position: int, depth: int) -> int:
    """Return which way `position` goes at a node of this depth: 0 left, 1 right."""
    return position >> (DEPTH_MAX - 1 - depth) & 1


def make_leaf(position: int, key: bytes, value: bytes) -> Leaf:
    """Return the leaf that holds `key` and `value` at `position`."""
    where = position.to_bytes(DIGEST_BYTES, "big")
    return Leaf(leaf_digest(where, sha256(value).digest()), position, key, value)


def join(left: Node, right: Node) -> Node:
    """Return the subtree over two neighbours: a lone leaf moves up, two or more get a parent."""
    count = left.count + right.count
    if count <= 1:
        return left if left.count else right
    return Inner(Digest(sha256(b"\x01" + left.digest + right.digest).digest()), left, right, count)


def descend(root: Node, position: int) -> tuple[Empty | Leaf, list[Digest]]:
    """Follow `position` down from `root`.

    Returns:
        Where the way ends (nothing, or the only leaf that shares the way there), and the digests of the subtrees that
        it passes by, from the root down.
    """
    siblings: list[Digest] = []
    node, shift = root, DEPTH_MAX - 1
    while isinstance(node, Inner):
        if position >> shift & 1:
            siblings.append(node.left.digest)
            node = node.right
        else:
            siblings.append(node.right.digest)
            node = node.left
        shift -= 1
    return node, siblings


def find(root: Node, position: int) -> Leaf | None:
    """Return the leaf at `position`, if there is one."""
    node, shift = root, DEPTH_MAX - 1
    while isinstance(node, Inner):
        node = node.right if position >> shift & 1 else node.left
        shift -= 1
    return node if isinstance(node, Leaf) and node.position == position else None


class Batch:
    """Changes to be made together: each node on their ways is hashed once."""

    __slots__ = ("_leaves", "_positions")

    def __init__(self, changes: Iterable[tuple[int, Leaf | None]]) -> None:
        """Sort `changes`: by position, the leaf to put there, or None to leave nothing there.

        Raises:
            DuplicatePositionError: a position is named twice.
        """
        ordered = sorted(changes, key=itemgetter(0))
        self._positions: Final = [position for position, _ in ordered]
        self._leaves: Final = [leaf for _, leaf in ordered]
        for position, following in pairwise(self._positions):
            if position == following:
                raise DuplicatePositionError(position=position)

    def apply(self, root: Node) -> Node:
        """Return the tree after the changes; `root` itself when they change nothing.

        Cost: for m changes in n leaves O(m log n) hashes; recursion at most `DEPTH_MAX` + 1 deep.
        """
        return self._apply(root, 0, len(self._positions), 0)

    def _apply(self, node: Node, low: int, high: int, depth: int) -> Node:
        """Make the changes from `low` to before `high`, which all lie below this `node` at this `depth`."""
        if low == high:
            return node
        if isinstance(node, Inner):
            middle = self._split(low, high, depth)
            left = self._apply(node.left, low, middle, depth + 1)
            right = self._apply(node.right, middle, high, depth + 1)
            return node if left is node.left and right is node.right else join(left, right)
        if high - low == 1 and (isinstance(node, Empty) or node.position == self._positions[low]):
            return self._replace(node, self._leaves[low])
        middle = self._split(low, high, depth)
        goes_right = isinstance(node, Leaf) and bit(node.position, depth)
        left = self._apply(EMPTY if goes_right else node, low, middle, depth + 1)
        right = self._apply(node if goes_right else EMPTY, middle, high, depth + 1)
        return join(left, right)

    def _split(self, low: int, high: int, depth: int) -> int:
        """Return the first change from `low` on that goes right at this depth, `high` if none does."""
        shift = DEPTH_MAX - 1 - depth
        first_right = (self._positions[low] >> shift | 1) << shift
        return bisect_left(self._positions, first_right, low, high)

    @staticmethod
    def _replace(node: Empty | Leaf, leaf: Leaf | None) -> Node:
        """Return what one change leaves of a place; the same object when it changes nothing."""
        if leaf is None:
            return EMPTY
        return node if leaf.digest == node.digest else leaf
