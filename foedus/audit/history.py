"""What is audited: a chain as somebody keeps it. One law: reading never changes it.

| path | is |
|---|---|
| a directory with `chain.sqlite3` | a node's data directory, or a copy of one |
| a directory with `node.toml` | a node made by `foedus local init`; its `data` is audited |
| a file | an export (`foedus export`), which brings its own genesis document |
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from foedus.audit.headers import PrunedHistory
from foedus.audit.report import Difference
from genesis.document import GenesisDocument, load_document
from ledger.block import CertifiedBlock
from ledger.chain import VerifiedBlock
from ledger.fields import Height
from ledger.payload import PayloadDescriptor
from ledger.state_map import StateMap

GENESIS_NAME: Final = "genesis.json"
CONFIG_NAME: Final = "node.toml"
DATABASE_NAME: Final = "chain.sqlite3"
_LEVELS_UP: Final = 3
"""Directories above the data directory in which the genesis document is looked for."""


class HistoryError(Exception):
    """There is nothing here that could be audited; the message says what to do."""


class Damage(Exception):  # noqa: N818 - found, not thrown at somebody
    """Something stored does not read back as what it should be."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(str(difference))
        self.difference = difference


class History(Protocol):
    """A chain as somebody keeps it."""

    @property
    def document(self) -> GenesisDocument:
        """The agreement that the chain begins with."""
        ...

    @property
    def height(self) -> Height:
        """The last block's; 0 when there is none."""
        ...

    @property
    def pruned(self) -> PrunedHistory | None:
        """Itself, when only the headers of the lower blocks are here; None when every block is."""
        ...

    def certified_block(self, height: Height) -> CertifiedBlock:
        """Return a block.

        Raises:
            Damage: it is missing or does not decode.
        """
        ...

    def receipts(self, height: Height) -> tuple[bytes, ...]:
        """Return the encoded receipts of a block as they are kept, the block's own last.

        Raises:
            Damage: they do not read back.
        """
        ...

    def payload(self, descriptor: PayloadDescriptor) -> bytes | None:
        """Return a payload, None when it is not kept here.

        Raises:
            Damage: it is kept, and its bytes are not what the descriptor names.
        """
        ...

    def block_differences(self, verified: VerifiedBlock) -> Iterator[Difference]:
        """Compare what is stored about a block with what executing it gave; called once for each block, ascending."""
        ...

    def end_differences(self, state: StateMap | None) -> Iterator[Difference]:
        """Compare what is stored about the chain as a whole.

        Args:
            state: after the last block; None when the chain could not be followed to its end.
        """
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_history(path: Path, genesis: Path | None = None) -> History:
    """Open what is at `path` for an audit.

    Args:
        path: see the table above.
        genesis: the genesis document; looked for beside and above a data directory when None.

    Raises:
        HistoryError: there is nothing that can be audited.
        InvalidGenesisError: the genesis document is faulty.
        StoreError: the database cannot be opened.
    """
    from foedus.audit.export_history import ExportHistory
    from foedus.audit.node_data import NodeHistory

    if path.is_file() and path.name != DATABASE_NAME:
        return ExportHistory.open(path, None if genesis is None else load_document(genesis))
    data = data_directory(path.parent if path.is_file() else path)
    return NodeHistory.open(data, load_document(genesis_path(data) if genesis is None else genesis))


def data_directory(path: Path) -> Path:
    """Return the data directory that `path` is or holds.

    Raises:
        HistoryError: it is and holds none, or several.
    """
    if (path / DATABASE_NAME).is_file():
        return path
    if (path / CONFIG_NAME).is_file():
        configured = _configured(path, "node", "data_dir", "data")
        if (configured / DATABASE_NAME).is_file():
            return configured
        raise HistoryError(f"{configured} holds no chain yet: has the node been started?")
    nodes = sorted(node.name for node in path.glob("nodes/*") if (node / CONFIG_NAME).is_file())
    if nodes:
        raise HistoryError(f"{path} holds several nodes; audit one of them: foedus audit {path / 'nodes' / nodes[0]}")
    if not path.exists():
        raise HistoryError(f"{path} does not exist")
    raise HistoryError(f"{path} holds no chain: name a node's data directory (with {DATABASE_NAME}) or an export")


def genesis_path(data: Path) -> Path:
    """Return the genesis document that belongs to a data directory.

    Raises:
        HistoryError: none is found beside or above it.
    """
    directory = data.absolute()
    for _ in range(_LEVELS_UP + 1):
        if (directory / CONFIG_NAME).is_file():
            return _configured(directory, "genesis", "path", GENESIS_NAME)
        if (directory / GENESIS_NAME).is_file():
            return directory / GENESIS_NAME
        directory = directory.parent
    raise HistoryError(f"no {GENESIS_NAME} beside or above {data}: name the genesis document with --genesis")


def _configured(directory: Path, section: str, name: str, default: str) -> Path:
    """Return a path that a node's settings name; an audit needs no more of them, and no key files."""
    import tomllib

    try:
        tree = tomllib.loads((directory / CONFIG_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise HistoryError(f"{directory / CONFIG_NAME} cannot be read: {error}") from error
    table = tree.get(section)
    value = table.get(name, default) if isinstance(table, dict) else default
    return directory / str(value)
