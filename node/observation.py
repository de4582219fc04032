"""Starting without a memory of one's votes. One law: nobody signs at a height at which it may have signed before.

A node whose data directory was lost or restored has forgotten what it signed. Forgotten votes are of heights up to one
above the last block that was decided before this start; once a block has been appended that was proposed afterwards,
whatever comes next is new. Blocks are proposed with a time at most `clock_drift_ms_max` from the voters' clocks, so a
block of the start plus that is surely one. The moment is kept in the store until then: a restart does not end it. A
copy that `node.backup` made says itself that it is one, so that nobody can forget to look on.
"""

from __future__ import annotations

from typing import Final, Protocol

from ledger.parameters import ConsensusParameters
from ledger.validators import ValidatorSet

OBSERVE_UNTIL_KEY: Final = "observe_until_ms"
COPIED_KEY: Final = "copied"
"""Not empty in a copy of a data directory that no node has been started from yet."""


class Facts(Protocol):
    """Where a node keeps what concerns it alone."""

    def meta(self, key: str) -> bytes | None:
        """Return a fact."""
        ...

    def set_meta(self, key: str, value: bytes) -> None:
        """Keep a fact; durable when it returns."""
        ...


class CannotObserveError(ValueError):
    """There would be no quorum while this node signs nothing."""

    def __init__(self, *, validators: int, quorum: int) -> None:
        super().__init__(
            f"looking on first needs a quorum of others: a quorum of {validators} validators is {quorum}, so without "
            "this node nothing is decided; restore the newest copy of its data directory, or begin a new chain"
        )
        self.validators = validators
        self.quorum = quorum


class Observation:
    """Until when this node only looks on."""

    def __init__(self, store: Facts) -> None:
        """Take up what an earlier start has begun."""
        self._store: Final = store
        kept = store.meta(OBSERVE_UNTIL_KEY)
        self.until_ms: int | None = int.from_bytes(kept, "big") if kept else None
        """Sign nothing until a block of at least this time has been appended; None: sign."""

    @property
    def is_due(self) -> bool:
        """Tell whether the directory is a copy that no node has been started from: it must look on first."""
        return bool(self._store.meta(COPIED_KEY))

    def begin(self, now_ms: int, parameters: ConsensusParameters, validators: ValidatorSet) -> None:
        """Look on from now.

        Raises:
            CannotObserveError: the others are too few to decide anything.
        """
        if len(validators) - 1 < validators.quorum:
            raise CannotObserveError(validators=len(validators), quorum=validators.quorum)
        self.until_ms = max(self.until_ms or 0, now_ms + parameters.clock_drift_ms_max)
        self._store.set_meta(OBSERVE_UNTIL_KEY, self.until_ms.to_bytes(8, "big"))
        self._store.set_meta(COPIED_KEY, b"")

    def note_block(self, time_ms: int) -> bool:
        """Take note of an appended block; tell whether it ends the observation."""
        if self.until_ms is None or time_ms < self.until_ms:
            return False
        self.until_ms = None
        self._store.set_meta(OBSERVE_UNTIL_KEY, b"")
        return True
