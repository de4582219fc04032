"""Peers as the transport sees them. One law: an index means the validator set in force."""

from __future__ import annotations

from dataclasses import dataclass

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
    """Connected, or somebody who is says that it is connected."""

    boot_epoch: int
    """As its last handshake said; 0 before the first one."""

    round_trip_ms: float
    queued_frames: int
    queued_bytes: int
    dropped_frames: int


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """Bounds and tempers of the transport; the defaults serve a consortium of 4 to 32 nodes."""

    gossip_frames_max: int = 4_096
    gossip_bytes_max: int = 16 << 20
    urgent_frames_max: int = 4_096
    urgent_bytes_max: int = 64 << 20
    receive_frames_per_s_max: int = 20_000
    receive_bytes_per_s_max: int = 64 << 20
    heartbeat_ms: int = 1_000
    silence_ms_max: int = 4_000
    write_stall_ms_max: int = 5_000
    connect_ms_max: int = 3_000
    backoff_ms_min: int = 20
    backoff_ms_max: int = 1_000
    bulk_bytes_per_s_max: int = 256 << 20
    bulk_requests_max: int = 8


PeerKey: web.RequestKey[int] = web.RequestKey("foedus_peer", int)
"""`request[PeerKey]` is the index of the validator that makes a bulk request."""
