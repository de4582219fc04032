"""The application that a chain carries. One law: its effects depend on the state and the block alone.

`consensus` orders transactions without knowing what they mean; an `Application` gives them meaning without knowing how
they were ordered. `execution` puts both together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from ledger.digest import Digest
from ledger.fields import Height
from ledger.receipt import Event
from ledger.transaction import Transaction
from ledger.validators import ValidatorSet

STATE_KEY_BYTES_MAX: Final = 256
STATE_VALUE_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class BlockContext:
    """What execution may know of the block, besides its transactions."""

    chain_id: Digest
    height: Height
    time_ms: int
    parent_id: Digest
    validators: ValidatorSet
    proposer: int


class RefusalError(Exception):
    """A well-formed transaction that the state does not allow; it becomes a receipt, never a crash."""

    def __init__(self, code: str, detail: str) -> None:
        """Name the reason (`update.late`) and say what was needed and what came."""
        super().__init__(f"{code}: {detail}")
        self.code: Final = code
        self.detail: Final = detail


class StateReader(Protocol):
    """Anything that values can be read from."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value stored under `key`, or None."""
        ...


@dataclass(slots=True)
class Overlay:
    """Writes on top of a state, which can be kept or thrown away as one."""

    base: StateReader
    changes: dict[bytes, bytes | None] = field(default_factory=dict)

    def get(self, key: bytes) -> bytes | None:
        """Return the latest value under `key`, or None."""
        if key in self.changes:
            return self.changes[key]
        return self.base.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Store `value` under `key`."""
        assert len(key) <= STATE_KEY_BYTES_MAX, "state keys are made by the application and short"
        assert len(value) <= STATE_VALUE_BYTES_MAX, "state values are bounded by the records they encode"
        self.changes[key] = value

    def delete(self, key: bytes) -> None:
        """Remove what is stored under `key`."""
        self.changes[key] = None

    def keep(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Take over the writes of an overlay on top of this one."""
        self.changes.update(changes)


class Application(Protocol):
    """Deterministic meaning of transactions."""

    version: int
    """Version of the rules; stands in every header."""

    def admit(self, state: StateReader, transaction: Transaction) -> None:
        """Check a transaction before it is queued, so that strangers' and senseless ones cost nothing.

        Raises:
            RefusalError: it may not wait for a block.
        """
        ...

    def execute(self, state: Overlay, context: BlockContext, transaction: Transaction) -> tuple[Event, ...]:
        """Carry out one transaction.

        Raises:
            RefusalError: the state does not allow it; whatever was written to `state` is thrown away.
        """
        ...

    def end_block(self, state: Overlay, context: BlockContext) -> tuple[Event, ...]:
        """Carry out what is due after the last transaction, such as rounds whose deadline came."""
        ...

    def due_ms(self, state: StateReader) -> int | None:
        """Time of the earliest deadline; a block is proposed then even when there is no transaction."""
        ...
