"""The content check: are a body's words on the grid. One law: every node gives the same verdict, from the bytes alone.

The body follows the salt and consists of little-endian int16 words q with |q| <= `fl.grid.WORD_MAX`. Chunks are checked
one by one, in any order: salt and chunk length are even, so no word lies in two chunks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from fl.grid import check_words
from ledger.payload import CHUNK_BYTES, SALT_BYTES, PayloadDescriptor, Verdict

WORD_BYTES: Final = 2


def is_on_grid(index: int, chunk: bytes | memoryview) -> bool:
    """Tell whether all whole words of chunk number `index` are within the bound, a broken last word aside."""
    start = SALT_BYTES if index == 0 else 0
    words = np.frombuffer(chunk, dtype="<i2", offset=start, count=(len(chunk) - start) // WORD_BYTES)
    return check_words(words) == "ok"


def verdict(descriptor: PayloadDescriptor, on_grid: Iterable[bool]) -> Verdict:
    """Return what the check says of a payload, from what `is_on_grid` said of each chunk.

    `malformed`: the body is empty or ends within a word; else `out_of_range`: some word is over the bound; else `ok`.
    """
    assert CHUNK_BYTES % WORD_BYTES == SALT_BYTES % WORD_BYTES == 0
    body = descriptor.size - SALT_BYTES
    if body == 0 or body % WORD_BYTES:
        return "malformed"
    return "ok" if all(on_grid) else "out_of_range"
