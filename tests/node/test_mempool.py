"""The mempool: bounded, fair, in the order of nonces."""

from __future__ import annotations

import pytest

from fl.records import EvaluationReport
from ledger.application import RefusalError
from ledger.codec import encode
from ledger.digest import digest
from ledger.identity import SigningKey
from ledger.transaction import decode_transaction, sign_transaction
from node.mempool import Mempool, MempoolError, MempoolLimits
from tests.fl.consortium import CHAIN, NAMES, Consortium, key_of, task_spec

LIMITS = MempoolLimits(transactions_max=8, bytes_max=100_000, transactions_per_sender_max=5)


def pool(consortium: Consortium, limits: MempoolLimits = LIMITS) -> Mempool:
    return Mempool(consortium.application, CHAIN, limits)


def say(name: str, nonce: int, *, samples: int = 10, key: SigningKey | None = None) -> bytes:
    signer = key or key_of(name, "participant")
    return encode(sign_transaction(signer, CHAIN, "evaluation", nonce, EvaluationReport("heart", 0, samples, ())))


def speakers(raws: list[bytes]) -> list[tuple[str, int]]:
    names = {key_of(name, "participant").public_key: name for name in NAMES}
    return [(names[one.sender], one.nonce) for one in map(decode_transaction, raws)]


def fill(mempool: Mempool, consortium: Consortium, *counts: tuple[str, int]) -> None:
    for name, count in counts:
        for nonce in range(count):
            mempool.add(say(name, nonce), consortium.state)


def refused(mempool: Mempool, consortium: Consortium, raw: bytes) -> str:
    with pytest.raises(MempoolError) as caught:
        mempool.add(raw, consortium.state)
    return caught.value.code


def test_senders_take_turns_and_each_keeps_the_order_of_its_nonces() -> None:
    consortium = Consortium.begin(task_spec())
    mempool = pool(consortium)
    fill(mempool, consortium, ("va", 3), ("hungary", 2), ("cleveland", 1))
    assert speakers(mempool.select(consortium.state, 100, 100_000)) == [
        ("va", 0),
        ("hungary", 0),
        ("cleveland", 0),
        ("va", 1),
        ("hungary", 1),
        ("va", 2),
    ]


def test_a_block_takes_no_more_than_there_is_room_for() -> None:
    consortium = Consortium.begin(task_spec())
    mempool = pool(consortium)
    fill(mempool, consortium, ("va", 3), ("hungary", 2))
    assert len(mempool.select(consortium.state, 2, 100_000)) == 2
    size = len(say("va", 0))
    assert len(mempool.select(consortium.state, 100, 3 * size)) == 3


def test_a_gap_in_the_nonces_waits_until_it_is_filled() -> None:
    consortium = Consortium.begin(task_spec())
    mempool = pool(consortium)
    mempool.add(say("va", 1), consortium.state)
    assert not mempool.has_next(consortium.state)
    assert mempool.select(consortium.state, 100, 100_000) == []
    mempool.add(say("va", 0), consortium.state)
    assert mempool.has_next(consortium.state)
    assert speakers(mempool.select(consortium.state, 100, 100_000)) == [("va", 0), ("va", 1)]


def test_the_same_transaction_again_is_no_error_and_no_second_one() -> None:
    consortium = Consortium.begin(task_spec())
    mempool = pool(consortium)
    first = mempool.add(say("va", 0), consortium.state)
    again = mempool.add(say("va", 0), consortium.state)
    assert (first[0], True) == first
    assert again == (first[0], False)
    assert len(mempool) == 1


def test_another_transaction_with_a_waiting_nonce_is_refused() -> None:
    consortium = Consortium.begin(task_spec())
    mempool = pool(consortium)
    fill(mempool, consortium, ("va", 1))
    assert refused(mempool, consortium, say("va", 0, samples=11)) == "transaction.nonce_taken"


def test_a_used_nonce_and_one_too_far_ahead_are_refused() -> None:
    consortium = Consortium.begin(task_spec())
    consortium.block(say("va", 0))
    mempool = pool(consortium)
    assert refused(mempool, consortium, say("va", 0)) == "transaction.stale_nonce"
    assert refused(mempool, consortium, say("va", 6)) == "transaction.nonce_gap"
    mempool.add(say("va", 5), consortium.state)


def test_strangers_forgers_and_nonsense_do_not_get_in() -> None:
    consortium = Consortium.begin(task_spec())
    mempool = pool(consortium)
    with pytest.raises(RefusalError, match="not registered"):
        mempool.add(say("", 0, key=SigningKey(bytes(32))), consortium.state)
    forged = bytearray(say("va", 0))
    forged[-1] ^= 1
    assert refused(mempool, consortium, bytes(forged)) == "transaction.bad_signature"
    assert refused(mempool, consortium, b"\x95nonsense") == "transaction.malformed"
    other = encode(
        sign_transaction(
            key_of("va", "participant"), digest("other-chain"), "evaluation", 0, EvaluationReport("heart", 0, 1, ())
        )
    )
    assert refused(mempool, consortium, other) == "transaction.bad_signature"
    assert len(mempool) == 0
    assert mempool.size_bytes == 0


def test_results_are_not_queued_by_anybody() -> None:
    consortium = Consortium.begin(task_spec())
    raw = encode(
        sign_transaction(key_of("va", "participant"), CHAIN, "aggregate", 0, EvaluationReport("heart", 0, 1, ()))
    )
    with pytest.raises(RefusalError, match="put into blocks by proposers"):
        pool(consortium).add(raw, consortium.state)


def test_one_sender_cannot_hold_more_than_its_share() -> None:
    consortium = Consortium.begin(task_spec())
    limits = MempoolLimits(transactions_max=100, bytes_max=100_000, transactions_per_sender_max=3)
    mempool = pool(consortium, limits)
    fill(mempool, consortium, ("va", 3))
    # The window of nonces is as long as the share, so a full sender's next one is too far ahead.
    assert refused(mempool, consortium, say("va", 3)) == "transaction.nonce_gap"


def test_in_a_full_pool_whoever_holds_the_most_makes_room_for_one_with_less() -> None:
    consortium = Consortium.begin(task_spec())
    mempool = pool(consortium)
    fill(mempool, consortium, ("va", 5), ("hungary", 3))
    mempool.add(say("cleveland", 0), consortium.state)
    assert len(mempool) == 8
    left = speakers(mempool.select(consortium.state, 100, 100_000))
    assert ("va", 4) not in left
    assert ("cleveland", 0) in left


def test_in_a_full_pool_whoever_holds_the_most_gets_nothing_more() -> None:
    consortium = Consortium.begin(task_spec())
    limits = MempoolLimits(transactions_max=4, bytes_max=100_000, transactions_per_sender_max=5)
    mempool = pool(consortium, limits)
    fill(mempool, consortium, ("va", 4))
    assert refused(mempool, consortium, say("va", 4)) == "mempool.full"


def test_bytes_are_bounded_too() -> None:
    consortium = Consortium.begin(task_spec())
    size = len(say("va", 0))
    limits = MempoolLimits(transactions_max=100, bytes_max=2 * size, transactions_per_sender_max=5)
    mempool = pool(consortium, limits)
    fill(mempool, consortium, ("va", 2))
    mempool.add(say("hungary", 0), consortium.state)
    assert mempool.size_bytes <= 2 * size
    assert speakers(mempool.raws(100)) == [("va", 0), ("hungary", 0)]


def test_what_stands_in_a_block_leaves_the_pool() -> None:
    consortium = Consortium.begin(task_spec())
    mempool = pool(consortium)
    fill(mempool, consortium, ("va", 3), ("hungary", 1))
    consortium.block(*mempool.select(consortium.state, 3, 100_000))
    mempool.prune(consortium.state)
    assert speakers(mempool.raws(100)) == [("va", 2)]
    assert mempool.next_free_nonce(consortium.state, key_of("va", "participant").public_key) == 3


def test_one_sender_cannot_fill_the_pool_with_large_transactions() -> None:
    """It holds few, and so would never be the one that holds the most."""
    consortium = Consortium.begin(task_spec())
    size = len(say("va", 0))
    mempool = pool(consortium, MempoolLimits(transactions_max=50, bytes_max=100_000, bytes_per_sender_max=3 * size + 2))
    fill(mempool, consortium, ("va", 3))
    assert refused(mempool, consortium, say("va", 3)) == "mempool.sender_full"


def test_when_bytes_are_short_whoever_holds_the_most_bytes_makes_room() -> None:
    consortium = Consortium.begin(task_spec())
    sizes = [len(say("va", nonce, samples=2**40)) for nonce in range(4)]
    mempool = pool(consortium, MempoolLimits(transactions_max=50, bytes_max=sum(sizes) + 1))
    for nonce in range(4):
        mempool.add(say("va", nonce, samples=2**40), consortium.state)
    mempool.add(say("hungary", 0), consortium.state)
    assert speakers(mempool.raws(50)) == [("va", 0), ("va", 1), ("va", 2), ("hungary", 0)]
