"""Who passes a frame on to whom. One law: in a full mesh nothing is passed on and nothing is hashed.

Every node tells its neighbours whom it is connected with (in the handshake, with each heartbeat, and at once when it
changes). A node passes a frame on to those of its neighbours that the one it came from is not connected with. So two
nodes without a link between them, and nodes that accept no connections, get each other's frames through every third
one; a node that lies about its connections only silences itself, since the same frame from an honest neighbour is
judged anew, by that neighbour's connections. Each frame goes to each neighbour at most once.

Cost: nothing in a full mesh; otherwise one BLAKE2b a frame, and at most n - 2 copies to a node that lacks a link.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from ledger.identity import PublicKey
from node.transport.frames import EVERYBODY, Frame

SEEN_FRAMES_MAX: Final = 8_192


class Relay:
    """What the neighbours say whom they are connected with, and which frames went to whom."""

    def __init__(self, me: PublicKey) -> None:
        self._me: Final = me
        self._reach: Final[dict[PublicKey, frozenset[PublicKey]]] = {}
        self._seen: Final[OrderedDict[bytes, set[PublicKey]]] = OrderedDict()
        self._members: frozenset[PublicKey] = frozenset()
        self.complete = False
        """Everybody is connected with everybody."""

    def set_members(self, members: Iterable[PublicKey]) -> None:
        """Take the other validators' keys."""
        self._members = frozenset(members) - {self._me}
        self._judge()

    def set_reach(self, neighbour: PublicKey, connected: Iterable[PublicKey]) -> frozenset[PublicKey]:
        """Take what a neighbour says; return whom it reaches now and did not before."""
        before = self._reach.get(neighbour, frozenset())
        now = frozenset(connected) & (self._members | {self._me})
        self._reach[neighbour] = now
        self._judge()
        return now - before

    def drop(self, neighbour: PublicKey) -> None:
        """Take that the link to a neighbour is gone."""
        self._reach.pop(neighbour, None)
        self._judge()

    def reaches(self, peer: PublicKey) -> list[PublicKey]:
        """Neighbours that say they are connected with `peer`."""
        return [neighbour for neighbour, reach in self._reach.items() if peer in reach]

    def is_new(self, frame: Frame) -> bool:
        """Tell whether this node has not had `frame` yet; remembers it from now on."""
        return self._note(frame.identity)

    def targets(self, frame: Frame, sender: PublicKey) -> list[PublicKey]:
        """Return the neighbours to pass `frame` on to, which came from `sender`; they count as served from now on."""
        if frame.destination in self._reach:
            wanted = {frame.destination}
        else:
            wanted = self._reach.keys() - self._reach.get(sender, frozenset())
        wanted = wanted - {sender, frame.origin}
        if not wanted or frame.destination == self._me:
            return []
        identity = frame.identity
        self._note(identity)
        served = self._seen[identity]
        fresh = sorted(wanted - served)
        served.update(fresh)
        return fresh

    def first_hops(self, frame: Frame, hops_max: int) -> list[PublicKey]:
        """Return the neighbours through which to send to a validator without a link: some that know it, else all."""
        assert frame.destination != EVERYBODY
        knowing = sorted(self.reaches(frame.destination))
        if not knowing:
            return sorted(self._reach)
        start = frame.sequence % len(knowing)
        return (knowing[start:] + knowing[:start])[:hops_max]

    def _note(self, identity: bytes) -> bool:
        if identity in self._seen:
            return False
        self._seen[identity] = set()
        if len(self._seen) > SEEN_FRAMES_MAX:
            self._seen.popitem(last=False)
        return True

    def _judge(self) -> None:
        everybody = self._members | {self._me}
        self.complete = self._reach.keys() >= self._members and all(
            reach | {neighbour} >= everybody for neighbour, reach in self._reach.items()
        )
