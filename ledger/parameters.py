"""Consensus parameters: what all validators must agree on to stay one chain. One law: relations are checked."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ledger.block import BLOCK_BYTES_MAX, BLOCK_TRANSACTIONS_MAX
from ledger.codec import Record, encode
from ledger.digest import Digest, digest

Milliseconds = Annotated[int, Meta(ge=1, le=86_400_000)]


class InvalidParametersError(ValueError):
    """Parameters contradict each other."""


class ConsensusParameters(Record):
    """Part of the genesis document; its hash stands in every header."""

    view_timeout_ms: Milliseconds = 500
    """How long a replica waits for view 0 before it asks for the next view (T0)."""

    view_timeout_ms_max: Milliseconds = 30_000
    """Ceiling of the timeout, which grows by half with every view (Tmax)."""

    resend_ms: Milliseconds = 200
    """How often a replica without progress says its last words again (rho)."""

    clock_drift_ms_max: Milliseconds = 10_000
    """How far a fresh proposal's time may be ahead of or behind a validator's clock."""

    block_bytes_max: Annotated[int, Meta(ge=65_536, le=BLOCK_BYTES_MAX)] = BLOCK_BYTES_MAX
    block_transactions_max: Annotated[int, Meta(ge=1, le=BLOCK_TRANSACTIONS_MAX)] = BLOCK_TRANSACTIONS_MAX

    @property
    def hash(self) -> Digest:
        """Digest of the parameters, as it stands in headers."""
        return digest("parameters", encode(self))

    def require_valid(self) -> None:
        """Check the relations between the fields.

        Raises:
            InvalidParametersError: a timeout exceeds its ceiling, or words are repeated less often than views change.
        """
        if self.view_timeout_ms > self.view_timeout_ms_max:
            message = f"view_timeout_ms {self.view_timeout_ms} exceeds view_timeout_ms_max {self.view_timeout_ms_max}"
            raise InvalidParametersError(message)
        if self.resend_ms >= self.view_timeout_ms:
            message = f"resend_ms must be below view_timeout_ms {self.view_timeout_ms}, got {self.resend_ms}"
            raise InvalidParametersError(message)
