"""Reading a stored chain. One law: a row that does not say what was written is named, never returned.

Every query is bounded by a limit of its caller. Results come from the last commit; blocks, receipts and events never
change once they are there, so a caller may combine several queries.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from ledger.block import BLOCK_BYTES_MAX, Block, CertifiedBlock, Header, block_id
from ledger.certificate import QuorumCertificate
from ledger.chain import CertifiedHeader
from ledger.codec import CodecError, Record, decode
from ledger.digest import Digest
from ledger.fields import Height
from ledger.receipt import Event, Receipt
from ledger.state_map import StateMap
from ledger.transaction import transaction_id
from ledger.validators import ValidatorSet
from node.store.database import DATABASE_NAME, open_for_reading, translated
from node.store.errors import CorruptRowError, CorruptStoreError, OtherChainError
from node.store.partial import BLOCKS_FROM_KEY, HEADER_ONLY, PAIR, UNKNOWN_COUNT, certified_headers
from node.store.rows import StoredBlock, StoredEvent, StoredTransaction, Tip

RecordT = TypeVar("RecordT", bound=Record)

BLOCK_RECORD_BYTES_MAX: Final = BLOCK_BYTES_MAX + 65_536
CERTIFICATE_BYTES_MAX: Final = 65_536
RECEIPT_BYTES_MAX: Final = 1 << 20
CHAIN_ID_KEY: Final = "chain_id"

_INTEGER_MAX: Final = 2**63 - 1
_TRANSACTION_QUERY: Final = """
SELECT t.sequence, t.id, t.height, t.position, substr(b.block, t.raw_offset + 1, t.raw_bytes), r.receipt
FROM transactions t JOIN blocks b USING (height) JOIN receipts r USING (height, position)
"""


class ChainReader:
    """One connection that reads; close it, or use it as a context manager."""

    def __init__(self, directory: Path, connection: sqlite3.Connection) -> None:
        self._directory: Final = directory
        self._path: Final = directory / DATABASE_NAME
        self._reader: Final = connection
        connection.row_factory = sqlite3.Row

    @classmethod
    def open_readonly(cls, path: Path) -> ChainReader:
        """Open a node's data directory, or a copy of one, for reading; the node may be running.

        Raises:
            StoreUnavailableError: there is no database.
            CorruptStoreError: it does not read back.
            NewerSchemaError: another version wrote it.
        """
        return ChainReader(path, open_for_reading(path))

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def chain_id(self) -> Digest:
        """Chain that the blocks belong to."""
        value = self.meta(CHAIN_ID_KEY)
        if value is None:
            raise CorruptStoreError(self._path, "it does not say which chain it holds")
        return Digest(value)

    def require_chain(self, chain_id: Digest) -> None:
        """Check that the blocks are of this chain.

        Raises:
            OtherChainError: they are not.
        """
        if self.chain_id != chain_id:
            raise OtherChainError(self._path, needed=chain_id, found=self.chain_id)

    def meta(self, key: str) -> bytes | None:
        """Return a fact of this node alone."""
        row = self._row("SELECT value FROM meta WHERE key = ?", key)
        return None if row is None else bytes(row[0])

    @property
    def blocks_from(self) -> Height:
        """The lowest height from which on every block is here; those below are pruned, but for their headers."""
        value = self.meta(BLOCKS_FROM_KEY)
        return Height(1 if value is None else int.from_bytes(value, "big"))

    def tip(self) -> Tip | None:
        """Return the last block's height, id and time; None before the first block."""
        row = self._row("SELECT height FROM blocks ORDER BY height DESC LIMIT 1")
        if row is None:
            return None
        stored = self.block(Height(row[0]))
        assert stored is not None, "blocks are never removed"
        return Tip(Height(row[0]), stored.id, stored.header.time_ms)

    def header(self, height: Height) -> Header | None:
        """Return the header at a height."""
        stored = self.block(height)
        return None if stored is None else stored.header

    def block(self, height: Height) -> StoredBlock | None:
        """Return what lists show of the block at a height."""
        return next(iter(self.blocks(before=Height(height + 1), limit=1, not_below=height)), None)

    def blocks(self, *, before: Height | None = None, limit: int, not_below: int = 0) -> list[StoredBlock]:
        """Return the blocks below height `before` (None: the newest), newest first, without their transactions."""
        rows = self._rows(
            f"SELECT height, id, substr(block, 2, header_bytes), transaction_count, length(block), {HEADER_ONLY} "  # noqa: S608 - our own words
            "FROM blocks "
            "WHERE height < ? AND height >= ? ORDER BY height DESC LIMIT ?",
            _INTEGER_MAX if before is None else before,
            not_below,
            limit,
        )
        return [self._stored_block(*row) for row in rows]

    def certified_block(self, height: Height) -> CertifiedBlock | None:
        """Return a block with its commit certificate; None when it is not here, be it only its header that is.

        Raises:
            CorruptRowError: the row does not decode, or its columns contradict each other.
        """
        row = self._row(
            f"SELECT id, block, certificate, {HEADER_ONLY} FROM blocks WHERE height = ?",  # noqa: S608 - our own words
            height,
        )
        if row is None or row[3]:
            return None
        name = f"height {height}"
        block = self._decoded("blocks", name, row[1], Block, BLOCK_RECORD_BYTES_MAX)
        certificate = self._decoded("blocks", name, row[2], QuorumCertificate, CERTIFICATE_BYTES_MAX)
        if block.id != row[0] or block.height != height:
            raise self._corrupt("blocks", name, "the block's id or height is not the row's")
        if certificate.block_id != block.id:
            raise self._corrupt("blocks", name, "the certificate is another block's")
        return CertifiedBlock(block, certificate)

    def certified_header(self, height: Height) -> CertifiedHeader | None:
        """Return a header with the certificate that made it final.

        Raises:
            CorruptRowError: the row does not decode, or its columns contradict each other.
        """
        row = self._row("SELECT id, substr(block, 2, header_bytes), certificate FROM blocks WHERE height = ?", height)
        return None if row is None else self._certified_header("blocks", height, *row)

    def header_ahead(self, height: Height) -> CertifiedHeader | None:
        """Return a verified header above the last block, which waits for a snapshot; or one of the chain."""
        row = self._row("SELECT id, substr(block, 2, header_bytes), certificate FROM ahead WHERE height = ?", height)
        return self.certified_header(height) if row is None else self._certified_header("ahead", height, *row)

    def last_ahead(self) -> tuple[CertifiedHeader, ValidatorSet | None] | None:
        """Return the last header that waits, and the last set that one of them names; None when none waits."""
        row = self._row("SELECT max(height) FROM ahead")
        header = None if row is None or row[0] is None else self.header_ahead(Height(row[0]))
        if header is None:
            return None
        named = self._row("SELECT height, named FROM ahead WHERE named IS NOT NULL ORDER BY height DESC LIMIT 1")
        if named is None:
            return header, None
        return header, self._decoded("ahead", f"height {named[0]}", named[1], ValidatorSet, CERTIFICATE_BYTES_MAX)

    def encoded_headers(self, from_height: Height, *, limit: int, bytes_max: int) -> list[bytes]:
        """Return encoded `CertifiedHeader`s from a height on, ascending; bounded as `encoded_blocks`."""
        query = "SELECT block, certificate, header_bytes FROM blocks WHERE height >= ? ORDER BY height LIMIT ?"
        return certified_headers(((row[0], row[1], row[2]) for row in self._rows(query, from_height, limit)), bytes_max)

    def encoded_blocks(self, from_height: Height, *, limit: int, bytes_max: int) -> list[bytes]:
        """Return encoded `CertifiedBlock`s from a height on, ascending.

        At most `limit`, and at most `bytes_max` together, but the first one always.
        """
        found: list[bytes] = []
        size = 0
        query = "SELECT block, certificate FROM blocks WHERE height >= ? ORDER BY height LIMIT ?"
        with translated(self._path):
            cursor = self._reader.execute(query, (from_height, limit))
            for block, certificate in cursor:
                encoded = PAIR + block + certificate
                size += len(encoded)
                if found and size > bytes_max:
                    break
                found.append(encoded)
            cursor.close()
        return found

    def block_height(self, identity: bytes) -> Height | None:
        """Return the height of the block with this id."""
        row = self._row("SELECT height FROM blocks WHERE id = ?", identity)
        return None if row is None else Height(row[0])

    def transaction(self, identity: bytes) -> StoredTransaction | None:
        """Return the transaction with this id, its place and its receipt."""
        row = self._row(_TRANSACTION_QUERY + "WHERE t.id = ?", identity)
        return None if row is None else self._stored_transaction(*row)

    def transactions(
        self, *, before: int | None = None, limit: int, kind: str | None = None, sender: bytes | None = None
    ) -> list[StoredTransaction]:
        """Return transactions, newest first.

        Args:
            before: only those with a smaller `sequence`.
            limit: how many at most.
            kind: only those of this kind.
            sender: only this public key's.
        """
        conditions, values = ["t.sequence < ?"], [_INTEGER_MAX if before is None else before]
        parameters: list[str | bytes | int] = [*values]
        if kind is not None:
            conditions.append("t.kind = ?")
            parameters.append(kind)
        if sender is not None:
            conditions.append("t.sender = ?")
            parameters.append(sender)
        where = f"WHERE {' AND '.join(conditions)} ORDER BY t.sequence DESC LIMIT ?"
        return [self._stored_transaction(*row) for row in self._rows(_TRANSACTION_QUERY + where, *parameters, limit)]

    def receipts(self, height: Height) -> tuple[bytes, ...]:
        """Return the canonical bytes of a block's receipts in their order, the block's own last."""
        rows = self._rows("SELECT receipt FROM receipts WHERE height = ? ORDER BY position", height)
        return tuple(row[0] for row in rows)

    def events(self, after: int, limit: int) -> list[StoredEvent]:
        """Return the events with a larger sequence number, oldest first."""
        query = "SELECT sequence, height, position, event FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?"
        return [
            StoredEvent(
                row[0], Height(row[1]), row[2], self._decoded("events", str(row[0]), row[3], Event, RECEIPT_BYTES_MAX)
            )
            for row in self._rows(query, after, limit)
        ]

    def last_event(self) -> int:
        """Return the sequence number of the newest event, 0 when there is none."""
        row = self._row("SELECT max(sequence) FROM events")
        return 0 if row is None or row[0] is None else int(row[0])

    def load_state(self) -> StateMap:
        """Return the state after the last block; before the first, what was planted.

        Raises:
            CorruptRowError: its root is not the one in the last header.
        """
        with translated(self._path):
            state = StateMap.build(self._reader.execute("SELECT key, value FROM state"))
        tip = self.tip()
        header = None if tip is None else self.header(tip.height)
        if header is not None and state.root != header.state_root:
            reason = f"the entries' root is {state.root.hex()}, the header says {header.state_root.hex()}"
            raise self._corrupt("state", f"after height {header.height}", reason)
        return state

    def state_items(self, prefix: bytes, *, after: bytes = b"", limit: int) -> list[tuple[bytes, bytes]]:
        """Return state entries whose key begins with `prefix` and is greater than `after`, ascending by key."""
        end = _after_prefix(prefix)
        low = max(prefix, after)
        query = "SELECT key, value FROM state WHERE key >= ? AND key != ? AND key < ? ORDER BY key LIMIT ?"
        return [(row[0], row[1]) for row in self._rows(query, low, after, end, limit)]

    def state_items_down(self, prefix: bytes, *, before: bytes | None = None, limit: int) -> list[tuple[bytes, bytes]]:
        """Return state entries whose key begins with `prefix` and is less than `before`, descending by key."""
        end = _after_prefix(prefix)
        high = end if before is None else min(end, before)
        query = "SELECT key, value FROM state WHERE key >= ? AND key < ? ORDER BY key DESC LIMIT ?"
        return [(row[0], row[1]) for row in self._rows(query, prefix, high, limit)]

    def counts(self) -> dict[str, int]:
        """Return how many rows each table has; reads whole indexes, for audits."""
        tables = ("blocks", "transactions", "receipts", "events", "state", "safety")
        found = {}
        for table in tables:
            row = self._row(f"SELECT count(*) FROM {table}")  # noqa: S608 - names of our own tables
            assert row is not None, "count always gives a row"
            found[table] = int(row[0])
        return found

    def _certified_header(
        self, table: str, height: int, identity: bytes, header: bytes, seals: bytes
    ) -> CertifiedHeader:
        name = f"height {height}"
        decoded = self._decoded(table, name, header, Header, BLOCK_RECORD_BYTES_MAX)
        certificate = self._decoded(table, name, seals, QuorumCertificate, CERTIFICATE_BYTES_MAX)
        if block_id(decoded) != identity or decoded.height != height:
            raise self._corrupt(table, name, "the header's digest or height is not the row's")
        if certificate.block_id != identity:
            raise self._corrupt(table, name, "the certificate is another block's")
        return CertifiedHeader(decoded, certificate)

    def _stored_block(
        self, height: int, identity: bytes, header: bytes, count: int, size: int, pruned: int
    ) -> StoredBlock:
        name = f"height {height}"
        decoded = self._decoded("blocks", name, header, Header, BLOCK_RECORD_BYTES_MAX)
        if block_id(decoded) != identity or decoded.height != height:
            raise self._corrupt("blocks", name, "the header's digest or height is not the row's")
        known = None if count == UNKNOWN_COUNT else count
        return StoredBlock(Digest(identity), decoded, known, size, bool(pruned))

    def _stored_transaction(
        self, sequence: int, identity: bytes, height: int, position: int, raw: bytes, receipt: bytes
    ) -> StoredTransaction:
        name = f"{height}/{position}"
        if transaction_id(raw) != identity:
            raise self._corrupt("transactions", name, "the block's bytes there are not the transaction of this id")
        decoded = self._decoded("receipts", name, receipt, Receipt, RECEIPT_BYTES_MAX)
        if decoded.transaction != identity:
            raise self._corrupt("receipts", name, "it is another transaction's")
        return StoredTransaction(sequence, Digest(identity), Height(height), position, raw, decoded)

    def _decoded(self, table: str, row: str, data: bytes, record_type: type[RecordT], bytes_max: int) -> RecordT:
        try:
            return decode(data, record_type, bytes_max=bytes_max)
        except (CodecError, TypeError) as error:
            raise self._corrupt(table, row, str(error)) from error

    def _corrupt(self, table: str, row: str, reason: str) -> CorruptRowError:
        return CorruptRowError(self._path, table=table, row=row, reason=reason)

    def _row(self, query: str, *parameters: str | bytes | int) -> sqlite3.Row | None:
        return next(iter(self._rows(query, *parameters)), None)

    def _rows(self, query: str, *parameters: str | bytes | int) -> list[sqlite3.Row]:
        with translated(self._path):
            return self._reader.execute(query, parameters).fetchall()


def _after_prefix(prefix: bytes) -> bytes:
    """Return the smallest key above all keys that begin with `prefix`."""
    bare = prefix.rstrip(b"\xff")
    assert bare, "prefixes are made by the application and begin with a letter"
    return bare[:-1] + bytes([bare[-1] + 1])
