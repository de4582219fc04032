"""Spreading payloads among the validators. One law: a node acknowledges only what it can produce.

And it fetches only what it was asked for here, or what a validator announced, within that validator's quota.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

import structlog

from ledger.certificate import CertificateError
from ledger.codec import CodecError
from ledger.digest import Digest
from ledger.evidence import VerdictWord
from ledger.identity import SigningKey
from ledger.payload import Acknowledgement, AvailabilityCertificate, PayloadDescriptor, sign_acknowledgement
from ledger.validators import ValidatorSet
from node.payloads.errors import PayloadError, UnknownPayloadError
from node.payloads.publication import Publication
from node.payloads.pull import Pull
from node.payloads.serving import PayloadServer
from node.payloads.store import PayloadStore
from node.transport import GarbageFrameError, Links
from node.wire import (
    Acknowledged,
    Announcement,
    Channel,
    decode_payload_frame,
    encode_payload_frame,
    verify_announcement,
)

_log: Final = structlog.get_logger("node.payloads")

CHUNKS_MAX: Final = 8
"""Chunks on their way to this node, over all payloads; each takes about 3 MiB of memory."""

PULLS_PER_OWNER_MAX: Final = 64
"""Payloads of one validator that are fetched, or waited for, at once; others wait to be announced again."""

PUBLICATIONS_MAX: Final = 1_024
"""Payloads that this node goes on announcing; the oldest certified ones make room."""

PULL_IDLE_S_MAX: Final = 600.0
"""An announced payload of which nothing comes for this long is given up, until it is announced again."""

_OWNER_PREFIX: Final = "validator:"


class PayloadExchange:
    """Spreads this node's payloads and keeps those of others.

    Create it before `transport.start()`: it registers its routes. The driver hands it frames of `Channel.PAYLOAD`
    (`on_frame`) and new links (`on_peer_connected`).
    """

    def __init__(
        self,
        transport: Links,
        store: PayloadStore,
        key: SigningKey,
        chain_id: Digest,
        validators: ValidatorSet,
        *,
        on_two_verdicts: Callable[[int, PayloadDescriptor, VerdictWord, VerdictWord], None] = lambda *_: None,
    ) -> None:
        self._transport: Final = transport
        self._store: Final = store
        self._key: Final = key
        self._chain_id: Final = chain_id
        self._validators = validators
        self._on_two_verdicts: Final = on_two_verdicts
        self._pulls: Final[dict[Digest, Pull]] = {}
        self._pull_tasks: Final[dict[Digest, asyncio.Task[None]]] = {}
        self._waiting: Final[dict[Digest, int]] = {}
        self._publications: Final[dict[Digest, Publication]] = {}
        self._publication_tasks: Final[dict[Digest, asyncio.Task[None]]] = {}
        self._slots: Final = asyncio.Semaphore(CHUNKS_MAX)
        self._upkeep: asyncio.Task[None] | None = None
        server = PayloadServer(store, self._pulls.get, lambda peer: peer < len(self._validators))
        transport.add_routes(server.routes(), server.answer)

    async def start(self) -> None:
        """Go on with what was being fetched before a restart."""
        for card in self._store.staged():
            if card.owner.startswith(_OWNER_PREFIX):
                pull = self._begin_pull(card.payload, card.owner)
                pull.sources.note_holder(card.owner.removeprefix(_OWNER_PREFIX))
        self._upkeep = asyncio.create_task(self._give_up_idle())

    async def stop(self) -> None:
        """Stop all work; what was fetched so far stays."""
        tasks = [*self._pull_tasks.values(), *self._publication_tasks.values()]
        if self._upkeep is not None:
            tasks.append(self._upkeep)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def on_frame(self, peer: int, data: bytes) -> None:  # noqa: ARG002 - who sent it is hearsay; seals are not
        """Take a frame of `Channel.PAYLOAD`.

        Raises:
            GarbageFrameError: it is none.
        """
        try:
            frame = decode_payload_frame(data)
        except CodecError as error:
            raise GarbageFrameError(str(error)) from error
        if frame.seal.validator >= len(self._validators):
            return  # from another validator set; it will come again
        if isinstance(frame, Announcement):
            self._on_announcement(frame)
        else:
            self._on_acknowledged(frame)

    def on_peer_connected(self, peer: int) -> None:
        """Announce again what this peer has not acknowledged; ask it for what is missing."""
        for publication in self._publications.values():
            publication.remind(peer)
        for pull in self._pulls.values():
            pull.wake()

    def update_validators(self, validators: ValidatorSet) -> None:
        """Work with this set from now on."""
        self._validators = validators
        for payload_id, publication in list(self._publications.items()):
            self._publication_tasks[payload_id].cancel()
            try:
                publication.update_validators(validators)
            except CertificateError as error:  # this node left the set: it spreads nothing any more
                self._end_publication(payload_id, error)
            else:
                self._publication_tasks[payload_id] = asyncio.create_task(publication.run())

    async def publish(self, descriptor: PayloadDescriptor) -> AvailabilityCertificate:
        """Spread a stored payload; return when a quorum has acknowledged it. Cancel it to give up waiting.

        The payload goes on spreading to the other validators afterwards.

        Raises:
            UnknownPayloadError: it is not stored here.
            CertificateError: this node is no validator.
            PayloadError: too many payloads wait for a quorum already.
        """
        publication = self._publications.get(descriptor.id)
        if publication is None:
            publication = Publication(
                descriptor, self._store, self._transport, self._key, self._chain_id, self._validators
            )
            self._make_room()
            self._publications[descriptor.id] = publication
            self._publication_tasks[descriptor.id] = asyncio.create_task(publication.run())
        return await publication.certified()

    async def obtain(self, descriptor: PayloadDescriptor) -> None:
        """Fetch a payload from any holder; returns at once when it is stored.

        Waits until a holder is there: cancel it to give up.

        Raises:
            QuotaError: it does not fit.
            StorageError: the disk refuses.
        """
        payload_id = descriptor.id
        await self._store.added(payload_id)
        if self._store.has(payload_id):
            return
        self._waiting[payload_id] = self._waiting.get(payload_id, 0) + 1
        try:
            if payload_id not in self._pulls:
                self._begin_pull(descriptor, "")
            task = self._pull_tasks[payload_id]
            await asyncio.wait([task])
        finally:
            self._waiting[payload_id] -= 1
            if not self._waiting[payload_id]:
                del self._waiting[payload_id]
                pull = self._pulls.get(payload_id)
                if pull is not None and not pull.owner:
                    self._pull_tasks[payload_id].cancel()
        if not task.cancelled():
            task.result()
        if not self._store.has(payload_id):
            raise UnknownPayloadError(payload_id=payload_id, wanted="wanted any more")

    async def forget(self, payload_id: Digest) -> None:
        """Erase a payload here, and stop announcing or fetching it.

        Raises:
            StorageError: the disk refuses; the erasure goes on at the next start.
        """
        self._end_publication(payload_id, UnknownPayloadError(payload_id=payload_id, wanted="wanted any more"))
        task = self._pull_tasks.get(payload_id)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._store.delete(payload_id)

    def _on_announcement(self, frame: Announcement) -> None:
        payload, origin = frame.payload, self._validators.members[frame.seal.validator]
        if origin.public_key == self._key.public_key or self._store.is_erased(payload.id):
            return
        if self._validators.index_of(self._key.public_key) is None:
            return  # only validators are asked to keep payloads
        if self._store.has(payload.id):
            acknowledged = self._acknowledge(payload)
            if acknowledged is not None:
                self._transport.send(frame.seal.validator, Channel.PAYLOAD, acknowledged)
            return
        pull, owner = self._pulls.get(payload.id), _OWNER_PREFIX + origin.name
        if pull is None:
            if sum(other.owner == owner for other in self._pulls.values()) >= PULLS_PER_OWNER_MAX:
                return
            if not verify_announcement(self._chain_id, self._validators, frame):
                _log.debug("payload.announcement_unproven", payload=payload.id.hex(), claimed_origin=origin.name)
                return
            pull = self._begin_pull(payload, owner)
        pull.sources.note_holder(origin.name)
        pull.wake()

    def _on_acknowledged(self, frame: Acknowledged) -> None:
        payload_id = frame.acknowledgement.payload.id
        pull, publication = self._pulls.get(payload_id), self._publications.get(payload_id)
        if pull is not None:
            pull.sources.note_holder(self._validators.members[frame.seal.validator].name)
            pull.wake()
        if publication is not None and (words := publication.add(frame)) is not None:
            self._on_two_verdicts(frame.seal.validator, frame.acknowledgement.payload, *words)

    def _acknowledge(self, payload: PayloadDescriptor) -> bytes | None:
        """Return the frame that says we have it; None when this node is no validator."""
        acknowledgement = Acknowledgement(payload, self._store.verdict(payload.id))
        try:
            seal = sign_acknowledgement(self._key, self._chain_id, self._validators, acknowledgement)
        except CertificateError:
            return None
        return encode_payload_frame(Acknowledged(acknowledgement, seal))

    def _begin_pull(self, payload: PayloadDescriptor, owner: str) -> Pull:
        pull = Pull(payload, owner, self._store, self._transport, self._slots)
        task = asyncio.create_task(self._pull(pull))
        self._pulls[payload.id] = pull
        self._pull_tasks[payload.id] = task
        task.add_done_callback(lambda _: self._end_pull(payload.id))
        return pull

    async def _pull(self, pull: Pull) -> None:
        began_s = pull.progress_s
        try:
            verdict = await pull.run()
        except PayloadError as error:
            _log.warning("payload.fetch_failed", payload=pull.descriptor.id.hex(), owner=pull.owner, reason=str(error))
            if not self._waiting.get(pull.descriptor.id):
                return  # it will be announced again
            raise
        took_s = asyncio.get_running_loop().time() - began_s
        size = pull.descriptor.size
        _log.info("payload.fetched", payload=pull.descriptor.id.hex(), bytes=size, verdict=verdict, seconds=took_s)
        acknowledged = self._acknowledge(pull.descriptor)
        if acknowledged is not None:
            self._transport.broadcast(Channel.PAYLOAD, acknowledged)

    def _end_pull(self, payload_id: Digest) -> None:
        self._pulls.pop(payload_id, None)
        self._pull_tasks.pop(payload_id, None)

    async def _give_up_idle(self) -> None:
        while True:
            await asyncio.sleep(PULL_IDLE_S_MAX / 10)
            oldest_s = asyncio.get_running_loop().time() - PULL_IDLE_S_MAX
            for payload_id in self._idle(oldest_s):
                self._pull_tasks[payload_id].cancel()
                await self._store.discard(payload_id)

    def _idle(self, oldest_s: float) -> list[Digest]:
        return [
            payload_id
            for payload_id, pull in self._pulls.items()
            if pull.owner and pull.progress_s < oldest_s and not self._waiting.get(payload_id)
        ]

    def _make_room(self) -> None:
        if len(self._publications) < PUBLICATIONS_MAX:
            return
        for payload_id in self._certified():
            self._end_publication(payload_id, None)
            return
        raise PayloadError(f"{PUBLICATIONS_MAX} payloads wait for a quorum already: try again later")

    def _certified(self) -> Iterator[Digest]:
        for payload_id, publication in list(self._publications.items()):
            if publication.is_certified:
                yield payload_id

    def _end_publication(self, payload_id: Digest, error: Exception | None) -> None:
        publication = self._publications.pop(payload_id, None)
        if publication is None:
            return
        self._publication_tasks.pop(payload_id).cancel()
        if error is not None:
            publication.give_up(error)
