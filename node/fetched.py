"""Fetched blocks on their way into the chain. One law: bounded slices, so that messages come in between."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from ledger.digest import Digest
from node.sync.checking import CheckedBlock

SLICE_BLOCKS_MAX: Final = 16
SLICE_TRANSACTIONS_MAX: Final = 256
"""A slice ends with the block that reaches it: some tens of milliseconds on an ordinary machine."""


class FetchedBlocks:
    """One part of fetched blocks at a time."""

    def __init__(self) -> None:
        """Begin without any."""
        self._blocks: Final[deque[CheckedBlock]] = deque()
        self._signed: frozenset[Digest] = frozenset()
        self._done: asyncio.Future[bool] | None = None
        self._had_turn = False
        self.is_open = False
        """Whether a slice is being taken."""

        self.are_many = False
        """Whether the part is longer than one slice, so that what happened in its blocks is no news."""

    def bring(self, part: Sequence[CheckedBlock]) -> asyncio.Future[bool]:
        """Queue a part; the answer tells, once it is used up, whether the next one may come."""
        assert not self._blocks, "one part after the other"
        self._blocks.extend(part)
        self.are_many = len(part) > SLICE_BLOCKS_MAX
        self._signed = frozenset(identity for block in part for identity in block.signed)
        self._done = asyncio.get_running_loop().create_future()
        return self._done

    def is_signed(self, transaction: Digest) -> bool:
        """Tell whether a transaction of the part has had its signature checked."""
        return transaction in self._signed

    def is_due(self, *, messages_wait: bool) -> bool:
        """Tell whether it is the blocks' turn: every other time while messages wait."""
        if not self._blocks:
            return False
        self._had_turn = not (self._had_turn and messages_wait)
        return self._had_turn

    def some(self) -> Iterator[CheckedBlock]:
        """Take the next slice, block by block."""
        transactions = 0
        self.is_open = True
        try:
            for _ in range(SLICE_BLOCKS_MAX):
                if not self._blocks or transactions >= SLICE_TRANSACTIONS_MAX:
                    break
                block = self._blocks.popleft()
                transactions += len(block.certified.block.transactions)
                yield block
        finally:
            self.is_open = False
            if not self._blocks:
                self._end(go_on=True)

    def refuse(self) -> None:
        """Drop what is left of the part: it does not lead on."""
        self._blocks.clear()
        self._end(go_on=False)

    def _end(self, *, go_on: bool) -> None:
        self._signed = frozenset()
        if self._done is not None and not self._done.done():
            self._done.set_result(go_on)
