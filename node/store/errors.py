"""What can be wrong with a store. One law: the message says what to do."""

from __future__ import annotations

from pathlib import Path

from ledger.digest import Digest


class StoreError(Exception):
    """The store cannot be used."""


class OtherChainError(StoreError):
    """The database belongs to another chain."""

    def __init__(self, path: Path, *, needed: Digest, found: bytes) -> None:
        super().__init__(
            f"{path} holds chain {found.hex()}, the genesis document is chain {needed.hex()}: "
            "point data_dir at another directory, or use the genesis document of that chain"
        )
        self.path = path
        self.needed = needed
        self.found = found


class NewerSchemaError(StoreError):
    """A newer program wrote the database, or none of ours did."""

    def __init__(self, path: Path, *, supported: int, found: int) -> None:
        super().__init__(
            f"{path} has schema {found}, this program reads schema {supported}: "
            "install the version of foedus that wrote it"
        )
        self.path = path
        self.supported = supported
        self.found = found


class CorruptStoreError(StoreError):
    """The database's bytes are not what was written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is damaged ({reason}): keep a copy, check the disk, then move the damaged file and its -wal file "
            "away and start the node once with `foedus node run --observe-first`; it fetches the chain from its peers "
            "and signs nothing before it has caught up"
        )
        self.path = path
        self.reason = reason


class CorruptRowError(CorruptStoreError):
    """One row is not what was written."""

    def __init__(self, path: Path, *, table: str, row: str, reason: str) -> None:
        super().__init__(path, f"table {table}, row {row}: {reason}")
        self.table = table
        self.row = row


class StoreInUseError(StoreError):
    """Another process has the data directory open for writing."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(
            f"{path} is in use by process {holder}: one identity must never run twice; stop that process first"
        )
        self.path = path
        self.holder = holder


class StoreUnavailableError(StoreError):
    """The disk is full, read-only or failing; nothing was written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} cannot be read or written ({reason}): free space, check permissions and the disk, then start again"
        )
        self.path = path
        self.reason = reason
