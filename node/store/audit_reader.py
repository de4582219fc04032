"""Reading a stored chain to check it. One law: rows come as they are on the disk, trusted in nothing.

All reads see one commit, so that a node may go on appending while it is audited.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ledger.digest import digest
from node.store.database import open_for_reading, translated
from node.store.reader import ChainReader

Row = tuple[Any, ...]
"""Columns in the order of the schema; SQLite gives any column any type."""

_BY_HEIGHT: Final = {
    "blocks": "SELECT * FROM blocks WHERE height = ?",
    "transactions": "SELECT * FROM transactions WHERE height = ? ORDER BY position",
    "receipts": "SELECT * FROM receipts WHERE height = ? ORDER BY position",
    "events": "SELECT * FROM events WHERE height = ? ORDER BY sequence",
}


@dataclass(frozen=True, slots=True)
class RowFault:
    """A row of this node alone that is not what was written."""

    table: str
    row: str
    reason: str


class AuditReader(ChainReader):
    """A connection that sees one moment of the data directory."""

    @classmethod
    def open_held(cls, path: Path) -> AuditReader:
        """Open a node's data directory, or a copy of one, as it is now.

        Raises:
            StoreUnavailableError: there is no database.
            CorruptStoreError: it does not read back.
            NewerSchemaError: another version wrote it.
        """
        reader = cls(path, open_for_reading(path))
        with translated(reader._path):
            reader._reader.execute("BEGIN")
        reader.meta("")
        return reader

    def last_height(self) -> int:
        """Return the greatest height of any row of `blocks`, 0 when there is none."""
        row = self._row("SELECT max(height) FROM blocks")
        return int(row[0]) if row is not None and isinstance(row[0], int) else 0

    def rows_at(self, table: str, height: int) -> list[Row]:
        """Return a table's rows that belong to a block: of `blocks`, `transactions`, `receipts` or `events`."""
        return [tuple(row) for row in self._rows(_BY_HEIGHT[table], height)]

    def state_rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Go through the state as it is stored, by key."""
        with translated(self._path):
            for row in self._reader.execute("SELECT key, value FROM state ORDER BY key"):
                yield row[0], row[1]

    def safety_faults(self) -> list[RowFault]:
        """Return the safety records whose checksum is wrong."""
        return [
            RowFault("safety", str(sequence), "its checksum is wrong")
            for sequence, height, record, checksum in self._rows(
                "SELECT sequence, height, record, checksum FROM safety ORDER BY sequence"
            )
            if not isinstance(record, bytes)
            or not isinstance(height, int)
            or digest("safety-row", height.to_bytes(8, "big", signed=True), record) != checksum
        ]

    def structure_faults(self) -> list[str]:
        """Return what SQLite finds wrong with the file itself: pages, and indexes that do not match their tables."""
        return [str(row[0]) for row in self._rows("PRAGMA integrity_check(20)") if row[0] != "ok"]
