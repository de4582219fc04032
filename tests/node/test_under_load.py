"""Many transactions at once: what a node repeats, and how long it builds a block."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from fl.application import FederatedLearning
from fl.records import EvaluationReport
from genesis.document import GenesisDocument, initial_state
from ledger.codec import encode
from ledger.parameters import ConsensusParameters
from ledger.transaction import sign_transaction
from node.chain import Chain
from node.mempool import Mempool, MempoolLimits
from node.proposals import Proposals
from node.repetition import TO_PRIMARY_MAX, Repetition
from node.results import ResultBook
from node.store import Store
from node.wire import Channel
from tests.node.consortium import mesh
from tests.node.single_node import TRAINER_KEYS, VALIDATOR_KEYS, document, toy_task

WAITING = 100


class NoPayloads:
    """Payloads of a chain without rounds that close."""

    def read_into(self, *_: object) -> None:
        raise AssertionError("nothing is read")


@contextmanager
def chain_of(genesis: GenesisDocument, directory: Path) -> Iterator[Chain]:
    store = Store.open(directory, genesis.chain_id)
    try:
        yield Chain(store, FederatedLearning(), genesis.chain_id, initial_state(genesis), genesis.time_ms)
    finally:
        store.close()


def fill(mempool: Mempool, chain: Chain) -> list[bytes]:
    report = EvaluationReport("toy", 0, 10, ())
    raws = [
        encode(sign_transaction(TRAINER_KEYS["alpha"], chain.chain_id, "evaluation", nonce, report))
        for nonce in range(WAITING)
    ]
    for raw in raws:
        mempool.add(raw, chain.state)
    return raws


def book_of(chain: Chain) -> ResultBook:
    key = VALIDATOR_KEYS["alpha"]
    return ResultBook(key, chain.chain_id, NoPayloads(), lambda _: None, lambda: None)  # type: ignore[arg-type]


@pytest.mark.asyncio
async def test_what_waits_is_repeated_to_one_peer_after_the_other_and_reaches_all(tmp_path: Path) -> None:
    with chain_of(document(toy_task()), tmp_path) as chain:
        mempool = Mempool(FederatedLearning(), chain.chain_id, MempoolLimits())
        raws = fill(mempool, chain)
        async with mesh(7) as sites:
            repetition = Repetition(sites[0].transport, mempool, book_of(chain), lambda: 3)
            repetition.say_again()
            heard: Counter[int] = Counter()
            for turn in range(1, 7):
                repetition.say_again()
                told = (turn % 6) + 1
                for index, count in {3: TO_PRIMARY_MAX, told: WAITING}.items():
                    came = [await sites[index].next() for _ in range(count)]
                    assert came == [(0, Channel.TRANSACTION, raw) for raw in raws[:count]]
                    heard[index] += count
            assert all(site.frames.empty() for site in sites), "nobody was told more than its turn"
            assert heard == {index: WAITING + 5 * TO_PRIMARY_MAX * (index == 3) for index in range(1, 7)}


@pytest.mark.asyncio
async def test_a_proposer_stops_building_while_others_have_time_to_check(tmp_path: Path) -> None:
    hasty = ConsensusParameters(view_timeout_ms=2, resend_ms=1)
    genesis = msgspec.structs.replace(document(toy_task()), parameters=hasty)
    with chain_of(genesis, tmp_path) as chain:
        mempool = Mempool(FederatedLearning(), chain.chain_id, MempoolLimits())
        fill(mempool, chain)
        proposals = Proposals(chain, mempool, book_of(chain), FederatedLearning(), VALIDATOR_KEYS["alpha"])
        execution = await asyncio.to_thread(proposals.build, genesis.time_ms + 1)
        assert execution is not None
        assert 1 <= len(execution.transactions) < WAITING
