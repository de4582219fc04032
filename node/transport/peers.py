"""Peers as the transport sees them, and its limits. One law: an index means the validator set in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One other validator, as `Transport.peers` reports it."""

    index: int
    """Index in the validator set in force."""

    name: str
    connected: bool
    """A direct link works in this moment."""

    reachable: bool
    """Connected, or a neighbour says that it is connected."""

    boot_epoch: int
    """As its last handshake said; 0 before the first one."""

    address: str
    """Where this node dials it; empty when it accepts no connections."""

    round_trip_ms: float | None
    """Of the last heartbeat; None without one."""

    clock_offset_ms: float | None
    """How far its clock is ahead of this machine's, as it says itself; None without a heartbeat."""

    queued_frames: int
    queued_bytes: int
    dropped_frames: int
    """Gossip that made room for newer, over the present link's life."""

    is_guest: bool = False
    """It may listen and fetch blocks, and is no validator."""


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """Bounds and tempers of the transport; the defaults serve a consortium of 4 to 32 nodes."""

    urgent_frames_max: int = 4_096
    """Consensus frames that wait for one peer; one more and the peer is a slow consumer and is dropped."""

    urgent_bytes_max: int = 3 << 20
    """A peer that takes so little is served with what it has missed when it asks."""

    gossip_frames_max: int = 8_192
    """All other frames that wait for one peer; one more and the oldest is dropped."""

    gossip_bytes_max: int = 2 << 20
    receive_frames_per_s_max: int = 20_000
    """Read from one peer; beyond it reading pauses, so that TCP slows the peer down."""

    receive_bytes_per_s_max: int = 64 << 20
    work_s_per_s_max: float = 0.25
    """Processor time that one peer's frames may take, each as often as it is worth little (`Worth`); beyond it reading
    pauses."""

    connections_max: int = 256
    """Of all peers together; `connections_per_peer_max` of each. The oldest that serves no request makes room."""

    connections_per_peer_max: int = 12
    handshakes_max: int = 24
    """TLS handshakes at once, 256 KiB of memory each; the address that has most of them gives its oldest."""

    accepts_per_s_max: float = 100.0
    """New connections; more of them wait in the kernel. Links that stand are not touched by who knocks."""

    heartbeat_ms: int = 1_000
    silence_ms_max: int = 4_000
    """A link on which nothing came for this long is dead."""

    write_stall_ms_max: int = 5_000
    """A peer that takes no byte for this long is dropped."""

    connect_ms_max: int = 3_000
    """For connection, TLS and handshake each."""

    backoff_ms_min: int = 20
    backoff_ms_max: int = 1_000
    penalty_ms_min: int = 1_000
    """How long a peer that sent garbage stays away; doubles each time up to `penalty_ms_max`."""

    penalty_ms_max: int = 60_000
    bulk_bytes_per_s_max: int = 512 << 20
    """Served to all peers together over bulk connections."""

    bulk_requests_max: int = 64
    """Served at once, 1 MiB of memory each; others wait. Far more than f peers can hold by reading slowly."""

    bulk_requests_per_peer_max: int = 4
    """Waiting and served, and connections used towards one peer."""

    bulk_stall_ms_max: int = 10_000
    """A bulk answer of which nothing comes, or is taken, for this long has failed."""


PeerKey: Final = web.RequestKey("foedus_peer", int)
"""`request[PeerKey]` is the index of the validator that makes a bulk request."""
