"""Writing the chain. One law: a block, its effects and the end of its safety records are one transaction.

Rules of the writer:
    * only one process has a data directory open for writing;
    * a block is appended whole or not at all;
    * a safety record is on disk before the call that persists it returns, so before anything is sent;
    * blocks of a batch become durable together when it ends, or with the first safety record in it: a crash takes the
      whole batch, and the node is as it was before those blocks came;
    * the boot epoch is one higher with every opening, so that a restored copy of a directory can be told.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ledger.block import CertifiedBlock
from ledger.chain import CertifiedHeader
from ledger.codec import encode
from ledger.digest import Digest, digest
from ledger.execution import Execution
from ledger.fields import Height
from ledger.state_map import StateMap
from ledger.transaction import decode_transaction, transaction_id
from node.directories import make_directory
from node.store.database import (
    DirectoryLock,
    commit,
    open_for_reading,
    open_for_writing,
    transaction,
    translated,
)
from node.store.errors import CorruptStoreError, StoreUnavailableError
from node.store.partial import (
    BLOCKS_FROM_KEY,
    PAIR,
    HeaderAhead,
    keep_ahead,
    prune,
    reach_ahead,
    replace_state,
    set_blocks_from,
)
from node.store.reader import CHAIN_ID_KEY, ChainReader
from node.store.rows import Tip

BOOT_EPOCH_KEY: Final = "boot_epoch"
META_VALUE_BYTES_MAX: Final = 4_096
PRUNED_AT_ONCE_MAX: Final = 256
"""Blocks that one call prunes, so that a long chain is pruned over time."""

_MAINTAINED_META: Final = frozenset({CHAIN_ID_KEY, BOOT_EPOCH_KEY, BLOCKS_FROM_KEY})


class Store(ChainReader):
    """The one writer of a data directory; use it from one thread."""

    def __init__(
        self, directory: Path, lock: DirectoryLock, writer: sqlite3.Connection, reader: sqlite3.Connection
    ) -> None:
        super().__init__(directory, reader)
        self._lock: Final = lock
        self._writer: Final = writer
        self._in_batch = False
        self._last: Tip | None = None
        """The last block, of an open batch too."""

    @classmethod
    def open(cls, path: Path, chain_id: Digest) -> Store:
        """Open a data directory, creating it and its database where they are missing.

        Args:
            path: the directory.
            chain_id: chain it must hold.

        Raises:
            StoreInUseError: another process has it open.
            OtherChainError: it holds another chain.
            NewerSchemaError: a newer version wrote it.
            CorruptStoreError: it does not read back.
            StoreUnavailableError: the disk is full, read-only or failing.
        """
        try:
            make_directory(path)
            lock = DirectoryLock(path)
        except OSError as error:
            raise StoreUnavailableError(path, str(error)) from error
        try:
            return cls._open_locked(path, lock, chain_id)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _open_locked(cls, path: Path, lock: DirectoryLock, chain_id: Digest) -> Store:
        writer = open_for_writing(path)
        store: Store | None = None
        try:
            store = cls(path, lock, writer, open_for_reading(path))
            if store.meta(CHAIN_ID_KEY) is None:
                store._put_meta(CHAIN_ID_KEY, chain_id)
            store.require_chain(chain_id)
            store._put_meta(BOOT_EPOCH_KEY, (store.boot_epoch + 1).to_bytes(8, "big"))
            store._last = store._sound_tip()
        except BaseException:
            if store is not None:
                store._reader.close()
            writer.close()
            raise
        return store

    def close(self) -> None:
        """Write the WAL back into the database and let go of the directory."""
        super().close()
        self._writer.close()
        self._lock.release()

    @property
    def boot_epoch(self) -> int:
        """How many times the directory has been opened for writing, this time included."""
        value = self.meta(BOOT_EPOCH_KEY)
        return 0 if value is None else int.from_bytes(value, "big")

    def set_meta(self, key: str, value: bytes) -> None:
        """Keep a fact of this node alone; durable when it returns."""
        assert key not in _MAINTAINED_META, f"{key} is kept by the store itself"
        self._put_meta(key, value)

    def plant(self, genesis_state: StateMap) -> None:
        """Write the state before block 1 into a new store; does nothing in one that holds a state."""
        if self._row("SELECT 1 FROM state LIMIT 1") is None:
            with translated(self._path), transaction(self._writer):
                self._writer.executemany("INSERT INTO state (key, value) VALUES (?, ?)", genesis_state.items())

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Let the blocks that are appended inside become durable together, at the end at the latest.

        Raises:
            StoreUnavailableError: what was not durable yet is lost; the disk is full, read-only or failing.
        """
        assert not self._in_batch, "batches are not nested"
        self._in_batch = True
        try:
            yield
        finally:
            self._in_batch = False
            if self._writer.in_transaction:
                with translated(self._path):
                    commit(self._writer)

    def append(self, certified: CertifiedBlock, execution: Execution) -> None:
        """Append a decided block with all its effects; durable when it returns, or when the batch around it ends.

        Args:
            certified: the block and its verified commit certificate.
            execution: what executing the block on the state of the tip gave.

        Raises:
            StoreUnavailableError: nothing was written; the disk is full, read-only or failing.
        """
        self._require_next(certified, execution)
        height, header = Height(certified.block.height), certified.block.header
        with translated(self._path), transaction(self._writer, leave_open=self._in_batch):
            self._write_block(certified)
            self._write_receipts(execution, height)
            self._write_state(execution.changes)
            self._writer.execute("DELETE FROM safety WHERE height <= ?", (height,))
            self._writer.execute("DELETE FROM ahead WHERE height <= ?", (height,))
        self._last = Tip(height, certified.block.id, header.time_ms)

    def prune(self, below: Height) -> None:
        """Remove the lowest blocks below a height, but for headers and certificates; durable when it returns."""
        first = self.blocks_from
        below = min(below, Height(first + PRUNED_AT_ONCE_MAX))
        if first < below:
            with translated(self._path), transaction(self._writer):
                prune(self._writer, first, below)

    def keep_ahead(self, headers: Sequence[HeaderAhead]) -> None:
        """Keep verified headers above the last block, ascending from what is kept; durable when it returns."""
        with translated(self._path), transaction(self._writer):
            keep_ahead(self._writer, headers)

    def install(self, certified: CertifiedHeader, state: StateMap) -> None:
        """Make a verified header that waits the last block, and the state after it the chain's; durable on return.

        Blocks that are here stay; those between them and the new ones are not here.
        """
        header = certified.header
        height = Height(header.height)
        assert self._last is None or height > self._last.height, "a snapshot leads on"
        assert state.root == header.state_root, "a state belongs to its header"
        assert self.header_ahead(height) == certified, "the headers up to a snapshot are kept first"
        with translated(self._path), transaction(self._writer):
            reach_ahead(self._writer, height)
            replace_state(self._writer, state)
            set_blocks_from(self._writer, height + 1)
            self._writer.execute("DELETE FROM safety WHERE height <= ?", (height,))
        self._last = Tip(height, certified.certificate.block_id, header.time_ms)

    def persist_safety(self, height: Height, records: Sequence[bytes]) -> None:
        """Keep what consensus is about to say at a height; durable when it returns.

        Raises:
            StoreUnavailableError: nothing was written, so nothing may be sent.
        """
        rows = [(height, record, _checksum(height, record)) for record in records]
        with translated(self._path), transaction(self._writer):
            self._writer.executemany("INSERT INTO safety (height, record, checksum) VALUES (?, ?, ?)", rows)

    def safety(self, height: Height) -> list[bytes]:
        """Return the safety records of a height in the order in which they were persisted.

        Raises:
            CorruptRowError: a record is not what was persisted; this node may not sign at this height.
        """
        query = "SELECT sequence, record, checksum FROM safety WHERE height = ? ORDER BY sequence"
        records = []
        for sequence, record, checksum in self._rows(query, height):
            if _checksum(height, record) != checksum:
                raise self._corrupt("safety", str(sequence), "its checksum is wrong: this node may not sign")
            records.append(record)
        return records

    def _require_next(self, certified: CertifiedBlock, execution: Execution) -> None:
        tip = self._last
        header = certified.block.header
        parent = self.chain_id if tip is None else tip.block_id
        assert header.height == (0 if tip is None else tip.height) + 1, "blocks are appended one after the other"
        assert header.parent_id == parent, "a block follows the tip"
        assert tip is not None or self._row("SELECT 1 FROM state LIMIT 1"), "the genesis state is planted first"
        assert certified.certificate.block_id == certified.block.id, "a certificate belongs to its block"
        assert execution.block == certified.block, "an execution belongs to its block"

    def _sound_tip(self) -> Tip | None:
        tip = self.tip()
        is_whole = tip is not None and tip.height >= self.blocks_from
        if tip is not None and (self.certified_block if is_whole else self.certified_header)(tip.height) is None:
            raise CorruptStoreError(self._path, f"the last block, {tip.height}, cannot be read")
        return tip

    def _write_block(self, certified: CertifiedBlock) -> None:
        block = certified.block
        header = encode(block.header)
        self._writer.execute(
            "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?)",
            (
                block.height,
                block.id,
                len(header),
                len(block.transactions),
                encode(block),
                encode(certified.certificate),
            ),
        )
        self._writer.executemany(
            "INSERT INTO transactions (id, height, position, kind, sender, raw_offset, raw_bytes) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            _transaction_rows(block.height, block.transactions, len(PAIR) + len(header)),
        )

    def _write_receipts(self, execution: Execution, height: Height) -> None:
        receipts = [(height, index, encode(receipt)) for index, receipt in enumerate(execution.receipts)]
        events = [
            (height, index, encode(event))
            for index, receipt in enumerate(execution.receipts)
            for event in receipt.events
        ]
        self._writer.executemany("INSERT INTO receipts VALUES (?, ?, ?)", receipts)
        self._writer.executemany("INSERT INTO events (height, position, event) VALUES (?, ?, ?)", events)

    def _write_state(self, changes: Mapping[bytes, bytes | None]) -> None:
        written = [(key, value) for key, value in changes.items() if value is not None]
        removed = [(key,) for key, value in changes.items() if value is None]
        self._writer.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", written)
        self._writer.executemany("DELETE FROM state WHERE key = ?", removed)

    def _put_meta(self, key: str, value: bytes) -> None:
        assert len(value) <= META_VALUE_BYTES_MAX, "a fact of the node is short"
        with translated(self._path), transaction(self._writer):
            self._writer.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _transaction_rows(
    height: Height, raws: Sequence[bytes], start: int
) -> Iterator[tuple[Digest, int, int, str, bytes, int, int]]:
    """Yield the index rows of a block's transactions.

    Args:
        height: the block's.
        raws: its transactions.
        start: where in the block's encoding the array of transactions begins.
    """
    offset = start + _array_prefix_bytes(len(raws))
    for index, raw in enumerate(raws):
        said = decode_transaction(raw)
        offset += _binary_prefix_bytes(len(raw))
        yield transaction_id(raw), height, index, said.kind, said.sender, offset, len(raw)
        offset += len(raw)


def _array_prefix_bytes(count: int) -> int:
    """How many bytes MessagePack says an array's length in."""
    return 1 if count < 16 else 3


def _binary_prefix_bytes(length: int) -> int:
    """How many bytes MessagePack says a byte string's length in."""
    return 2 if length < 1 << 8 else 3 if length < 1 << 16 else 5


def _checksum(height: Height, record: bytes) -> Digest:
    return digest("safety-row", height.to_bytes(8, "big"), record)
