"""What the HTTP API may see and do of a node. One law: the API knows this page of the node and nothing else."""

from __future__ import annotations

from typing import Protocol

import msgspec

from ledger.digest import Digest
from ledger.fields import Height
from ledger.payload import AvailabilityCertificate, PayloadDescriptor, Verdict
from ledger.state_map import StateMap
from ledger.validators import ValidatorSet
from node.reason import Reason
from node.store import ChainReader


class PeerLink(msgspec.Struct, frozen=True, kw_only=True):
    """How this node and another one are connected."""

    name: str
    connected: bool
    """There is a direct connection."""

    reachable: bool = False
    """Messages get there, if through others."""

    address: str = ""
    """Where this node dials it; empty when it accepts no connections."""

    round_trip_ms: float | None = None
    """Of the last heartbeat; None without a connection."""

    clock_offset_ms: float | None = None
    """How far its clock is ahead of this machine's, as it says itself; None without a connection."""


class SyncStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How catching up goes; blocks are told by `height` and `behind`."""

    phase: str = ""
    """What of a snapshot is being fetched: `headers`, `state`, or nothing."""

    target: int = 0
    """The height that it is of; 0 without one."""

    headers: int = 0
    """How far the headers have been followed towards it."""

    headers_per_s: float = 0.0
    state_entries: int = 0
    """Entries of the state that have come."""

    pruned_at: int | None = None
    """A height whose block is needed here and pruned by peers."""

    false_answers: int = 0
    """How often a peer was found to have lied since the validator set last changed."""


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a node is doing."""

    name: str
    chain_id: str
    """Hex."""

    version: str
    """Of the program."""

    height: int
    tip_id: str
    """Hex; the chain id before the first block."""

    tip_time_ms: int
    view: int
    """View of the height that is being decided."""

    validator: bool
    """Whether this node may vote on the next height."""

    boot_epoch: int
    peers: tuple[PeerLink, ...]
    mempool_transactions: int
    mempool_bytes: int
    commit_ms: float | None = None
    """Median time from queueing a transaction here to its block being appended; None before the first."""

    blocks_from: int = 1
    """The lowest height from which on this node has every block; below it only headers."""

    sync: SyncStatus = SyncStatus()
    stuck: str = ""
    """Why the chain does not go on though there is work; empty when it does."""

    waiting_ms: int = 0
    """How long there has been work without a new block; 0 when there is none."""

    quorum: int = 0
    """Validators that it takes to decide."""

    behind: int = 0
    """Blocks that others have and this node has not."""

    signs: bool = True
    """Whether this node signs at the height that is being decided."""

    clock_offset_ms: float | None = None
    """How far this machine's clock is ahead of most validators'; None while too few can be asked."""

    disk_free_bytes: int = 0
    """Where the data directory is."""

    payload_bytes: int = 0
    """Stored and reserved."""

    payload_bytes_max: int = 0
    reasons: tuple[Reason, ...] = ()
    """All that something waits for, or that will stop it; the graver first."""


class PayloadShelf(Protocol):
    """Where payloads are kept."""

    def has(self, payload_id: Digest) -> bool:
        """Tell whether every chunk is verified and on disk."""
        ...

    def verdict(self, payload_id: Digest) -> Verdict:
        """Return what the content check of a stored payload said."""
        ...

    async def stage(self, descriptor: PayloadDescriptor, *, owner: str) -> None:
        """Begin, or go on with, receiving a payload of `owner`."""
        ...

    def missing_chunks(self, payload_id: Digest) -> list[int]:
        """Return the indices still to be written of a staged payload."""
        ...

    async def write_chunk(self, payload_id: Digest, index: int, chunk: bytes, hashed: Digest | None = None) -> None:
        """Write one chunk, of this leaf hash if it was just computed; again is no error."""
        ...

    async def finish(self, payload_id: Digest) -> Verdict:
        """Check the root and keep the payload for good."""
        ...

    async def read(self, payload_id: Digest, offset: int, length: int) -> bytes:
        """Return bytes of a stored payload, salt included; fewer at its end."""
        ...


class PayloadPublisher(Protocol):
    """Who spreads payloads among the validators."""

    async def publish(self, descriptor: PayloadDescriptor) -> AvailabilityCertificate:
        """Return the certificate once a quorum keeps the stored payload."""
        ...

    async def obtain(self, descriptor: PayloadDescriptor) -> None:
        """Fetch a payload from any holder when it is not stored here."""
        ...


class NodeView(Protocol):
    """A running node, as its API sees it; everything happens in the node's event loop."""

    @property
    def chain_id(self) -> Digest:
        """Chain that the node follows."""
        ...

    @property
    def store(self) -> ChainReader:
        """Blocks, transactions, receipts and state rows."""
        ...

    @property
    def payloads(self) -> PayloadShelf:
        """Updates and models on this node's disk."""
        ...

    @property
    def publisher(self) -> PayloadPublisher:
        """Spreads payloads."""
        ...

    def state(self) -> StateMap:
        """Return the state after the store's last block, in the same step of the loop."""
        ...

    def validators(self) -> ValidatorSet:
        """Return the set that decides the next height."""
        ...

    def status(self) -> NodeStatus:
        """Tell how the node is doing."""
        ...

    def next_free_nonce(self, sender: bytes) -> int:
        """Return the first nonce of `sender` that is neither used nor waiting."""
        ...

    def waiting(self, limit: int) -> list[bytes]:
        """Return transactions that wait for a block, at most `limit`."""
        ...

    async def submit(self, raw: bytes) -> Digest:
        """Queue a transaction and spread it; again is no error.

        Raises:
            MempoolError: it cannot wait here.
            RefusalError: the application does not let it wait.
        """
        ...

    async def wait_for_block(self, height: Height) -> None:
        """Return once the block at `height` has been appended; cancel to give up."""
        ...
