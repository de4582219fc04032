"""The SQLite file: its schema, its settings, its lock. One law: one writer a directory.

WAL with synchronous=FULL: a commit has been fsynced when it returns. A torn end of the WAL is cut by SQLite when the
file is opened; anything else that does not read back is refused.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from node.store.errors import CorruptStoreError, NewerSchemaError, StoreInUseError, StoreUnavailableError

DATABASE_NAME: Final = "chain.sqlite3"
LOCK_NAME: Final = "lock"
SCHEMA_VERSION: Final = 2
APPLICATION_ID: Final = 0x464F4544
""""FOED": tells the file apart from other SQLite databases."""

_READER_BUSY_SECONDS: Final = 5.0
_AHEAD: Final = """
CREATE TABLE ahead (
    height INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    header_bytes INTEGER NOT NULL,
    block BLOB NOT NULL,
    certificate BLOB NOT NULL,
    named BLOB
)
"""
_MIGRATIONS: Final = {1: _AHEAD}
"""What leads from a schema to the next one."""

_SCHEMA: Final = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE blocks (
    height INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    header_bytes INTEGER NOT NULL,
    transaction_count INTEGER NOT NULL,
    block BLOB NOT NULL,
    certificate BLOB NOT NULL
);
CREATE TABLE transactions (
    sequence INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    height INTEGER NOT NULL,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    sender BLOB NOT NULL,
    raw_offset INTEGER NOT NULL,
    raw_bytes INTEGER NOT NULL
);
CREATE INDEX transactions_kind ON transactions (kind, sequence);
CREATE INDEX transactions_sender ON transactions (sender, sequence);
CREATE TABLE receipts (
    height INTEGER NOT NULL,
    position INTEGER NOT NULL,
    receipt BLOB NOT NULL,
    PRIMARY KEY (height, position)
) WITHOUT ROWID;
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,
    height INTEGER NOT NULL,
    position INTEGER NOT NULL,
    event BLOB NOT NULL
);
CREATE TABLE state (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE safety (
    sequence INTEGER PRIMARY KEY,
    height INTEGER NOT NULL,
    record BLOB NOT NULL,
    checksum BLOB NOT NULL
);
{_AHEAD};
"""


class DirectoryLock:
    """Says that this process writes the directory; the kernel lets go of it when the process ends."""

    def __init__(self, directory: Path) -> None:
        """Take the lock.

        Raises:
            StoreInUseError: another process has it.
        """
        self._descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise StoreInUseError(directory, holder) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go; the file stays."""
        os.close(self._descriptor)


def open_for_writing(directory: Path) -> sqlite3.Connection:
    """Open the directory's database, creating it when there is none.

    Raises:
        CorruptStoreError: the file does not read back.
        NewerSchemaError: another version wrote it.
        StoreUnavailableError: the disk does not let us.
    """
    path = directory / DATABASE_NAME
    with translated(path):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_READER_BUSY_SECONDS)
        try:
            _configure(connection)
            if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
                _create(connection)
                fsync_directory(directory)
            _migrate(connection)
            _require_schema(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def open_for_reading(directory: Path) -> sqlite3.Connection:
    """Open the directory's database without ever changing it; it may be in use, or a copy on a read-only disk.

    Raises:
        CorruptStoreError: the file does not read back.
        NewerSchemaError: another version wrote it.
        StoreUnavailableError: there is none.
    """
    path = directory / DATABASE_NAME
    if not path.is_file():
        raise StoreUnavailableError(path, "there is no such file")
    wal = path.with_name(path.name + "-wal")
    settled = not wal.exists() and not os.access(directory, os.W_OK)
    uri = f"{path.absolute().as_uri()}?mode=ro" + ("&immutable=1" if settled else "")
    with translated(path):
        connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, timeout=_READER_BUSY_SECONDS
        )
        try:
            _require_schema(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours.

    Raises:
        CorruptStoreError: the file is not what was written.
        StoreUnavailableError: any other failure of the disk or of SQLite.
    """
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise CorruptStoreError(path, str(error)) from error
        raise StoreUnavailableError(path, str(error)) from error


@contextmanager
def transaction(connection: sqlite3.Connection, *, leave_open: bool = False) -> Iterator[None]:
    """Do all or nothing, together with what an open transaction holds; fsynced at the end unless it is left open."""
    if not connection.in_transaction:
        connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    if not leave_open:
        commit(connection)


def commit(connection: sqlite3.Connection) -> None:
    """End a transaction; it is fsynced, or nothing of it is kept."""
    try:
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def fsync_directory(directory: Path) -> None:
    """Make the names of a directory's files durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cache_size=-8192")


def _create(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring a database that an older version of this program wrote up to date."""
    if int(connection.execute("PRAGMA application_id").fetchone()[0]) != APPLICATION_ID:
        return
    while (found := int(connection.execute("PRAGMA user_version").fetchone()[0])) in _MIGRATIONS:
        with transaction(connection):
            connection.execute(_MIGRATIONS[found])
            connection.execute(f"PRAGMA user_version={found + 1}")


def _require_schema(connection: sqlite3.Connection, path: Path) -> None:
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if application != APPLICATION_ID:
        raise CorruptStoreError(path, "it is not a database of a Foedus node")
    if found != SCHEMA_VERSION:
        raise NewerSchemaError(path, supported=SCHEMA_VERSION, found=found)
