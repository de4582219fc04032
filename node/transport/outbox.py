"""What waits to be written to one peer. One law: gossip gives way, votes never do.

Urgent frames (consensus, heartbeats) leave first. Gossip over its limit pushes out the oldest gossip; urgent frames
over theirs mean that the peer is too slow to take part, and the link is given up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from node.transport.peers import TransportLimits


class Outbox:
    """Two bounded queues of one link."""

    __slots__ = ("_gossip", "_gossip_bytes", "_limits", "_ready", "_urgent", "_urgent_bytes", "dropped_frames")

    def __init__(self, limits: TransportLimits) -> None:
        self._limits: Final = limits
        self._urgent: Final[deque[bytes]] = deque()
        self._gossip: Final[deque[bytes]] = deque()
        self._urgent_bytes = 0
        self._gossip_bytes = 0
        self._ready: Final = asyncio.Event()
        self.dropped_frames = 0

    @property
    def frames(self) -> int:
        """How many frames wait."""
        return len(self._urgent) + len(self._gossip)

    @property
    def size_bytes(self) -> int:
        """How many bytes wait."""
        return self._urgent_bytes + self._gossip_bytes

    def put_urgent(self, frame: bytes) -> bool:
        """Queue a frame that is never dropped; False when the limit is reached, and the link is to be given up."""
        if (
            len(self._urgent) >= self._limits.urgent_frames_max
            or self._urgent_bytes + len(frame) > self._limits.urgent_bytes_max
        ):
            return False
        self._urgent.append(frame)
        self._urgent_bytes += len(frame)
        self._ready.set()
        return True

    def put_gossip(self, frame: bytes) -> None:
        """Queue a frame; the oldest make room for it."""
        self._gossip.append(frame)
        self._gossip_bytes += len(frame)
        while len(self._gossip) > self._limits.gossip_frames_max or self._gossip_bytes > self._limits.gossip_bytes_max:
            self._gossip_bytes -= len(self._gossip.popleft())
            self.dropped_frames += 1
        self._ready.set()

    async def get(self) -> bytes:
        """Wait for the next frame to write."""
        while True:
            if self._urgent:
                frame = self._urgent.popleft()
                self._urgent_bytes -= len(frame)
                return frame
            if self._gossip:
                frame = self._gossip.popleft()
                self._gossip_bytes -= len(frame)
                return frame
            self._ready.clear()
            await self._ready.wait()
