"""Spreading one payload of this node. One law: it goes on until everybody has it, whoever was away meanwhile.

The payload is announced to all; each validator pulls it, from here or from whoever has it by then, and acknowledges.
A quorum of equal acknowledgements is the certificate. Those that have not acknowledged are reminded, ever more slowly,
and at once when they come back.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final

import structlog

from ledger.certificate import Seal
from ledger.digest import Digest
from ledger.evidence import VerdictWord
from ledger.identity import SigningKey
from ledger.payload import Acknowledgement, AvailabilityCertificate, PayloadDescriptor, Verdict, sign_acknowledgement
from ledger.validators import ValidatorSet
from node.payloads.pushing import push
from node.payloads.store import PayloadStore
from node.transport import Links
from node.wire import Acknowledged, Channel, encode_payload_frame, sign_announcement, verify_acknowledged

_log: Final = structlog.get_logger("node.payloads")

REMIND_S_MIN: Final = 1.0
REMIND_S_MAX: Final = 30.0


class Publication:
    """A payload that this node spreads."""

    def __init__(
        self,
        descriptor: PayloadDescriptor,
        store: PayloadStore,
        transport: Links,
        key: SigningKey,
        chain_id: Digest,
        validators: ValidatorSet,
    ) -> None:
        """Acknowledge the payload ourselves, and be ready to `run`.

        Raises:
            UnknownPayloadError: it is not stored here.
            CertificateError: this node is no validator.
        """
        self.descriptor: Final = descriptor
        self._store: Final = store
        self._transport: Final = transport
        self._key: Final = key
        self._chain_id: Final = chain_id
        self._verdict: Final[Verdict] = store.verdict(descriptor.id)
        self._news: Final = asyncio.Event()
        self._pushes: Final[set[asyncio.Task[None]]] = set()
        self._pushing: Final[set[int]] = set()
        self._certificate: asyncio.Future[AvailabilityCertificate] = asyncio.get_running_loop().create_future()
        self.update_validators(validators)

    def update_validators(self, validators: ValidatorSet) -> None:
        """Begin to collect anew: the old set's acknowledgements carry its indices."""
        self._validators = validators
        if self._certificate.done():
            self._certificate = asyncio.get_running_loop().create_future()
        acknowledgement = Acknowledgement(self.descriptor, self._verdict)
        own = sign_acknowledgement(self._key, self._chain_id, validators, acknowledgement)
        self._seals: dict[int, Seal] = {own.validator: own}
        self._words: dict[int, VerdictWord] = {own.validator: VerdictWord(self._verdict, own.signature)}
        self._frame = encode_payload_frame(sign_announcement(self._key, self._chain_id, validators, self.descriptor))
        self._certify()

    @property
    def complete(self) -> bool:
        """Every validator has acknowledged."""
        return len(self._seals) == len(self._validators)

    @property
    def is_certified(self) -> bool:
        """A quorum has acknowledged."""
        return self._certificate.done()

    async def certified(self) -> AvailabilityCertificate:
        """Wait for a quorum of equal acknowledgements; errors as `give_up` was told."""
        return await asyncio.shield(self._certificate)

    def give_up(self, error: Exception) -> None:
        """Tell those who wait that there will be no certificate."""
        if not self._certificate.done():
            self._certificate.set_exception(error)
            self._certificate.exception()  # nobody may be waiting

    def add(self, frame: Acknowledged) -> tuple[VerdictWord, VerdictWord] | None:
        """Count an acknowledgement, once for each validator, if it is true.

        Returns:
            Two different verdicts of its signer, when it has given both.
        """
        index, verdict = frame.seal.validator, frame.acknowledgement.verdict
        known = self._words.get(index)
        if index >= len(self._validators) or (known is not None and known.verdict == verdict):
            return None
        if not verify_acknowledged(self._chain_id, self._validators, frame):
            return None
        word = self._words[index] = VerdictWord(verdict, frame.seal.signature)
        if verdict == self._verdict:
            self._count(frame.seal)
        else:
            name = self._validators.members[index].name
            _log.warning("payload.verdict_differs", payload=self.descriptor.id.hex(), peer=name)
        return None if known is None else (known, word)

    def _count(self, seal: Seal) -> None:
        self._seals[seal.validator] = seal
        self._certify()
        if self.complete:
            self._news.set()

    def remind(self, peer: int) -> None:
        """Announce it to one validator again, unless it has acknowledged."""
        if peer in self._seals or peer >= len(self._validators):
            return
        self._transport.send(peer, Channel.PAYLOAD, self._frame)
        if not self._transport.accepts_connections and self._transport.is_connected(peer):
            self._push_to(peer)

    async def run(self) -> None:
        """Announce until every validator has acknowledged."""
        self._transport.broadcast(Channel.PAYLOAD, self._frame)
        wait_s = 0.0 if not self._transport.accepts_connections else REMIND_S_MIN
        try:
            while not self.complete:
                self._news.clear()
                try:
                    async with asyncio.timeout(wait_s * random.uniform(0.8, 1.2)):  # noqa: S311 - jitter
                        await self._news.wait()
                except TimeoutError:
                    for peer in self._transport.peers():
                        self.remind(peer.index)
                        self._push_if_it_cannot_call(peer.index)
                    wait_s = min(max(2 * wait_s, REMIND_S_MIN), REMIND_S_MAX)
        finally:
            for task in self._pushes:
                task.cancel()
            await asyncio.gather(*self._pushes, return_exceptions=True)

    def _certify(self) -> None:
        if len(self._seals) >= self._validators.quorum and not self._certificate.done():
            seals = tuple(self._seals[index] for index in sorted(self._seals))
            acknowledgement = Acknowledgement(self.descriptor, self._verdict)
            self._certificate.set_result(AvailabilityCertificate(acknowledgement, seals))

    def _push_if_it_cannot_call(self, peer: int) -> None:
        """Push to a peer that has had the time to fetch and never came: a firewall may be between."""
        if peer not in self._seals and self._transport.is_connected(peer) and not self._transport.has_called(peer):
            self._push_to(peer)

    def _push_to(self, peer: int) -> None:
        """Push, since nobody can pull from here: to f + 1 peers at once; the others pull from those."""
        if peer in self._pushing or len(self._pushing) > self._validators.faulty_max:
            return
        self._pushing.add(peer)
        task = asyncio.create_task(push(self.descriptor, peer, self._store, self._transport))
        self._pushes.add(task)
        task.add_done_callback(self._pushes.discard)
        task.add_done_callback(lambda _: self._pushing.discard(peer))
