"""The state: an immutable authenticated map from bytes to bytes. One law: equal content has an equal root.

A key's position is SHA-256(key); `ledger.state_tree` is the tree over positions and `ledger.state_proof` what can be
proven from its root. An update gives a new map and leaves the old one whole, so that a block can be tried and dropped,
and readers keep the height they began with.

    >>> old = StateMap.build([(b"task/1", b"open"), (b"task/2", b"open")])
    >>> new = old.update({b"task/1": b"closed", b"task/2": None})
    >>> len(old), len(new), new.get(b"task/1")
    (2, 1, b'closed')
    >>> verify_state(new.root, b"task/2", None, new.prove(b"task/2"))
    True

Bounds: a tree is at most 256 levels deep; nobody can force more than he can find SHA-256 prefix collisions for (about
b levels for 2**(b/2) hashes). Keys and values are as long as the caller allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256

from ledger.digest import DIGEST_BYTES, Digest
from ledger.state_proof import OtherLeaf, StateProof, verify_state
from ledger.state_tree import (
    EMPTY,
    Batch,
    DuplicatePositionError,
    Inner,
    Leaf,
    Node,
    descend,
    find,
    make_leaf,
)

__all__ = ["DuplicatePositionError", "OtherLeaf", "StateMap", "StateProof", "verify_state"]


class StateMap:
    """A map bytes -> bytes with a root; never changed, only replaced. An empty value is a value, not absence."""

    __slots__ = ("_top",)

    def __init__(self, top: Node = EMPTY) -> None:
        self._top = top

    @classmethod
    def empty(cls) -> StateMap:
        """Return the map without entries; its root is 32 zero bytes."""
        return cls()

    @classmethod
    def build(cls, items: Iterable[tuple[bytes, bytes]]) -> StateMap:
        """Return the map with these entries, in any order.

        Raises:
            DuplicatePositionError: a key comes twice.
        """
        return cls(Batch(_change(key, value) for key, value in items).apply(EMPTY))

    @property
    def root(self) -> Digest:
        """32 bytes that stand for the whole content, whatever way led to it."""
        return self._top.digest

    @property
    def top(self) -> Node:
        """The tree, for `ledger.state_parts`."""
        return self._top

    def __len__(self) -> int:
        return self._top.count

    def __contains__(self, key: bytes) -> bool:
        return find(self._top, _position(key)) is not None

    def __repr__(self) -> str:
        return f"StateMap({len(self)} entries, root={self.root.hex()})"

    def get(self, key: bytes) -> bytes | None:
        """Return the value at `key`, None if there is none."""
        leaf = find(self._top, _position(key))
        return None if leaf is None else leaf.value

    def update(self, changes: Mapping[bytes, bytes | None]) -> StateMap:
        """Return the map after `changes`; a value of None deletes, and may name a key that is not there.

        Cost: O(m log n) hashes for m changes in n entries; each new inner node is hashed once.
        """
        top = Batch(_change(key, value) for key, value in changes.items()).apply(self._top)
        return self if top is self._top else StateMap(top)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Go through all entries in order of position (SHA-256 of the key): the same on every node."""
        waiting: list[Node] = [self._top]
        while waiting:
            node = waiting.pop()
            if isinstance(node, Inner):
                waiting += (node.right, node.left)
            elif isinstance(node, Leaf):
                yield node.key, node.value

    def prove(self, key: bytes) -> StateProof:
        """Prove what the map holds at `key`, or that it holds nothing there."""
        position = _position(key)
        end, siblings = descend(self._top, position)
        other = None
        if isinstance(end, Leaf) and end.position != position:
            other = OtherLeaf(
                Digest(end.position.to_bytes(DIGEST_BYTES, "big")),
                Digest(sha256(end.value).digest()),
            )
        return StateProof(tuple(siblings), other)


def _position(key: bytes) -> int:
    return int.from_bytes(sha256(key).digest(), "big")


def _change(key: bytes, value: bytes | None) -> tuple[int, Leaf | None]:
    position = _position(key)
    return position, None if value is None else make_leaf(position, key, value)
