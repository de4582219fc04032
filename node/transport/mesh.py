"""All links of this node, and what travels over them. One law: nothing here waits for a peer.

Each end dials the other when it has no link to it, so a pair of nodes has one link, or for a while two when both dialed
at the same moment; frames leave by the newest. A link that replaces one of the same direction ends the older one,
since the peer must have restarted.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import thread_time
from typing import Final

import structlog
from aiohttp import web

from ledger.digest import Digest
from ledger.identity import PublicKey
from ledger.validators import VALIDATORS_MAX, Validator, ValidatorSet
from node.tls import TransportIdentity
from node.transport import frames
from node.transport.budget import Accounts, Penalties, Worth
from node.transport.dialer import Dialer
from node.transport.errors import GarbageFrameError, PeerUnreachableError
from node.transport.frames import EVERYBODY, Frame, Kind
from node.transport.handshake import Hello, hello
from node.transport.lane import Answer
from node.transport.link import Link
from node.transport.peers import PeerStatus, TransportLimits
from node.transport.port import Port
from node.transport.relay import Relay
from node.wire import Channel

_log: Final = structlog.get_logger("node.transport")

DEFAULT_LIMITS: Final = TransportLimits()


class Transport:
    """This node's links to all other validators.

    `on_frame(peer, channel, data)` runs in the event loop and must not block. `peer` is the index (in the set in force)
    of the validator that first sent it; when it came through a third node (`carrier`) that is hearsay: frames prove
    their author. It raises `GarbageFrameError` for what no honest node sends: if the author is the neighbour it came
    from, that one is disconnected for a while. It returns what the frame was worth; what was worth little, now or when
    it is looked into later (`charge`), makes the neighbour wait. Frames may come twice, late, and in another order.
    """

    def __init__(  # noqa: PLR0913 - all but four are settings by name
        self,
        identity: TransportIdentity,
        chain_id: Digest,
        validators: ValidatorSet,
        on_frame: Callable[[int, Channel, bytes], Worth | None],
        *,
        listen: tuple[str, int] | None,
        boot_epoch: int,
        addresses: Mapping[str, str] | None = None,
        limits: TransportLimits = DEFAULT_LIMITS,
        on_peer_connected: Callable[[int], None] | None = None,
    ) -> None:
        """Settle everything; nothing is opened before `start`.

        Args:
            listen: host and port to accept connections at (port 0: any), None to accept none.
            boot_epoch: counts the starts of this node.
            addresses: `host:port` by validator name, instead of what the validator set says.
            on_peer_connected: called in the loop with the index of a peer to which there was no direct link before.
        """
        self.me: Final = identity.public_key
        self.limits: Final = limits
        self._identity: Final = identity
        self._chain_id: Final = chain_id
        self._on_frame: Final = on_frame
        self._on_peer_connected: Final = on_peer_connected
        self._boot_epoch: Final = boot_epoch
        self._addresses: Final = dict(addresses or {})
        self.carrier: bytes = EVERYBODY
        """Whose account the frame is on that `on_frame` is looking at: a neighbour's, or its and the origin's."""

        self._accounts: Final = Accounts(limits.work_s_per_s_max)
        self._links: Final[dict[PublicKey, list[Link]]] = {}
        self._epochs: Final[dict[PublicKey, int]] = {}
        self._refusals: Final[dict[PublicKey, str]] = {}
        self._dialers: Final[dict[PublicKey, Dialer]] = {}
        self._closing: Final[set[asyncio.Task[None]]] = set()
        self.penalties: Final = Penalties(limits.penalty_ms_min, limits.penalty_ms_max)
        self._relay: Final = Relay(self.me)
        self._sequence = secrets.randbits(48)
        self._validators = validators
        self._members = validators.members
        self._index: dict[PublicKey, int] = {}
        self._port: Final = Port(self, identity, listen)
        self._running = False
        self._take_members(validators)

    def add_routes(self, routes: Iterable[web.RouteDef], lane: Answer | None = None) -> None:
        """Serve bulk, before `start`: `web.get("/peer/blocks", handler)`; the handler reads `request[PeerKey]`."""
        self._port.add_routes(routes, lane)

    async def start(self) -> None:
        """Listen and dial.

        Raises:
            OSError: the address cannot be listened at.
        """
        await self._port.open([member.transport_key for member in self._members])
        self._running = True
        self._settle_dialers()

    async def stop(self) -> None:
        """Close everything; frames that still wait are lost."""
        self._running = False
        self._port.stop_listening()
        dialers = list(self._dialers.values())
        self._dialers.clear()
        self._end_links("this node stops", lambda _: True)
        await asyncio.gather(*(dialer.stop() for dialer in dialers), *self._closing)
        await self._port.close()

    @property
    def port(self) -> int:
        """The port it listens at; 0 without `listen` or before `start`."""
        return self._port.number

    def broadcast(self, channel: Channel, data: bytes) -> None:
        """Queue a frame for every other validator, at most `FRAME_BYTES_MAX` bytes."""
        frames.require_size(data)
        self._sequence += 1
        message = frames.broadcast(channel, self._sequence, data)
        for key in self._links:
            self._links[key][0].send(channel, message)

    def send(self, peer: int, channel: Channel, data: bytes) -> None:
        """Queue a frame for one validator, through others when there is no direct link; lost when there is no way."""
        frames.require_size(data)
        if peer >= len(self._members):
            return
        key = self._members[peer].transport_key
        if key in self._links:
            self._links[key][0].send(channel, frames.direct(channel, data))
            return
        self._sequence += 1
        frame = Frame(Kind.RELAYED, channel, self._sequence, self.me, key, data)
        for hop in self._relay.first_hops(frame, self._validators.faulty_max + 1):
            self._links[hop][0].send(channel, frames.relayed(frame))

    def peers(self) -> list[PeerStatus]:
        """Return all other validators, in order of index."""
        return [
            self._status(index, member) for index, member in enumerate(self._members) if member.transport_key != self.me
        ]

    def is_connected(self, peer: int) -> bool:
        """Tell whether there is a direct link to a validator."""
        return self._members[peer].transport_key in self._links

    @property
    def accepts_connections(self) -> bool:
        """Tell whether others can open connections to this node, as far as the validator set knows."""
        index = self._index.get(self.me)
        return self.port != 0 and index is not None and bool(self._members[index].address)

    def has_called(self, peer: int) -> bool:
        """Tell whether a validator has opened a connection to this node since it started."""
        return self._port.has_been_called_by(self._validators.members[peer].transport_key)

    def is_dialable(self, peer: int) -> bool:
        """Tell whether a validator has an address, so that `fetch` may reach it."""
        return bool(self.address_of(self._members[peer]))

    def update_validators(self, validators: ValidatorSet, guests: Sequence[Validator] = ()) -> None:
        """Talk to these from now on; links to all others are closed.

        Args:
            validators: decide the next height.
            guests: others who may listen and fetch blocks, such as a newcomer: their indices follow the validators'.
        """
        self._take_members(validators, guests)
        self._port.pin([member.transport_key for member in self._members])
        self._end_links("it left the validator set", lambda key: key not in self._index)
        if self._running:
            self._settle_dialers()

    async def fetch(self, peer: int, path: str, *, bytes_max: int) -> bytes:
        """GET `path` (with its query) from a validator over a bulk connection.

        Raises:
            PeerUnreachableError: no address, no connection, or it broke off.
            PeerRefusedError: it answered with an error status, or with more than `bytes_max`.
        """
        return await self._request("GET", peer, path, bytes_max, b"")

    async def push(self, peer: int, path: str, body: bytes, *, bytes_max: int = 1024) -> bytes:
        """PUT `body` to a validator over a bulk connection; otherwise as `fetch`."""
        return await self._request("PUT", peer, path, bytes_max, body)

    async def _request(self, method: str, peer: int, path: str, bytes_max: int, body: bytes) -> bytes:
        if peer >= len(self._members):  # whoever asks one after the other has begun under a larger set
            raise PeerUnreachableError(peer=f"validator {peer}", path=path, reason="it is no validator any more")
        member = self._members[peer]
        dialer, address = self._dialers.get(member.transport_key), self.address_of(member)
        if dialer is None or not address:
            reason = "it has no address" if dialer is not None else "this node is stopped"
            raise PeerUnreachableError(peer=member.name, path=path, reason=reason)
        return await dialer.client.request(method, address, path, bytes_max=bytes_max, body=body)

    # What the core says of frames that it has looked into later.

    def charge(self, account: bytes, spent_s: float, worth: Worth) -> None:
        """Put processor time that a frame took on an account (`carrier`), the more of it the less it was worth."""
        self._accounts.charge(account, spent_s, worth, asyncio.get_running_loop().time())

    def blame(self, neighbour: bytes, reason: str) -> None:
        """Send a neighbour away that sent what no honest node sends."""
        if neighbour in self._links:
            self._send_away(PublicKey(neighbour), f"garbage: {reason}")

    def key_of(self, peer: int) -> PublicKey:
        """Transport key of a validator."""
        return self._validators.members[peer].transport_key

    # What ports and dialers ask for.

    def index_of(self, key: PublicKey) -> int | None:
        """Index of the validator with this transport key, in the set in force."""
        return self._index.get(key)

    def address_of(self, member: Validator) -> str:
        """Where to reach a validator; empty when it accepts no connections."""
        return self._addresses.get(member.name, member.address)

    def hello(self) -> Hello:
        """What this node says first on each socket."""
        return hello(self._chain_id, self._boot_epoch, self._neighbours())

    def has_link(self, key: PublicKey) -> bool:
        """Tell whether there is a direct link to the holder of this key."""
        return key in self._links

    def note_refusal(self, key: PublicKey, reason: str) -> None:
        """Log why there is no link to a peer, once for each reason."""
        if self._refusals.get(key) != reason:
            self._refusals[key] = reason
            _log.warning("peer.refused", peer=self._name(key), reason=reason)

    async def carry(self, link: Link) -> None:
        """Use a link from after its handshake until it ends."""
        key = link.peer
        if key not in self._index or not self._running:
            link.end("no validator" if self._running else "this node stops")
        link.work = self._accounts.of(key, link.began_s)
        self._add_link(link)
        reason = "the connection was lost"
        try:
            reason = await link.run(self._on_link_frame, self._on_neighbours, self._neighbours)
        except GarbageFrameError as error:
            reason = f"garbage: {error}"
        except Exception:  # noqa: BLE001 - a bug in a handler must not end this node's dialing for good
            reason = "a handler failed"
            _log.exception("frame.handler_failed", peer=self._name(key))
        finally:
            if link.garbage:
                self._send_away(key, f"garbage: {link.garbage}")
            self._remove_link(link)
            _log.info("link.down", peer=self._name(key), reason=reason)

    def _send_away(self, key: PublicKey, reason: str) -> None:
        away_ms = self.penalties.add(key, asyncio.get_running_loop().time())
        self._end_links(reason, lambda other: other == key)
        _log.warning("peer.sent_garbage", peer=self._name(key), reason=reason, away_ms=away_ms)

    def _add_link(self, link: Link) -> None:
        key, others = link.peer, self._links.setdefault(link.peer, [])
        for other in others:
            if other.dialed == link.dialed:
                other.end("a newer link of the same direction came")
        first = not others
        others.insert(0, link)
        self._epochs[key] = link.hello.boot_epoch
        self._refusals.pop(key, None)
        self._on_neighbours(link, tuple(link.hello.neighbours))
        _log.info("link.up", peer=self._name(key), dialed=link.dialed, boot_epoch=link.hello.boot_epoch)
        if first:
            self._tell_neighbours()
            if self._on_peer_connected is not None and key in self._index:
                self._on_peer_connected(self._index[key])

    def _remove_link(self, link: Link) -> None:
        key, others = link.peer, self._links[link.peer]
        others.remove(link)
        if others:
            return
        del self._links[key]
        self._relay.drop(key)
        self._tell_neighbours()
        if key in self._dialers:
            self._dialers[key].wake()

    def _neighbours(self) -> tuple[PublicKey, ...]:
        return tuple(sorted(self._links))[:VALIDATORS_MAX]

    def _tell_neighbours(self) -> None:
        neighbours = self._neighbours()
        for links in self._links.values():
            links[0].ping(neighbours)

    def _on_neighbours(self, link: Link, neighbours: tuple[PublicKey, ...]) -> None:
        for key in self._relay.set_reach(link.peer, neighbours):
            if key in self._dialers and key not in self._links:
                self._dialers[key].wake()

    def _on_link_frame(self, link: Link, frame: Frame) -> None:
        if frame.kind is Kind.RELAYED or (frame.kind is Kind.BROADCAST and not self._relay.complete):
            self._relay_on(link, frame)
        else:
            self._deliver(link, frame)

    def _relay_on(self, link: Link, frame: Frame) -> None:
        account = frame.account(link.peer)
        is_borne = account == link.peer or self._accounts.bears(account, asyncio.get_running_loop().time())
        if frame.origin == self.me or frame.origin not in self._index or not is_borne:
            return
        is_mine = self._relay.is_new(frame) and frame.destination in {EVERYBODY, self.me}
        if is_mine and self._deliver(link, frame) is Worth.FALSE:
            return  # nobody else has any use for it either
        targets = self._relay.targets(frame, link.peer)
        if targets:
            message = frames.relayed(frame)
            for key in targets:
                self._links[key][0].send(frame.channel, message)

    def _deliver(self, link: Link, frame: Frame) -> Worth:
        index = self._index.get(frame.origin)
        if index is None:
            return Worth.KNOWN
        self.carrier, began_s, worth = frame.account(link.peer), thread_time(), Worth.FALSE
        try:
            worth = self._on_frame(index, frame.channel, frame.data) or Worth.USEFUL
        except GarbageFrameError as error:
            if frame.kind is not Kind.RELAYED:
                raise
            _log.info("frame.garbage_relayed", claimed_origin=self._name(frame.origin), reason=str(error))
        finally:
            self.charge(self.carrier, thread_time() - began_s, worth)
        return worth

    def _end_links(self, reason: str, which: Callable[[PublicKey], bool]) -> None:
        for key, links in self._links.items():
            if which(key):
                for link in links:
                    link.end(reason)

    def _take_members(self, validators: ValidatorSet, guests: Sequence[Validator] = ()) -> None:
        self._validators = validators
        seated = {member.transport_key for member in validators.members}
        self._members = (*validators.members, *(guest for guest in guests if guest.transport_key not in seated))
        self._index = {member.transport_key: index for index, member in enumerate(self._members)}
        self._relay.set_members(self._index)
        self._accounts.keep(self._index)
        for key in self._epochs.keys() - self._index.keys():
            del self._epochs[key]
            self.penalties.forget(key)
            self._refusals.pop(key, None)

    def _settle_dialers(self) -> None:
        for key in self._dialers.keys() - self._index.keys():
            task = asyncio.create_task(self._dialers.pop(key).stop())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        for member in self._members:
            key = member.transport_key
            if key == self.me:
                continue
            if key not in self._dialers:
                self._dialers[key] = Dialer(self, self._identity, member)
                self._dialers[key].start()
            self._dialers[key].aim(member)

    def _status(self, index: int, member: Validator) -> PeerStatus:
        key = member.transport_key
        links = self._links.get(key, [])
        return PeerStatus(
            index=index,
            name=member.name,
            is_guest=index >= len(self._validators),
            connected=bool(links),
            reachable=bool(links or self._relay.reaches(key)),
            boot_epoch=self._epochs.get(key, 0),
            address=self.address_of(member),
            round_trip_ms=links[0].round_trip_ms if links else None,
            clock_offset_ms=links[0].clock_offset_ms if links else None,
            queued_frames=sum(link.outbox.frames for link in links),
            queued_bytes=sum(link.outbox.size_bytes for link in links),
            dropped_frames=sum(link.outbox.dropped_frames for link in links),
        )

    def _name(self, key: PublicKey) -> str:
        index = self._index.get(key)
        return self._members[index].name if index is not None else key.hex()[:16]
