"""The payload exchange (skeleton)."""

from __future__ import annotations

from ledger.digest import Digest
from ledger.identity import SigningKey
from ledger.payload import AvailabilityCertificate, PayloadDescriptor
from ledger.validators import ValidatorSet
from node.payloads.store import PayloadStore
from node.transport import Transport


class PayloadExchange:
    """Spreads this node's payloads and keeps those of others.

    Create it before `transport.start()`: it registers its routes. The driver hands it frames of `Channel.PAYLOAD`
    (`on_frame`) and new links (`on_peer_connected`).
    """

    def __init__(
        self, transport: Transport, store: PayloadStore, key: SigningKey, chain_id: Digest, validators: ValidatorSet
    ) -> None: ...

    async def start(self) -> None:
        """Go on with what was being fetched before a restart."""

    async def stop(self) -> None: ...

    def on_frame(self, peer: int, data: bytes) -> None:
        """Take a `Channel.PAYLOAD` frame. Raises `GarbageFrameError` (from `node.transport`)."""

    def on_peer_connected(self, peer: int) -> None:
        """Announce again what this peer has not acknowledged."""

    def update_validators(self, validators: ValidatorSet) -> None: ...

    async def publish(self, descriptor: PayloadDescriptor) -> AvailabilityCertificate:
        """Spread a stored payload; return when a quorum has acknowledged it. Cancel it to give up waiting."""
        raise KeyError

    async def obtain(self, descriptor: PayloadDescriptor) -> None:
        """Fetch a payload from any holder; returns at once when it is stored. Waits until a holder is there: cancel it to give up."""

    async def forget(self, payload_id: Digest) -> None:
        """Erase a payload here, and stop announcing or fetching it."""
