"""Chains that are not on the disk in full: pruned, or begun with a snapshot."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.chain import CertifiedHeader
from ledger.codec import decode, encode
from ledger.fields import Height
from ledger.transaction import transaction_id
from node.store import HeaderAhead, Store
from tests.node.notebook import CHAIN, VALIDATORS, NotebookChain


@pytest.fixture
def chain() -> NotebookChain:
    return NotebookChain()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data", CHAIN) as opened:
        opened.plant(NotebookChain().genesis_state)
        yield opened


def headers(store: Store) -> list[CertifiedHeader]:
    raws = store.encoded_headers(Height(1), limit=100, bytes_max=1 << 20)
    return [decode(raw, CertifiedHeader, bytes_max=1 << 16) for raw in raws]


def test_a_pruned_block_leaves_its_header_and_its_certificate(store: Store, chain: NotebookChain) -> None:
    blocks = [chain.next_block(("a", str(number)), ("b", "2")) for number in range(10)]
    for certified, execution in blocks:
        store.append(certified, execution)

    store.prune(Height(7))

    assert store.blocks_from == 7
    assert [store.certified_block(Height(height)) is None for height in (6, 7)] == [True, False]
    assert headers(store) == [CertifiedHeader(one.block.header, one.certificate) for one, _ in blocks]
    assert store.receipts(Height(6)) == ()
    assert store.transaction(transaction_id(blocks[0][0].block.transactions[0])) is None
    assert store.transaction(transaction_id(blocks[6][0].block.transactions[0])) is not None
    assert [(one.pruned, one.transaction_count) for one in store.blocks(limit=5)][-2:] == [(False, 2), (True, 2)]
    assert store.load_state().root == chain.state.root


def test_numbers_are_never_given_twice_whatever_is_pruned(store: Store, chain: NotebookChain) -> None:
    for _ in range(3):
        store.append(*chain.next_block(("a", "1")))
    store.append(*chain.next_block())
    last = store.last_event()

    store.prune(Height(4))
    store.append(*chain.next_block(("a", "2")))

    assert store.last_event() == last + 1


def test_a_pruned_chain_opens_again_and_grows(tmp_path: Path, chain: NotebookChain) -> None:
    with Store.open(tmp_path, CHAIN) as store:
        store.plant(chain.genesis_state)
        for _ in range(3):
            store.append(*chain.next_block(("a", "1")))
        store.prune(Height(3))
    with Store.open(tmp_path, CHAIN) as store:
        store.append(*chain.next_block(("a", "2")))
        assert store.blocks_from == 3
        assert len(headers(store)) == 4


def test_a_snapshot_takes_the_place_of_blocks_and_ends_their_safety_records(
    tmp_path: Path, store: Store, chain: NotebookChain
) -> None:
    blocks = [chain.next_block(("a", str(number))) for number in range(6)]
    store.append(*blocks[0])
    store.persist_safety(Height(2), [b"vote"])
    ahead = [
        HeaderAhead(CertifiedHeader(one.block.header, one.certificate), VALIDATORS if place == 2 else None)
        for place, (one, _) in enumerate(blocks[1:5])
    ]
    store.keep_ahead(ahead[:2])
    store.keep_ahead(ahead[2:])

    assert store.tip() == (1, blocks[0][0].block.id, 1_000)
    assert store.last_ahead() == (ahead[-1].certified, VALIDATORS)
    store.install(ahead[-1].certified, blocks[4][1].state)

    assert store.tip() == (5, blocks[4][0].block.id, 5_000)
    assert store.blocks_from == 6
    assert store.last_ahead() is None
    assert store.safety(Height(2)) == []
    assert store.certified_block(Height(1)) == blocks[0][0]
    assert [one.transaction_count for one in store.blocks(limit=9)] == [None] * 4 + [1]
    assert store.load_state().root == blocks[4][1].state.root
    store.append(*blocks[5])
    assert [encode(one) for one in headers(store)] == [
        encode(CertifiedHeader(one.block.header, one.certificate)) for one, _ in blocks
    ]
    assert tmp_path.exists()


def test_blocks_that_come_first_end_the_wait_of_their_headers(store: Store, chain: NotebookChain) -> None:
    certified, execution = chain.next_block(("a", "1"))
    store.keep_ahead([HeaderAhead(CertifiedHeader(certified.block.header, certified.certificate), None)])

    store.append(certified, execution)

    assert store.last_ahead() is None


def test_a_database_of_the_first_schema_is_brought_up_to_date(tmp_path: Path, chain: NotebookChain) -> None:
    with Store.open(tmp_path, CHAIN) as store:
        store.plant(chain.genesis_state)
        store.append(*chain.next_block(("a", "1")))
    connection = sqlite3.connect(tmp_path / "chain.sqlite3")
    connection.executescript("DROP TABLE ahead; PRAGMA user_version=1")
    connection.close()

    with Store.open(tmp_path, CHAIN) as store:
        assert store.last_ahead() is None
        store.append(*chain.next_block(("a", "2")))
        assert store.tip() is not None
