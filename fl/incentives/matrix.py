"""The Gram matrix of a round as it stands on the chain. One law: each entry is the exact integer in its shortest form.

Entries may be far beyond 64 bits where tensors have different exponents, so they are byte strings: two's complement,
big-endian, as few bytes as hold the sign.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from fl.aggregators.gram import Gram
from ledger.codec import Record

PAID_UPDATES_MAX: Final = 64
"""Updates of a round that is paid for: its matrix fits a transaction."""

PAST_MAX: Final = 3
"""h: how many of the last public global updates an update is held against."""

ENTRY_BYTES_MAX: Final = 64
_ROWS_MAX: Final = PAID_UPDATES_MAX + PAST_MAX
ENTRIES_MAX: Final = _ROWS_MAX * (_ROWS_MAX + 1) // 2

Entry = Annotated[bytes, Meta(max_length=ENTRY_BYTES_MAX)]


class GramMatrix(Record):
    """Inner products of a round's updates, as submitted, and of the last public global updates on the same grid."""

    updates: Annotated[int, Meta(ge=1, le=PAID_UPDATES_MAX)]
    """n: the first rows, in the order of the participants."""

    past: Annotated[int, Meta(ge=0, le=PAST_MAX)]
    """h: the rows after them, the latest global update first."""

    entries: Annotated[tuple[Entry, ...], Meta(max_length=ENTRIES_MAX)]
    """Upper triangle with its diagonal, row by row, in squared units of the round's finest grid."""

    @property
    def is_complete(self) -> bool:
        """Whether there is an entry for each pair of rows."""
        rows = self.updates + self.past
        return len(self.entries) == rows * (rows + 1) // 2

    def gram(self) -> Gram:
        """Return the whole matrix; it must be complete."""
        assert self.is_complete, "that was required of it"
        rows = self.updates + self.past
        whole = [[0] * rows for _ in range(rows)]
        entries = iter(self.entries)
        for i in range(rows):
            for j in range(i, rows):
                whole[i][j] = whole[j][i] = int.from_bytes(next(entries), "big", signed=True)
        return tuple(tuple(line) for line in whole)


def matrix_of(gram: Gram, past: int) -> GramMatrix:
    """Return a matrix as it stands on the chain.

    Args:
        gram: of the updates, then of `past` global updates.
        past: how many of the last rows these are.
    """
    rows = len(gram)
    entries = tuple(shortest(gram[i][j]) for i in range(rows) for j in range(i, rows))
    return GramMatrix(rows - past, past, entries)


def shortest(value: int) -> bytes:
    """Return two's complement, big-endian, in as few bytes as hold the sign; one for 0."""
    bits = value.bit_length() if value >= 0 else (value + 1).bit_length()
    return value.to_bytes(bits // 8 + 1, "big", signed=True)
