"""Frames and bulk between nodes: one port, TLS 1.3 with pinned keys. One law: nobody's slowness is anybody else's.

INTERFACE SKELETON: signatures are settled, bodies follow.
"""

from node.transport.mesh import Transport
from node.transport.peers import PeerKey, PeerStatus, TransportLimits

__all__ = ["PeerKey", "PeerStatus", "Transport", "TransportLimits"]
