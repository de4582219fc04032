"""Frames and bulk between whole nodes. One law: a node knows of another only what came through here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final, Protocol, cast
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from node.transport import PeerKey, PeerRefusedError, PeerStatus, PeerUnreachableError
from node.transport.lane import Answer
from node.wire import FRAME_BYTES_MAX, Channel

if TYPE_CHECKING:
    from tests.simulation.whole.site import Process, Site


class Air(Protocol):
    """What carries."""

    dice: Random
    sites: list[Site]

    def post(self, sender: Site, receiver: Site, channel: Channel, data: bytes) -> None:
        """Carry a frame, or lose it."""

    def can_pass(self, sender: Site, receiver: Site) -> bool:
        """Tell whether anything passes now."""

    def round_trip_s(self) -> float | None:
        """Return how long a request takes; None when it breaks off."""


@dataclass(slots=True)
class BulkRequest:
    """As much of an `aiohttp.web.Request` as the bulk routes read."""

    query: dict[str, str]
    match_info: dict[str, str]
    body: bytes
    peer: int

    def __getitem__(self, key: object) -> int:
        """Return who asks."""
        assert key is PeerKey, f"no route reads {key}"
        return self.peer

    async def read(self) -> bytes:
        """Return the body."""
        return self.body


class AirLinks:
    """`node.transport.Links` of one process of a site."""

    def __init__(self, air: Air, site: Site, process: Process) -> None:
        self._air: Final = air
        self._site: Final = site
        self._process: Final = process
        self._router: Final = web.UrlDispatcher()

    @property
    def accepts_connections(self) -> bool:
        """Everybody can reach everybody, when the world lets them."""
        return True

    def add_routes(self, routes: Iterable[web.RouteDef], lane: Answer | None = None) -> None:  # noqa: ARG002 - no threads here
        """Serve bulk."""
        self._router.add_routes(routes)

    def broadcast(self, channel: Channel, data: bytes) -> None:
        """Send to all others; to a twin too, as relays would."""
        self._require_fits(data)
        self._process.effect(f"broadcast {channel.name}")
        self._process.say(channel, data)
        self._site.lie.broadcast(channel, data)

    def send(self, peer: int, channel: Channel, data: bytes) -> None:
        """Send to one."""
        self._require_fits(data)
        if peer >= len(self._process.chain.validators.members):
            return
        assert self._process.name_of(peer) != self._site.name, "nobody sends to itself"
        self._process.effect(f"send {channel.name}")
        self._process.say(channel, data)
        self._site.lie.send(peer, channel, data)

    def peers(self) -> list[PeerStatus]:
        """Return all other validators."""
        return [
            self._status(index, member.name)
            for index, member in enumerate(self._process.chain.validators.members)
            if member.name != self._site.name
        ]

    def is_connected(self, peer: int) -> bool:
        """Tell whether a validator can be heard and hears."""
        return any(status.index == peer and status.connected for status in self.peers())

    def has_called(self, peer: int) -> bool:
        """Nobody is behind a firewall: whoever is connected has called."""
        return self.is_connected(peer)

    def is_dialable(self, peer: int) -> bool:
        """Everybody has an address."""
        return self._process.name_of(peer) != self._site.name

    async def fetch(self, peer: int, path: str, *, bytes_max: int) -> bytes:
        """GET `path`."""
        answer = await self._request("GET", peer, path, b"")
        if len(answer) > bytes_max:
            raise PeerRefusedError(peer=str(peer), path=path, reason="longer than asked for", status=200)
        return answer

    async def push(self, peer: int, path: str, body: bytes, *, bytes_max: int = 1024) -> bytes:
        """PUT `body`."""
        answer = await self._request("PUT", peer, path, body)
        return answer[:bytes_max]

    async def serve(self, peer: int, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Answer a peer's request with the routes that the node's parts have registered."""
        parts = urlsplit(path)
        for resource in self._router.resources():
            found = cast("dict[str, str] | None", resource._match(parts.path))  # type: ignore[attr-defined]
            if found is None:
                continue
            for route in resource:
                if route.method == method:
                    request = BulkRequest(dict(parse_qsl(parts.query)), found, body, peer)
                    try:
                        response = await route.handler(cast("web.Request", request))
                    except web.HTTPException as refusal:
                        return refusal.status, b""
                    return response.status, bytes(cast("web.Response", response).body or b"")  # type: ignore[arg-type]
        return 404, b""

    async def _request(self, method: str, peer: int, path: str, body: bytes) -> bytes:
        self._process.effect(f"{method} bulk")
        if peer >= len(self._process.chain.validators.members):
            raise PeerUnreachableError(peer=str(peer), path=path, reason="it is no validator any more")
        other = self._site_of(self._process.name_of(peer))
        takes_s = self._air.round_trip_s()
        await asyncio.sleep(takes_s if takes_s is not None else 1.0)
        if takes_s is None or other is None or not other.is_up or not self._can_talk(other):
            raise PeerUnreachableError(peer=str(peer), path=path, reason="no connection")
        assert other.process is not None, "it is up"
        serving = other.process.spawn(other.lie.serve(self._index_at(other.process), method, path, body))
        await asyncio.wait([serving])
        await asyncio.sleep(takes_s)
        if serving.cancelled() or serving.exception() is not None or not self._can_talk(other):
            raise PeerUnreachableError(peer=str(peer), path=path, reason="it broke off")
        status, answer = serving.result()
        if status != 200:
            raise PeerRefusedError(peer=str(peer), path=path, reason="refused", status=status)
        return answer

    def _index_at(self, process: Process) -> int:
        """Return the index that this node has in another one's set; past its end when it has none."""
        members = process.chain.validators.members
        return next((index for index, one in enumerate(members) if one.name == self._site.name), len(members))

    def _site_of(self, name: str) -> Site | None:
        return next((site for site in self._air.sites if site.name == name), None)

    def _status(self, index: int, name: str) -> PeerStatus:
        other = self._site_of(name)
        up = other is not None and other.is_up and self._can_talk(other)
        return PeerStatus(index, name, up, up, 0, name, None, None, 0, 0, 0)

    def _can_talk(self, other: Site) -> bool:
        return self._air.can_pass(self._site, other) and self._air.can_pass(other, self._site)

    @staticmethod
    def _require_fits(data: bytes) -> None:
        assert len(data) <= FRAME_BYTES_MAX, "no frame is longer than the transport takes"
