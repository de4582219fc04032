"""How long peers that sent garbage stay away."""

from __future__ import annotations

from ledger.identity import PublicKey
from node.transport.budget import Penalties

PEER = PublicKey(b"p" * 32)


def test_garbage_again_and_again_keeps_a_peer_away_for_twice_as_long_up_to_a_bound() -> None:
    penalties = Penalties(100, 1_000)

    lengths, now_s = [], 0.0
    for _ in range(6):
        lengths.append(penalties.add(PEER, now_s))
        now_s += penalties.left_s(PEER, now_s)

    assert lengths == [100, 200, 400, 800, 1_000, 1_000]


def test_each_longest_absence_of_good_behaviour_halves_what_the_next_one_costs() -> None:
    def next_ms(behaved_s: float) -> int:
        penalties = Penalties(100, 1_000)
        for _ in range(5):
            penalties.add(PEER, 0.0)
        return penalties.add(PEER, penalties.left_s(PEER, 0.0) + behaved_s)

    assert [next_ms(seconds) for seconds in (0.0, 0.9, 1.0, 2.0, 3.0, 10.0, 1e9)] == [
        1_000,
        1_000,
        1_000,
        500,
        250,
        100,
        100,
    ]
