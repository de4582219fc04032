"""States in parts: whoever sends them, what is put together is the state under the root or nothing."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.codec import decode, encode
from ledger.digest import ZERO_DIGEST, Digest, digest
from ledger.state_map import StateMap
from ledger.state_parts import (
    PART_ANSWER_BYTES_MAX,
    FalsePartError,
    PartNode,
    StateEntry,
    StateFork,
    StatePart,
    StateStub,
    Subtree,
    check_part,
    part_of,
    whole,
)

STATE = StateMap.build((b"key/%d" % number, b"v" * (number % 50)) for number in range(500))
TOP = whole(STATE.root)[0]


def gathered(state: StateMap, bytes_max: int) -> tuple[StateMap, int]:
    """Fetch a state part by part, and count the parts."""
    waiting, items, parts = list(whole(state.root)), dict[bytes, bytes](), 0
    while waiting:
        subtree = waiting.pop()
        part = part_of(state, subtree.path, bytes_max=bytes_max)
        assert part is not None
        found = check_part(decode(encode(part), StatePart, bytes_max=PART_ANSWER_BYTES_MAX), subtree)
        assert not items.keys() & dict(found.entries).keys()
        items.update(found.entries)
        waiting.extend(found.rest)
        parts += 1
    return StateMap.build(items.items()), parts


@given(
    st.dictionaries(st.binary(max_size=8), st.binary(max_size=40), max_size=60), st.integers(min_value=0, max_value=500)
)
def test_a_state_comes_together_again_whatever_the_size_of_its_parts(items: dict[bytes, bytes], bytes_max: int) -> None:
    state = StateMap.build(items.items())

    found, parts = gathered(state, bytes_max)

    assert found.root == state.root
    assert parts <= max(len(items), 0)


def test_a_part_is_bounded_and_the_number_of_parts_follows_the_size() -> None:
    found, parts = gathered(STATE, 1_000)

    assert found.root == STATE.root
    assert 20 < parts < 80
    size = sum(len(key) + len(value) + 16 for key, value in STATE.items())
    part = part_of(STATE, "", bytes_max=1_000)
    assert part is not None
    assert len(encode(part)) < 2_500 < size


def test_one_entry_larger_than_a_part_comes_alone() -> None:
    state = StateMap.build([(b"small", b"1"), (b"large", bytes(5_000)), (b"other", b"2")])

    assert gathered(state, 10)[0].root == state.root


def test_an_empty_state_needs_no_part() -> None:
    assert whole(StateMap.empty().root) == ()


def test_there_is_no_part_below_a_leaf_or_beside_the_tree() -> None:
    assert part_of(STATE, "0" * 200) is None
    assert part_of(StateMap.empty(), "") is None
    assert part_of(StateMap.build([(b"one", b"1")]), "0") is None


def _nodes() -> list[PartNode]:
    part = part_of(STATE, "", bytes_max=2_000)
    assert part is not None
    return list(part.nodes)


def _first(nodes: list[PartNode], kind: type[PartNode]) -> int:
    return next(place for place, node in enumerate(nodes) if isinstance(node, kind))


def wrong_value(nodes: list[PartNode]) -> list[PartNode]:
    place = _first(nodes, StateEntry)
    entry = nodes[place]
    assert isinstance(entry, StateEntry)
    return [*nodes[:place], StateEntry(entry.key, entry.value + b"!"), *nodes[place + 1 :]]


def wrong_key(nodes: list[PartNode]) -> list[PartNode]:
    place = _first(nodes, StateEntry)
    return [*nodes[:place], StateEntry(b"mine", b"all"), *nodes[place + 1 :]]


def wrong_stub(nodes: list[PartNode]) -> list[PartNode]:
    place = _first(nodes, StateStub)
    return [*nodes[:place], StateStub(digest("test", b"stub")), *nodes[place + 1 :]]


def dropped_entry(nodes: list[PartNode]) -> list[PartNode]:
    place = _first(nodes, StateEntry)
    return [*nodes[:place], StateStub(ZERO_DIGEST), *nodes[place + 1 :]]


def truncated(nodes: list[PartNode]) -> list[PartNode]:
    return nodes[:-1]


def longer(nodes: list[PartNode]) -> list[PartNode]:
    return [*nodes, StateEntry(b"more", b"")]


def swapped(nodes: list[PartNode]) -> list[PartNode]:
    place = _first(nodes, StateEntry)
    return [*nodes[:place], nodes[-1], *nodes[place + 1 : -1], nodes[place]]


def bare(_: list[PartNode]) -> list[PartNode]:
    return [StateStub(STATE.root)]


def nothing(_: list[PartNode]) -> list[PartNode]:
    return []


def endless(_: list[PartNode]) -> list[PartNode]:
    return [StateFork()] * 2_000


@pytest.mark.parametrize(
    "lie",
    [wrong_value, wrong_key, wrong_stub, dropped_entry, truncated, longer, swapped, bare, nothing, endless],
)
def test_a_false_part_is_refused(lie: Callable[[list[PartNode]], list[PartNode]]) -> None:
    with pytest.raises(FalsePartError):
        check_part(StatePart(tuple(lie(_nodes()))), TOP)


def test_a_part_of_another_place_or_of_another_state_is_refused() -> None:
    left, right = part_of(STATE, "0"), part_of(STATE, "1")
    assert left is not None
    assert right is not None
    (_, right_stub) = [node for node in (part_of(STATE, "", bytes_max=0) or left).nodes if isinstance(node, StateStub)][
        -2:
    ]

    check_part(right, Subtree("1", Digest(right_stub.digest)))
    with pytest.raises(FalsePartError):
        check_part(left, Subtree("1", Digest(right_stub.digest)))
    with pytest.raises(FalsePartError):
        check_part(left, Subtree("0", STATE.update({b"key/1": b"x"}).root))


def test_a_state_that_goes_on_still_serves_the_height_it_had() -> None:
    dice = random.Random(7)
    later = STATE.update({b"key/%d" % dice.randrange(500): b"changed" for _ in range(50)})

    assert gathered(STATE, 500)[0].root == STATE.root
    assert gathered(later, 500)[0].root == later.root
