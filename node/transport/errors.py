"""What goes wrong between nodes. One law: a node never fails because a peer does."""

from __future__ import annotations


class TransportError(Exception):
    """Something between two nodes did not work."""


class GarbageFrameError(TransportError):
    """A frame that no honest node sends; raised by whoever looked into it."""


class HandshakeRefusedError(TransportError):
    """The two ends cannot work together; the message says which of their settings differ."""


class PeerUnreachableError(TransportError):
    """A bulk request got no complete answer."""

    def __init__(self, *, peer: str, path: str, reason: str) -> None:
        super().__init__(f"{peer} cannot be reached for {path}: {reason}")
        self.peer = peer
        self.path = path
        self.reason = reason


class PeerRefusedError(TransportError):
    """A bulk request was answered with an error, or with more than was asked for."""

    def __init__(self, *, peer: str, path: str, status: int, reason: str) -> None:
        super().__init__(f"{peer} refused {path} with status {status}: {reason}")
        self.peer = peer
        self.path = path
        self.status = status
        self.reason = reason
