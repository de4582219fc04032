"""A recorded history, kept on disk as a node keeps it."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from genesis.document import document_text
from ledger.fields import Height
from ledger.payload import chunks_of, describe
from node.payloads import PayloadFiles
from node.payloads.files import Card
from node.store import Store
from tests.recorded import Recorded


def keep(history: Recorded, directory: Path) -> Path:
    """Write a history into `directory`/data with its genesis document beside; return the data directory."""
    data = directory / "data"
    directory.mkdir(parents=True)
    (directory / "genesis.json").write_text(document_text(history.document))
    store = Store.open(data, history.document.chain_id)
    store.plant(history.genesis_state)
    for certified, execution in zip(history.blocks, history.executions, strict=True):
        store.append(certified, execution)
    store.persist_safety(Height(len(history.blocks) + 1), [b"a vote", b"another"])
    store.close()
    files = PayloadFiles(data / "payloads")
    files.open()
    for payload in history.payloads.values():
        card = Card(describe(payload), "", "ok")
        files.begin(card, b"")
        on_grid = [
            files.write(card.payload, index, chunk, verify=False) for index, chunk in enumerate(chunks_of(payload))
        ]
        files.finish(card, on_grid)
    return data


def copied(data: Path, directory: Path) -> Path:
    """Return a copy of a kept history's data directory, its genesis document beside it."""
    shutil.copytree(data.parent, directory)
    return directory / data.name


def change(data: Path, statement: str, *values: bytes | int | str) -> None:
    """Change the database behind the program's back."""
    connection = sqlite3.connect(data / "chain.sqlite3")
    with connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()
