"""A round's updates on disk, of which shards are read. One law: what is not asked for is not read.

Shards begin and end where payload chunks do, as far as they are that large, so that no chunk is decrypted twice in a
pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from fl.aggregators.streaming import Shard
from fl.results import AggregationJob, InputError
from ledger.payload import CHUNK_BYTES, SALT_BYTES, PayloadDescriptor
from node.round_inputs import ReadInto, require_size

WORD_BYTES: Final = 2
CHUNK_COLUMNS: Final = CHUNK_BYTES // WORD_BYTES
SALT_COLUMNS: Final = SALT_BYTES // WORD_BYTES
"""The salt stands before the first word, so that every chunk but the first begins this many columns earlier."""

COLUMNS_MIN: Final = 1 << 12
"""Of a shard, however little memory there is: below it more time goes into decrypting chunks again than into sums."""


@dataclass(frozen=True, slots=True)
class StoredUpdates:
    """The updates of a round in the payload store; picklable if `read` is."""

    read: ReadInto
    payloads: tuple[PayloadDescriptor, ...]
    """One a row, in the order of `AggregationJob.updates`."""

    size: int
    """d."""

    @classmethod
    def of(cls, job: AggregationJob, read: ReadInto) -> StoredUpdates:
        """Return the updates of a job.

        Raises:
            InputError: a payload has another length than the task's schema says.
        """
        size = job.spec.schema.size
        if not job.updates:
            raise InputError(f"round {job.round.number} has no updates")
        for update in job.updates:
            require_size(update.payload, SALT_BYTES + WORD_BYTES * size)
        return cls(read, tuple(update.payload for update in job.updates), size)

    def places(self, bytes_max: int) -> list[slice]:
        """Return shards that cover all columns in order.

        Args:
            bytes_max: of all rows of one shard, unless that is less than `COLUMNS_MIN` columns.
        """
        columns = max(COLUMNS_MIN, bytes_max // (WORD_BYTES * len(self.payloads)))
        columns = min(columns, CHUNK_COLUMNS)
        bounds = [0]
        for start in range(-SALT_COLUMNS, self.size, CHUNK_COLUMNS):
            stop = min(start + CHUNK_COLUMNS, self.size)
            while bounds[-1] < stop:
                bounds.append(min(bounds[-1] + columns, stop))
        return [slice(start, stop) for start, stop in pairwise(bounds)]

    def shard(self, place: slice, rows: Sequence[int]) -> Shard:
        """Read some columns of some rows, the others are 0; blocks.

        Raises:
            PayloadError: a payload is not here or damaged.
        """
        words = np.zeros((len(self.payloads), place.stop - place.start), "<i2")
        for row in rows:
            target = memoryview(words[row]).cast("B")
            self.read(self.payloads[row], SALT_BYTES + WORD_BYTES * place.start, target)
        return Shard(place.start, words.astype(np.int16, copy=False))
