"""A state in parts, each checked by itself. One law: what has the wrong digest is refused, nothing of it kept.

The state root in a certified header stands for the whole tree over the state (`ledger.state_tree`), and every inner
node of that tree for all that is below it. A part is one subtree, from its top down and from left to right as far as
it fits; what does not fit is named by its digest. Whoever knows the digest of the top, which is the state root to
begin with, checks a part alone, keeps its entries, and asks for the subtrees that were only named, each of anybody.

So nothing has to be believed and no list of chunks has to be agreed on: a lie costs its reader one answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from ledger.application import STATE_KEY_BYTES_MAX, STATE_VALUE_BYTES_MAX
from ledger.codec import Record
from ledger.digest import Digest
from ledger.fields import DigestField
from ledger.state_map import StateMap
from ledger.state_tree import DEPTH_MAX, EMPTY_DIGEST, Inner, Leaf, Node, inner_digest, leaf_digest

PART_BYTES_MAX: Final = 512 << 10
"""Of one part's entries, unless the first alone is larger."""

PART_NODES_MAX: Final = 16_000
PART_ANSWER_BYTES_MAX: Final = PART_BYTES_MAX + STATE_VALUE_BYTES_MAX + (1 << 20)
"""Longest encoding of an honest part."""

_ENTRY_OVERHEAD_BYTES: Final = 16


class StateFork(Record, tag="fork", frozen=True):
    """An inner node; its left and its right subtree follow."""


class StateEntry(Record, tag="entry", frozen=True):
    """One entry of the state."""

    key: Annotated[bytes, Meta(max_length=STATE_KEY_BYTES_MAX)]
    value: Annotated[bytes, Meta(max_length=STATE_VALUE_BYTES_MAX)]


class StateStub(Record, tag="stub", frozen=True):
    """A subtree that is only named."""

    digest: DigestField
    """32 zero bytes where there is nothing."""


PartNode: TypeAlias = StateFork | StateEntry | StateStub


class StatePart(Record, frozen=True):
    """One subtree, as far as it fits."""

    nodes: Annotated[tuple[PartNode, ...], Meta(max_length=PART_NODES_MAX)]
    """From the top down, left before right."""


class FalsePartError(ValueError):
    """A part is not of the subtree that it should be."""


@dataclass(frozen=True, slots=True)
class Subtree:
    """A place in the tree, and what is known of it."""

    path: str
    """The way from the top: `0` for left, `1` for right; empty at the top."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class CheckedPart:
    """What a part has proven."""

    entries: tuple[tuple[bytes, bytes], ...]
    rest: tuple[Subtree, ...]
    """Subtrees that were only named."""


def whole(state_root: Digest) -> tuple[Subtree, ...]:
    """Return what is to be asked for first: everything, or nothing when the state is empty."""
    return () if state_root == EMPTY_DIGEST else (Subtree("", state_root),)


def part_of(state: StateMap, path: str, *, bytes_max: int = PART_BYTES_MAX) -> StatePart | None:
    """Return the part of `state` whose top is at `path`; None when no subtree begins there.

    Args:
        state: the whole.
        path: `0` and `1`, at most 256.
        bytes_max: of all entries but the first.
    """
    top = _at(state.top, path)
    return None if top is None else StatePart(tuple(_nodes(top, bytes_max)))


def check_part(part: StatePart, subtree: Subtree) -> CheckedPart:
    """Return what a part holds.

    Raises:
        FalsePartError: it is another subtree's, or malformed, or holds no entry.
    """
    reader = _Reader(part.nodes)
    found = reader.digest(subtree.path)
    if reader.place != len(part.nodes):
        raise FalsePartError(f"{len(part.nodes) - reader.place} nodes are left over")
    if found != subtree.digest:
        raise FalsePartError(f"subtree {subtree.path!r} has digest {subtree.digest.hex()}, got {found.hex()}")
    if not reader.entries:
        raise FalsePartError("a part brings at least one entry")
    return CheckedPart(tuple(reader.entries), tuple(reader.rest))


class _Reader:
    """Goes once through the nodes of a part."""

    def __init__(self, nodes: tuple[PartNode, ...]) -> None:
        self.place = 0
        self.entries: Final[list[tuple[bytes, bytes]]] = []
        self.rest: Final[list[Subtree]] = []
        self._nodes: Final = nodes

    def digest(self, path: str) -> Digest:
        """Return the digest of the subtree that begins here; recursion is as deep as the tree at most."""
        if self.place >= len(self._nodes):
            raise FalsePartError("it ends in the middle of a subtree")
        node = self._nodes[self.place]
        self.place += 1
        match node:
            case StateStub(named):
                if named != EMPTY_DIGEST:
                    self.rest.append(Subtree(path, named))
                return named
            case StateEntry(key, value):
                self.entries.append((key, value))
                return leaf_digest(sha256(key).digest(), sha256(value).digest())
            case StateFork():
                if len(path) >= DEPTH_MAX:
                    raise FalsePartError(f"a way has at most {DEPTH_MAX} steps")
                left = self.digest(path + "0")
                return inner_digest(left, self.digest(path + "1"))


def _at(top: Node, path: str) -> Node | None:
    node = top
    for step in path[: DEPTH_MAX + 1]:
        if not isinstance(node, Inner):
            return None
        node = node.right if step == "1" else node.left
    return node if node.count else None


def _nodes(top: Node, bytes_max: int) -> Iterator[PartNode]:
    waiting, left, count = [top], bytes_max, 0
    has_entry = False
    while waiting:
        node = waiting.pop()
        is_full = has_entry and (left <= 0 or count + len(waiting) >= PART_NODES_MAX - 2)
        count += 1
        if isinstance(node, Inner) and not is_full:
            waiting += (node.right, node.left)
            yield StateFork()
        elif isinstance(node, Leaf) and not (is_full or (has_entry and _size(node) > left)):
            has_entry, left = True, left - _size(node)
            yield StateEntry(node.key, node.value)
        else:
            left = 0 if isinstance(node, Leaf) else left
            yield StateStub(node.digest)


def _size(leaf: Leaf) -> int:
    return len(leaf.key) + len(leaf.value) + _ENTRY_OVERHEAD_BYTES
