"""The transport's public face (skeleton)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from aiohttp import web

from ledger.digest import Digest
from ledger.validators import ValidatorSet
from node.tls import TransportIdentity
from node.transport.peers import PeerStatus, TransportLimits
from node.wire import Channel


class Transport:
    """This node's links to all other validators.

    `on_frame(peer, channel, data)` runs in the event loop, must not block, and is called once for every frame; `peer` is the
    index (in the set in force) of the validator that first sent it. Came it through a third node, that is hearsay:
    frames must prove their author. It raises `GarbageFrameError` for what no honest node sends: the neighbour it came
    from is disconnected for a while.
    """

    def __init__(
        self,
        identity: TransportIdentity,
        chain_id: Digest,
        validators: ValidatorSet,
        on_frame: Callable[[int, Channel, bytes], None],
        *,
        listen: tuple[str, int] | None,
        boot_epoch: int,
        addresses: Mapping[str, str] | None = None,
        limits: TransportLimits = TransportLimits(),  # noqa: B008 - frozen
        on_peer_connected: Callable[[int], None] | None = None,
    ) -> None: ...

    def add_routes(self, routes: Iterable[web.RouteDef]) -> None:
        """Serve bulk, before `start`: `web.get("/peer/blocks", handler)`; handler reads `request[PeerKey]`."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    @property
    def port(self) -> int:
        """The port it listens on, 0 without `listen`."""
        return 0

    def broadcast(self, channel: Channel, data: bytes) -> None:
        """Queue a frame for every other validator."""

    def send(self, peer: int, channel: Channel, data: bytes) -> None:
        """Queue a frame for one validator, through others when there is no direct link."""

    def peers(self) -> list[PeerStatus]:
        """All other validators, in order of index."""
        return []

    def update_validators(self, validators: ValidatorSet) -> None:
        """Talk to these from now on; links to those who left are closed."""

    async def fetch(self, peer: int, path: str, *, bytes_max: int) -> bytes:
        """GET `path` (with query) from a validator over a bulk connection.

        Raises:
            PeerUnreachableError: no address, no connection, or it broke off.
            PeerRefusedError: it answered with an error status, or with more than `bytes_max`.
        """
        return b""
