"""Which states are kept to be served."""

from __future__ import annotations

from ledger.fields import Height
from ledger.state_map import StateMap
from node.sync.kept import STATES_MAX, STEPS, KeptStates, endurance


def test_states_are_few_and_reach_far_back() -> None:
    kept = KeptStates(Height(0), StateMap.empty())
    for height in range(1, 10_001):
        kept.take(Height(height), StateMap.build([(b"height", str(height).encode())]))
        assert len(kept) <= STATES_MAX

    assert kept.heights == (4_096, 8_192, 9_728, 9_984, 9_999, 10_000)
    state = kept.get(8_192)
    assert state is not None
    assert state.get(b"height") == b"8192"
    assert kept.get(8_193) is None


def test_a_node_that_starts_offers_its_last_state_and_a_new_chain_nothing() -> None:
    assert KeptStates(Height(77), StateMap.empty()).heights == (77,)
    assert KeptStates(Height(0), StateMap.empty()).heights == ()


def test_rounder_heights_are_kept_longer() -> None:
    assert [endurance(height) for height in (7, 32, 512, 8_192)] == list(STEPS)
