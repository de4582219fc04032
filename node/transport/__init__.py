"""Frames and bulk between nodes: one port, TLS 1.3 with pinned keys. One law: nobody's slowness is anybody else's.

`Transport` (mesh) keeps a link to every validator: a WebSocket after a handshake (handshake, link), dialed (dialer,
client) or accepted (port). What waits for a peer is bounded (outbox), what a peer may cost as well (budget). Frames for
validators without a link go through others (relay). Payload chunks and blocks are served on the same port over separate
connections (bulk), chunks by threads (lane).
"""

from node.transport.budget import Worth
from node.transport.errors import (
    GarbageFrameError,
    HandshakeRefusedError,
    PeerRefusedError,
    PeerUnreachableError,
    TransportError,
)
from node.transport.lane import LaneRefusedError
from node.transport.links import Links
from node.transport.mesh import Transport
from node.transport.peers import PeerKey, PeerStatus, TransportLimits

__all__ = [
    "GarbageFrameError",
    "HandshakeRefusedError",
    "LaneRefusedError",
    "Links",
    "PeerKey",
    "PeerRefusedError",
    "PeerStatus",
    "PeerUnreachableError",
    "Transport",
    "TransportError",
    "TransportLimits",
    "Worth",
]
