"""The store on real files: what is appended comes back, all or nothing, also after a crash."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from ledger.block import CertifiedBlock
from ledger.codec import decode, encode
from ledger.digest import digest
from ledger.fields import Height
from ledger.receipt import Receipt
from ledger.state_map import StateMap
from ledger.transaction import transaction_id
from node.store import ChainReader, OtherChainError, Store, StoreInUseError
from tests.node.notebook import CHAIN, WRITER, NotebookChain


@pytest.fixture
def chain() -> NotebookChain:
    return NotebookChain()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "data", CHAIN)
    opened.plant(NotebookChain().genesis_state)
    yield opened
    opened.close()


def test_an_empty_store_has_no_tip_and_the_genesis_state(store: Store, chain: NotebookChain) -> None:
    store.plant(StateMap.build([(b"planted", b"twice")]))

    assert store.tip() is None
    assert store.load_state().root == chain.genesis_state.root
    assert store.certified_block(Height(1)) is None
    assert store.last_event() == 0


def test_an_appended_block_comes_back_bit_for_bit(store: Store, chain: NotebookChain) -> None:
    certified, execution = chain.next_block(("a", "one"), ("b", "forbidden"))

    store.append(certified, execution)

    assert store.tip() == (1, certified.block.id, 1_000)
    assert store.certified_block(Height(1)) == certified
    assert store.header(Height(1)) == certified.block.header
    assert store.block_height(certified.block.id) == 1
    assert store.encoded_blocks(Height(1), limit=9, bytes_max=1 << 20) == [encode(certified)]
    assert store.receipts(Height(1)) == tuple(encode(receipt) for receipt in execution.receipts)
    assert store.load_state().root == execution.state.root


def test_state_survives_reopening_with_removed_keys_gone(tmp_path: Path, chain: NotebookChain) -> None:
    with Store.open(tmp_path, CHAIN) as store:
        store.plant(chain.genesis_state)
        store.append(*chain.next_block(("a", "one"), ("b", "two")))
        store.append(*chain.next_block(("a", ""), ("b", "three")))

    with Store.open(tmp_path, CHAIN) as store:
        assert dict(store.load_state().items()) == dict(chain.state.items())
        assert store.state_items(b"note/", limit=9) == [(b"note/b", b"three")]


@pytest.mark.parametrize("length", [0, 1, 100, 250, 256, 60_000, 65_300])
def test_a_transaction_is_cut_from_its_block_whatever_its_length(
    store: Store, chain: NotebookChain, length: int
) -> None:
    notes = [("k", "x" * length), *((f"n{place}", "y") for place in range(20)), ("last", "z" * length)]
    certified, execution = chain.next_block(*notes)
    store.append(certified, execution)

    for place, raw in enumerate(certified.block.transactions):
        found = store.transaction(transaction_id(raw))
        assert found is not None
        assert (found.raw, found.height, found.index) == (raw, 1, place)
        assert found.receipt == execution.receipts[place]


def test_transactions_are_listed_newest_first_and_page_on_without_a_gap(store: Store, chain: NotebookChain) -> None:
    for height in range(3):
        store.append(*chain.next_block(*((f"{height}-{place}", "text") for place in range(3))))

    whole = store.transactions(limit=99)
    first = store.transactions(limit=4)
    second = store.transactions(limit=99, before=first[-1].sequence)

    assert [(one.height, one.index) for one in whole] == [(h, i) for h in (3, 2, 1) for i in (2, 1, 0)]
    assert first + second == whole
    assert store.transactions(limit=9, kind="other") == []
    assert store.transactions(limit=99, kind="note", sender=WRITER.public_key) == whole
    assert store.transactions(limit=9, sender=bytes(32)) == []


def test_events_are_numbered_over_the_whole_chain_and_resume_after_any(store: Store, chain: NotebookChain) -> None:
    store.append(*chain.next_block(("a", "1"), ("b", "forbidden"), ("c", "1")))
    store.append(*chain.next_block(("d", "1")))

    events = store.events(0, 99)

    assert [(one.sequence, one.height, one.index, one.event.subject) for one in events] == [
        (1, 1, 0, "a"),
        (2, 1, 2, "c"),
        (3, 2, 0, "d"),
    ]
    assert store.events(2, 99) == events[2:]
    assert store.last_event() == 3


def test_blocks_are_listed_newest_first(store: Store, chain: NotebookChain) -> None:
    for _ in range(4):
        store.append(*chain.next_block(("a", "1")))

    assert [one.header.height for one in store.blocks(limit=2)] == [4, 3]
    assert [one.header.height for one in store.blocks(before=Height(3), limit=9)] == [2, 1]
    assert store.blocks(limit=1)[0].transaction_count == 1


def test_blocks_for_a_peer_stop_at_the_byte_limit_but_give_at_least_one(store: Store, chain: NotebookChain) -> None:
    for _ in range(3):
        store.append(*chain.next_block(("a", "1" * 1_000)))
    size = len(store.encoded_blocks(Height(1), limit=1, bytes_max=1)[0])

    assert len(store.encoded_blocks(Height(1), limit=9, bytes_max=2 * size)) == 2
    heights = [
        decode(data, CertifiedBlock, bytes_max=1 << 20).block.height
        for data in store.encoded_blocks(Height(2), limit=9, bytes_max=1 << 20)
    ]
    assert heights == [2, 3]


def test_state_keys_page_upwards_and_downwards_within_their_prefix(store: Store, chain: NotebookChain) -> None:
    store.append(*chain.next_block(*((name, "1") for name in "abcd")))

    up = [key for key, _ in store.state_items(b"note/", after=b"note/b", limit=9)]
    down = [key for key, _ in store.state_items_down(b"note/", before=b"note/d", limit=2)]

    assert up == [b"note/c", b"note/d"]
    assert down == [b"note/c", b"note/b"]


def test_safety_records_keep_their_order_and_end_with_their_height(store: Store, chain: NotebookChain) -> None:
    store.persist_safety(Height(1), [b"proposal", b"vote"])
    store.persist_safety(Height(1), [b"lock"])
    store.persist_safety(Height(2), [b"early"])
    assert store.safety(Height(1)) == [b"proposal", b"vote", b"lock"]

    store.append(*chain.next_block(("a", "1")))

    assert store.safety(Height(1)) == []
    assert store.safety(Height(2)) == [b"early"]


def test_every_opening_for_writing_has_a_boot_epoch_of_its_own(tmp_path: Path) -> None:
    epochs = []
    for _ in range(3):
        with Store.open(tmp_path, CHAIN) as store:
            epochs.append(store.boot_epoch)
        ChainReader.open_readonly(tmp_path).close()

    assert epochs == [1, 2, 3]


def test_two_writers_never_share_a_directory(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreInUseError, match=str(os.getpid())):
        Store.open(tmp_path / "data", CHAIN)


def test_a_directory_of_another_chain_is_refused_and_left_alone(tmp_path: Path, chain: NotebookChain) -> None:
    with Store.open(tmp_path, CHAIN) as store:
        store.plant(chain.genesis_state)
        store.append(*chain.next_block(("a", "1")))

    with pytest.raises(OtherChainError, match=CHAIN.hex()):
        Store.open(tmp_path, digest("genesis", b"other"))

    with Store.open(tmp_path, CHAIN) as store:
        assert store.boot_epoch == 2


def test_a_reader_sees_new_blocks_while_the_writer_goes_on(store: Store, chain: NotebookChain, tmp_path: Path) -> None:
    store.append(*chain.next_block(("a", "1")))
    with ChainReader.open_readonly(tmp_path / "data") as reader:
        assert reader.chain_id == CHAIN
        store.append(*chain.next_block(("b", "1")))
        tip = reader.tip()
        assert tip is not None
        assert tip.height == 2
        assert reader.load_state().root == chain.state.root


def test_a_copy_of_the_files_of_a_running_node_can_be_read(store: Store, chain: NotebookChain, tmp_path: Path) -> None:
    store.append(*chain.next_block(("a", "1")))
    shutil.copytree(tmp_path / "data", tmp_path / "copy")

    with ChainReader.open_readonly(tmp_path / "copy") as reader:
        assert reader.load_state().root == chain.state.root
        assert reader.counts()["receipts"] == 2


def test_an_append_that_fails_half_way_leaves_nothing(store: Store, chain: NotebookChain) -> None:
    store.append(*chain.next_block(("a", "1")))
    certified, execution = chain.next_block(("b", "1"))
    store._writer.execute("CREATE TEMP TRIGGER broken BEFORE INSERT ON state BEGIN SELECT RAISE(ABORT, 'broken'); END")

    with pytest.raises(Exception, match="broken"):
        store.append(certified, execution)

    tip = store.tip()
    assert tip is not None
    assert tip.height == 1
    assert store.receipts(Height(2)) == ()
    store._writer.execute("DROP TRIGGER broken")
    store.append(certified, execution)
    assert store.load_state().root == chain.state.root


def test_a_chain_without_its_genesis_state_is_never_begun(tmp_path: Path, chain: NotebookChain) -> None:
    with Store.open(tmp_path, CHAIN) as store, pytest.raises(AssertionError, match="planted first"):
        store.append(*chain.next_block(("a", "1")))


def test_an_execution_of_another_block_is_never_stored(store: Store, chain: NotebookChain) -> None:
    first, _ = chain.next_block(("a", "1"))
    _, other = NotebookChain().next_block(("b", "1"))

    with pytest.raises(AssertionError, match="execution belongs"):
        store.append(first, other)
    assert store.tip() is None


def test_receipts_decode_to_what_execution_gave(store: Store, chain: NotebookChain) -> None:
    store.append(*chain.next_block(("a", "forbidden")))

    refused = decode(store.receipts(Height(1))[0], Receipt, bytes_max=1 << 16)

    assert (refused.code, refused.detail) == ("note.forbidden", "a may not say this")


KILLED_WRITER = """
import sys
from pathlib import Path
from ledger.fields import Height
from node.store import Store
from tests.node.notebook import CHAIN, NotebookChain
chain = NotebookChain()
with Store.open(Path(sys.argv[1]), CHAIN) as store:
    store.plant(chain.genesis_state)
    for number in range(10_000):
        store.persist_safety(Height(number + 1), [b"vote %d" % number])
        print(f"safety {number + 1}", flush=True)
        store.append(*chain.next_block((f"k{number % 7}", str(number))))
        print(f"block {number + 1}", flush=True)
"""


def test_what_was_reported_as_written_survives_sigkill(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", KILLED_WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    said = [writer.stdout.readline().split() for _ in range(41)]
    writer.send_signal(signal.SIGKILL)
    said += [line.split() for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    writer.stdout.close()
    writer.wait()

    with Store.open(tmp_path, CHAIN) as store:
        tip = store.tip()
        assert tip is not None
        blocks = [int(height) for what, height in said if what == "block"]
        votes = [int(height) for what, height in said if what == "safety"]
        assert tip.height in {blocks[-1], blocks[-1] + 1}
        if votes[-1] > tip.height:
            assert store.safety(Height(votes[-1])) == [b"vote %d" % (votes[-1] - 1)]
        state = store.load_state()
        assert state.get(b"note/k0") is not None
        headers = [store.certified_block(Height(height)) for height in range(1, tip.height + 1)]
        for parent, child in pairwise(headers):
            assert parent is not None
            assert child is not None
            assert child.block.header.parent_id == parent.block.id


def test_sqlite_fsyncs_every_commit(store: Store) -> None:
    assert store._writer.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert store._writer.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert sqlite3.threadsafety >= 1
