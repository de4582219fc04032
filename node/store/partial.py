"""Chains that are not here in full: pruned blocks, headers ahead, snapshots. One law: no header is ever missing.

A block that is not here keeps its row, with the header alone in place of the block and its certificate, so that the
headers from genesis on can be served and followed. `blocks_from` in `meta` says from which height on every block is
here. Headers that are verified but not reached yet wait in `ahead`, until a snapshot makes them part of the chain.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ledger.block import block_id
from ledger.chain import CertifiedHeader
from ledger.codec import encode
from ledger.fields import Height
from ledger.state_map import StateMap
from ledger.validators import ValidatorSet

BLOCKS_FROM_KEY: Final = "blocks_from"
UNKNOWN_COUNT: Final = -1
"""How many transactions a block has whose header alone has ever been here."""

HEADER_ONLY: Final = "length(block) = header_bytes + 1"
"""Condition that tells a row without its block; a block without transactions is one byte longer."""

PAIR: Final = b"\x92"
"""How the canonical encoding of a record with two fields begins."""


class HeaderAhead(NamedTuple):
    """A verified header, and the set of the next height when it is another one."""

    certified: CertifiedHeader
    named: ValidatorSet | None


def keep_ahead(writer: sqlite3.Connection, headers: Sequence[HeaderAhead]) -> None:
    """Keep verified headers, in a transaction of the caller."""
    writer.executemany("INSERT OR REPLACE INTO ahead VALUES (?, ?, ?, ?, ?, ?)", map(_row, headers))


def reach_ahead(writer: sqlite3.Connection, height: Height) -> None:
    """Make the headers ahead up to `height` part of the chain, without their blocks."""
    writer.execute(
        "INSERT INTO blocks (height, id, header_bytes, transaction_count, block, certificate) "
        "SELECT height, id, header_bytes, ?, block, certificate FROM ahead WHERE height <= ? ORDER BY height",
        (UNKNOWN_COUNT, height),
    )
    writer.execute("DELETE FROM ahead WHERE height <= ?", (height,))


def replace_state(writer: sqlite3.Connection, state: StateMap) -> None:
    """Put another state in the place of the present one."""
    writer.execute("DELETE FROM state")
    writer.executemany("INSERT INTO state (key, value) VALUES (?, ?)", state.items())


def prune(writer: sqlite3.Connection, first: Height, below: Height) -> None:
    """Remove what stands in blocks of the heights from `first` to before `below`, but for headers and certificates.

    The latest event and transaction stay, whatever their height, so that numbers are never given twice.
    """
    span = (first, below)
    writer.execute(
        "UPDATE blocks SET block = substr(block, 1, header_bytes + 1) WHERE height >= ? AND height < ?", span
    )
    writer.execute("DELETE FROM receipts WHERE height >= ? AND height < ?", span)
    for table in ("transactions", "events"):
        writer.execute(
            f"DELETE FROM {table} WHERE height >= ? AND height < ? "  # noqa: S608 - names of our own tables
            f"AND sequence < (SELECT max(sequence) FROM {table})",
            span,
        )
    set_blocks_from(writer, below)


def set_blocks_from(writer: sqlite3.Connection, height: int) -> None:
    """Note from which height on every block is here."""
    writer.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (BLOCKS_FROM_KEY, height.to_bytes(8, "big")))


def certified_headers(rows: Iterable[tuple[bytes, bytes, int]], bytes_max: int) -> list[bytes]:
    """Return encoded `CertifiedHeader`s from rows of block, certificate and header size; the first one always."""
    found: list[bytes] = []
    size = 0
    for block, certificate, header_bytes in rows:
        encoded = PAIR + block[1 : 1 + header_bytes] + certificate
        size += len(encoded)
        if found and size > bytes_max:
            break
        found.append(encoded)
    return found


def _row(ahead: HeaderAhead) -> tuple[int, bytes, int, bytes, bytes, bytes | None]:
    header, certificate = ahead.certified.header, ahead.certified.certificate
    encoded = encode(header)
    named = None if ahead.named is None else encode(ahead.named)
    return header.height, block_id(header), len(encoded), PAIR + encoded, encode(certificate), named
