"""A damaged store is refused with the place of the damage, never read as if it were whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.fields import Height
from node.store import (
    ChainReader,
    CorruptRowError,
    CorruptStoreError,
    NewerSchemaError,
    Store,
    StoreUnavailableError,
)
from tests.node.notebook import CHAIN, NotebookChain


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    chain = NotebookChain()
    with Store.open(tmp_path, CHAIN) as store:
        store.plant(chain.genesis_state)
        for place in range(3):
            store.append(*chain.next_block((f"note-{place}", "text"), ("other", "words")))
        store.persist_safety(Height(4), [b"vote"])
    return tmp_path


def flip(directory: Path, table: str, column: str, where: str) -> None:
    """Flip one bit in the middle of a stored value."""
    with sqlite3.connect(directory / "chain.sqlite3") as connection:
        (value,) = connection.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()  # noqa: S608
        middle = len(value) // 2
        flipped = value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1 :]
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (flipped,))  # noqa: S608
    connection.close()


def read_block(reader: ChainReader) -> object:
    """Read the second block, its transactions, and its receipts as lists show them."""
    return (
        reader.certified_block(Height(2)),
        reader.transactions(limit=99),
        reader.blocks(limit=9),
        reader.events(0, 99),
    )


@pytest.mark.parametrize(
    "table, column, where, read",
    [
        ("blocks", "id", "height = 2", read_block),
        ("blocks", "block", "height = 2", read_block),
        ("transactions", "id", "height = 2 AND position = 1", read_block),
        ("receipts", "receipt", "height = 2 AND position = 0", read_block),
        ("state", "value", "key = CAST('note/other' AS BLOB)", ChainReader.load_state),
        ("state", "key", "key = CAST('note/other' AS BLOB)", ChainReader.load_state),
    ],
)
def test_a_flipped_bit_is_found_and_named(
    directory: Path, table: str, column: str, where: str, read: Callable[[ChainReader], object]
) -> None:
    flip(directory, table, column, where)

    with ChainReader.open_readonly(directory) as reader, pytest.raises(CorruptRowError) as caught:
        read(reader)

    assert caught.value.table in {table, "blocks", "transactions"}
    assert caught.value.row


def test_a_node_does_not_start_on_a_damaged_last_block(directory: Path) -> None:
    flip(directory, "blocks", "block", "height = 3")

    with pytest.raises(CorruptRowError, match="height 3"):
        Store.open(directory, CHAIN)


def test_a_damaged_vote_is_never_taken_for_none(directory: Path) -> None:
    flip(directory, "safety", "record", "height = 4")

    with Store.open(directory, CHAIN) as store, pytest.raises(CorruptRowError, match="may not sign"):
        store.safety(Height(4))


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "chain.sqlite3").write_bytes(b"not a database at all" * 1_000)

    with pytest.raises(CorruptStoreError, match="fetches the chain from its peers"):
        Store.open(tmp_path, CHAIN)


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "chain.sqlite3")
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()

    with pytest.raises(CorruptStoreError, match="not a database of a Foedus node"):
        Store.open(tmp_path, CHAIN)


def test_a_newer_schema_is_refused_with_what_to_do(directory: Path) -> None:
    connection = sqlite3.connect(directory / "chain.sqlite3")
    connection.execute("PRAGMA user_version=99")
    connection.close()

    with pytest.raises(NewerSchemaError, match="install the version"):
        Store.open(directory, CHAIN)


def test_overwritten_pages_are_found(directory: Path) -> None:
    path = directory / "chain.sqlite3"
    data = bytearray(path.read_bytes())
    data[4_096:] = b"\xa5" * (len(data) - 4_096)
    path.write_bytes(data)

    with pytest.raises(CorruptStoreError):
        Store.open(directory, CHAIN)


def test_reading_where_nothing_is_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="no such file"):
        ChainReader.open_readonly(tmp_path)


def test_a_full_disk_appends_nothing_and_the_store_goes_on(directory: Path) -> None:
    with Store.open(directory, CHAIN) as store:
        pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
        store._writer.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(StoreUnavailableError, match="full"):
            store.persist_safety(Height(4), [b"x" * 500_000])
        store._writer.execute("PRAGMA max_page_count=1000000")
        store.persist_safety(Height(4), [b"y"])
        assert store.safety(Height(4)) == [b"vote", b"y"]
