"""Payloads on this node: kept, spread, fetched, forgotten. One law: "have" means "can produce the bytes".

`PayloadStore` (over files, sealing, content, erasures) keeps them; `PayloadExchange` spreads this node's and fetches
those of others.
"""

from node.payloads.errors import (
    ChunkMismatchError,
    DamagedPayloadError,
    IncompletePayloadError,
    PayloadError,
    QuotaError,
    RootMismatchError,
    StorageError,
    UnknownPayloadError,
)
from node.payloads.exchange import PayloadExchange
from node.payloads.files import PayloadFiles
from node.payloads.quota import StoreUsage
from node.payloads.store import PayloadStore

__all__ = [
    "ChunkMismatchError",
    "DamagedPayloadError",
    "IncompletePayloadError",
    "PayloadError",
    "PayloadExchange",
    "PayloadFiles",
    "PayloadStore",
    "QuotaError",
    "RootMismatchError",
    "StorageError",
    "StoreUsage",
    "UnknownPayloadError",
]
