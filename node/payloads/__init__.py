"""Payloads on this node: kept, spread, fetched, forgotten. One law: "have" means "can produce the bytes".

INTERFACE SKELETON: signatures are settled, bodies follow.
"""

from node.payloads.exchange import PayloadExchange
from node.payloads.store import PayloadStore

__all__ = ["PayloadExchange", "PayloadStore"]
