"""Blocks of a batch: on the disk together, and with the first word that consensus persists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.fields import Height
from node.store import ChainReader, Store
from tests.node.notebook import CHAIN, NotebookChain


@pytest.fixture
def chain() -> NotebookChain:
    return NotebookChain()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path, CHAIN) as opened:
        opened.plant(NotebookChain().genesis_state)
        yield opened


def height_on_disk(path: Path) -> int:
    with ChainReader.open_readonly(path) as reader:
        tip = reader.tip()
    return 0 if tip is None else tip.height


def test_blocks_of_a_batch_become_durable_together(store: Store, chain: NotebookChain, tmp_path: Path) -> None:
    with store.batch():
        for _ in range(3):
            store.append(*chain.next_block(("a", "1")))
        assert height_on_disk(tmp_path) == 0

    assert height_on_disk(tmp_path) == 3
    assert store.load_state().root == chain.state.root


def test_what_is_signed_on_top_of_a_batch_is_on_disk_with_all_below_it(
    store: Store, chain: NotebookChain, tmp_path: Path
) -> None:
    with store.batch():
        store.append(*chain.next_block(("a", "1")))
        store.persist_safety(Height(2), [b"vote"])
        assert height_on_disk(tmp_path) == 1
        assert store.safety(Height(2)) == [b"vote"]
        store.append(*chain.next_block(("a", "2")))
        assert height_on_disk(tmp_path) == 1

    assert height_on_disk(tmp_path) == 2
    assert store.safety(Height(2)) == []


def test_a_fault_in_a_batch_keeps_the_whole_blocks_before_it(
    store: Store, chain: NotebookChain, tmp_path: Path
) -> None:
    def fail_after_one_block() -> None:
        with store.batch():
            store.append(*chain.next_block(("a", "1")))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_one_block()

    assert height_on_disk(tmp_path) == 1
