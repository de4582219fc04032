"""What the state tests share: the definition of the tree taken word for word, and the form of the vectors."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from hypothesis import strategies as st

from ledger.digest import Digest
from ledger.state_map import OtherLeaf, StateProof
from ledger.state_tree import (
    EMPTY,
    Batch,
    Inner,
    Leaf,
    Node,
    descend,
    make_leaf,
)

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
