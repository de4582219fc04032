"""The node's store: its chain, state, and safety records in one SQLite file. One law: what returns is on disk.

`Store` is the one writer of a data directory; `ChainReader` reads the same file beside it, or a copy of it.

| table | a row | written by |
|---|---|---|
| `blocks` | one block's canonical bytes and its commit certificate | `Store.append` |
| `transactions` | where a transaction stands, and what lists ask for | `Store.append` |
| `receipts` | one receipt's canonical bytes | `Store.append` |
| `events` | one event, numbered over the whole chain | `Store.append` |
| `state` | one entry of the state after the last block | `Store.append` |
| `ahead` | a verified header above the last block, until a snapshot makes it part of the chain | `Store.keep_ahead` |
| `safety` | what consensus has signed or accepted at an undecided height | `Store.persist_safety` |
| `meta` | facts of this node alone: chain id, boot epoch | `Store` |
"""

from node.store.errors import (
    CorruptRowError,
    CorruptStoreError,
    NewerSchemaError,
    OtherChainError,
    StoreError,
    StoreInUseError,
    StoreUnavailableError,
)
from node.store.partial import HeaderAhead
from node.store.reader import ChainReader
from node.store.rows import StoredBlock, StoredEvent, StoredTransaction, Tip
from node.store.store import Store

__all__ = [
    "ChainReader",
    "CorruptRowError",
    "CorruptStoreError",
    "HeaderAhead",
    "NewerSchemaError",
    "OtherChainError",
    "Store",
    "StoreError",
    "StoreInUseError",
    "StoreUnavailableError",
    "StoredBlock",
    "StoredEvent",
    "StoredTransaction",
    "Tip",
]
