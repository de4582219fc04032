"""Chunks that came a moment ago. One law: never more memory than allowed, and none for long.

What a node has just verified it needs again soon: peers fetch it, and the round is aggregated from it. From here it is
neither read from the disk nor decrypted. What does not fit is read from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ledger.digest import Digest

KEPT_S_MAX: Final = 30.0
"""When nothing has come for this long, all is dropped."""


class RecentChunks:
    """Immutable chunks by payload and index; written in the event loop, read in any thread."""

    def __init__(self, bytes_max: int, on_dropped: Callable[[], object]) -> None:
        """Keep nothing yet.

        Args:
            bytes_max: of all chunks together; 0 keeps none.
            on_dropped: called when all was dropped since nothing came for a while.
        """
        self._bytes_max: Final = bytes_max
        self._on_dropped: Final = on_dropped
        self._chunks: Final[dict[Digest, dict[int, bytes]]] = {}
        self._last_s = 0.0
        self._watching: asyncio.TimerHandle | None = None
        self.held_bytes = 0

    def keep(self, payload_id: Digest, index: int, chunk: bytes) -> None:
        """Keep a chunk in place of an earlier one; payloads that came before it make room."""
        self.held_bytes -= len(self._chunks.get(payload_id, {}).pop(index, b""))
        while self.held_bytes + len(chunk) > self._bytes_max:
            oldest = next(iter(self._chunks), payload_id)
            if oldest == payload_id:
                return
            self.forget(oldest)
        self._chunks.setdefault(payload_id, {})[index] = chunk
        self.held_bytes += len(chunk)
        loop = asyncio.get_running_loop()
        self._last_s = loop.time()
        if self._watching is None:
            self._watching = loop.call_later(KEPT_S_MAX, self._look)

    def get(self, payload_id: Digest, index: int) -> bytes | None:
        """Return a chunk that is here; for any thread."""
        return self._chunks.get(payload_id, {}).get(index)

    def forget(self, payload_id: Digest) -> None:
        """Drop a payload's chunks."""
        self.held_bytes -= sum(map(len, self._chunks.pop(payload_id, {}).values()))

    def close(self) -> None:
        """Drop everything."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        self._chunks.clear()
        self.held_bytes = 0

    def _look(self) -> None:
        """Drop everything, or look again when the last chunk will be old."""
        loop = asyncio.get_running_loop()
        rest_s = self._last_s + KEPT_S_MAX - loop.time()
        if rest_s > 0:
            self._watching = loop.call_later(rest_s, self._look)
            return
        self.close()
        self._on_dropped()
