"""What shows that bytes are a payload's. One law: from the descriptor alone, whoever sent them."""

from __future__ import annotations

from ledger.digest import DIGEST_BYTES
from ledger.merkle import root_of_hashes
from ledger.payload import CHUNK_BYTES, PayloadDescriptor
from node.payloads.errors import RootMismatchError


def chunk_length(payload: PayloadDescriptor, index: int) -> int:
    """Return how many bytes chunk number `index` has; 0 when there is no such chunk."""
    return max(0, min(CHUNK_BYTES, payload.size - index * CHUNK_BYTES)) if index >= 0 else 0


def hashes_lead_to(payload: PayloadDescriptor, hashes: bytes) -> bool:
    """Tell whether these chunk hashes, 32 bytes each, are the payload's."""
    if len(hashes) != payload.chunk_count * DIGEST_BYTES:
        return False
    leaves = [hashes[start : start + DIGEST_BYTES] for start in range(0, len(hashes), DIGEST_BYTES)]
    return root_of_hashes(leaves) == payload.root


def require_root(payload: PayloadDescriptor, hashes: bytes) -> None:
    """Check that chunk hashes are the payload's.

    Raises:
        RootMismatchError: they are not.
    """
    if not hashes_lead_to(payload, hashes):
        reason = f"{len(hashes) // DIGEST_BYTES} chunk hashes do not lead to the root over {payload.chunk_count} chunks"
        raise RootMismatchError(payload_id=payload.id, reason=reason)
