"""What goes wrong with payloads. One law: a full or broken disk costs the request, not the node."""

from __future__ import annotations

from ledger.digest import Digest


class PayloadError(Exception):
    """A payload could not be kept, read or spread."""


class UnknownPayloadError(PayloadError):
    """The store does not hold (or stage) this payload."""

    def __init__(self, *, payload_id: Digest, wanted: str) -> None:
        super().__init__(f"payload {payload_id.hex()} is not {wanted} here")
        self.payload_id = payload_id


class IncompletePayloadError(PayloadError):
    """A payload cannot be finished while chunks are missing."""

    def __init__(self, *, payload_id: Digest, missing: int) -> None:
        super().__init__(f"payload {payload_id.hex()} still lacks {missing} chunks: write them, then finish")
        self.payload_id = payload_id
        self.missing = missing


class ChunkMismatchError(PayloadError):
    """A chunk is not the one that the payload's root commits to."""

    def __init__(self, *, payload_id: Digest, index: int, reason: str) -> None:
        super().__init__(f"payload {payload_id.hex()}, chunk {index}: {reason}")
        self.payload_id = payload_id
        self.index = index


class RootMismatchError(PayloadError):
    """Chunk hashes do not lead to the payload's root."""

    def __init__(self, *, payload_id: Digest, reason: str) -> None:
        super().__init__(f"payload {payload_id.hex()}: {reason}")
        self.payload_id = payload_id


class DamagedPayloadError(PayloadError):
    """Bytes on this node's disk are not the ones that were written."""

    def __init__(self, *, payload_id: Digest, what: str) -> None:
        super().__init__(f"payload {payload_id.hex()}: {what} is damaged on disk: delete it here and obtain it again")
        self.payload_id = payload_id


class QuotaError(PayloadError):
    """A payload does not fit into the space that is set aside."""

    def __init__(self, *, whose: str, needed: int, free: int) -> None:
        super().__init__(f"{needed} bytes are needed, {free} are free for {whose}: raise the quota or erase payloads")
        self.whose = whose
        self.needed = needed
        self.free = free


class StorageError(PayloadError):
    """The operating system refused: disk full, read-only, broken."""

    def __init__(self, *, doing: str, error: OSError) -> None:
        super().__init__(
            f"{doing}: {error.strerror or error} ({error.filename or 'no file'}): see to the disk, then retry"
        )
        self.errno = error.errno
