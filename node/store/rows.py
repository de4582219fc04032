"""What the store gives back. One law: values, never connections or cursors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ledger.block import Header
from ledger.digest import Digest
from ledger.fields import Height
from ledger.receipt import Event, Receipt


class Tip(NamedTuple):
    """The last block."""

    height: Height
    block_id: Digest
    time_ms: int


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A block as lists show it."""

    id: Digest
    header: Header
    transaction_count: int | None
    """None when the header alone has ever been here."""

    size_bytes: int
    """Of what is here: of the header alone when it is pruned."""

    pruned: bool


@dataclass(frozen=True, slots=True)
class StoredTransaction:
    """A transaction with its place and result."""

    sequence: int
    """Number over the whole chain, from 1."""

    id: Digest
    height: Height
    index: int
    """Place in its block, from 0."""

    raw: bytes
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with its place."""

    sequence: int
    """Number over the whole chain, from 1."""

    height: Height
    index: int
    """Receipt that holds it."""

    event: Event
