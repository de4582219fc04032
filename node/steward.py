"""What a validator's node does for the consortium by itself. One law: it says only what it has seen, and once.

It lets newcomers that were voted for listen, and says so on the chain when they are in sync; it shows evidence; a node
that is such a newcomer tells the others how far it has come. Who lost its seat may listen for a while longer, so that
it learns of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from fl.application import EVIDENCE, VALIDATOR_ATTEST
from fl.membership.actions import newcomer
from fl.membership.records import EvidenceReport, ProposalState, SyncAttestation
from fl.membership.state import offence_of, seat_changes_of, suspension_of, undecided
from ledger.application import RefusalError
from ledger.codec import Record, decode, encode
from ledger.digest import Digest
from ledger.evidence import EvidenceError, Proof, height_of, offences
from ledger.fields import Height
from ledger.identity import SigningKey
from ledger.reigns import coming_validators_of, validators_at
from ledger.transaction import sign_transaction
from ledger.validators import Validator, ValidatorSet
from node.chain import Chain
from node.mempool import Mempool, MempoolError
from node.wire import IN_SYNC_BYTES_MAX, InSync, sign_in_sync, verify_in_sync

PAUSE_SECONDS: Final = 0.25
GRACE_MS: Final = 10_000
"""How long who lost its seat may still listen."""

AGAIN_MS: Final = 3_000
"""A statement that is not on the chain by then is made again: its nonce may have been used otherwise."""

BLOCKS_BEHIND_MAX: Final = 8
"""A newcomer that is so many blocks behind is in sync: it follows."""

PROOFS_MAX: Final = 64
"""Proofs that wait to be on the chain; who convicts more validators has other worries."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Leaver:
    validator: Validator
    until_ms: int


class Steward:
    """One node's duties about membership."""

    def __init__(
        self,
        key: SigningKey,
        chain: Chain,
        mempool: Mempool,
        *,
        block_id_at: Callable[[Height], Digest | None],
        submit: Callable[[bytes], object],
        broadcast: Callable[[bytes], None],
        on_members: Callable[[ValidatorSet, tuple[Validator, ...]], None],
        clock_ms: Callable[[], int],
    ) -> None:
        """Begin with the chain as it is.

        Args:
            key: the validator's.
            chain: as this node holds it.
            mempool: knows the next free nonce of the key.
            block_id_at: tells the block at a height.
            submit: queues a transaction here and everywhere.
            broadcast: says something to all peers on `Channel.LEARNER`.
            on_members: told who decides the next height, and who may listen besides, whenever that changes.
            clock_ms: the time of day.
        """
        self._key: Final = key
        self._chain: Final = chain
        self._mempool: Final = mempool
        self._block_id_at: Final = block_id_at
        self._submit: Final = submit
        self._broadcast: Final = broadcast
        self._on_members: Final = on_members
        self._clock_ms: Final = clock_ms
        self._leavers: list[_Leaver] = []
        self._proofs: list[Proof] = []
        self._said_ms: dict[bytes, int] = {}
        self._validators = chain.validators
        self._told: tuple[ValidatorSet, tuple[Validator, ...]] | None = None

    async def run(self) -> None:
        """Go on with everything, again and again."""
        self.on_block()
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            self.tick()

    def on_block(self) -> None:
        """Look at the state after a block."""
        before, self._validators = self._validators, self._chain.validators
        if before != self._validators:
            seated = {member.transport_key for member in self._validators.members}
            until_ms = self._clock_ms() + GRACE_MS
            gone = [_Leaver(member, until_ms) for member in before.members if member.transport_key not in seated]
            self._leavers = [*self._leavers, *gone][-len(before) :]
        self._tell_members()
        self._proofs = [proof for proof in self._proofs if self._is_news(proof)]

    def tick(self) -> None:
        """Say again what is not on the chain, and let grace end."""
        now_ms = self._clock_ms()
        if any(leaver.until_ms <= now_ms for leaver in self._leavers):
            self._leavers = [leaver for leaver in self._leavers if leaver.until_ms > now_ms]
            self._tell_members()
        if any(one.public_key == self._key.public_key for one in self._newcomers()):
            chain = self._chain
            self._broadcast(encode(sign_in_sync(self._key, chain.chain_id, chain.height, chain.tip_id)))
        for proof in self._proofs:
            self._say(EVIDENCE, EvidenceReport(proof))

    def take_in_sync(self, data: bytes) -> None:
        """Take a newcomer's word, and pass it on to the chain when it is true.

        Raises:
            CodecError: the bytes are none.
        """
        said = decode(data, InSync, bytes_max=IN_SYNC_BYTES_MAX)
        for proposal in self._waiting():
            who = newcomer(self._chain.state, proposal.action)
            if who is None or who.public_key != said.public_key or self._own_name() in proposal.attestations:
                continue
            is_near = self._chain.height - BLOCKS_BEHIND_MAX <= said.height <= self._chain.height
            if is_near and self._is_ours(said) and verify_in_sync(self._chain.chain_id, said):
                self._say(VALIDATOR_ATTEST, SyncAttestation(proposal.number))

    def accuse(self, proof: Proof | None) -> None:
        """Bring a proof before the chain, unless it is about this node or nothing new."""
        if proof is None or proof in self._proofs or not self._is_news(proof):
            return
        if len(self._proofs) < PROOFS_MAX:
            self._proofs.append(proof)

    def _waiting(self) -> list[ProposalState]:
        return [one for one in undecided(self._chain.state) if one.status == "waiting"]

    def _newcomers(self) -> list[Validator]:
        found = (newcomer(self._chain.state, proposal.action) for proposal in self._waiting())
        return [one for one in found if one is not None]

    def _tell_members(self) -> None:
        state = self._chain.state
        decided = (change.validator for change in seat_changes_of(state).waiting)
        guests = (
            *self._newcomers(),
            *(one for one in decided if one is not None),
            *coming_validators_of(state).members,
            *(leaver.validator for leaver in self._leavers),
        )
        unique = {guest.transport_key: guest for guest in guests}
        told = (self._validators, tuple(unique.values()))
        if told != self._told:
            self._told = told
            self._on_members(*told)

    def _own_name(self) -> str | None:
        index = self._validators.index_of(self._key.public_key)
        return None if index is None else self._validators.members[index].name

    def _is_ours(self, said: InSync) -> bool:
        if said.height == self._chain.height:
            return said.block_id == self._chain.tip_id
        return said.block_id == self._block_id_at(said.height)

    def _is_news(self, proof: Proof) -> bool:
        """Tell whether a proof convicts somebody else who is not suspended of what is not on record."""
        state = self._chain.state
        validators = validators_at(state, height_of(proof))
        if validators is None:
            return False
        try:
            found = offences(self._chain.chain_id, validators, proof)
        except EvidenceError as error:
            log.warning("evidence.proves_nothing", reason=str(error))
            return False
        for offence in found:
            member = validators.members[offence.validator]
            is_known = offence_of(state, member.name, offence.id) or suspension_of(state, member.name)
            if not is_known and member.public_key != self._key.public_key:
                return True
        return False

    def _say(self, kind: str, statement: Record) -> None:
        """Make a statement as this validator, unless the same one was made a moment ago."""
        if self._own_name() is None:
            return
        content, now_ms = encode(statement), self._clock_ms()
        self._said_ms = {said: at for said, at in self._said_ms.items() if now_ms - at < AGAIN_MS}
        if content in self._said_ms:
            return
        self._said_ms[content] = now_ms
        nonce = self._mempool.next_free_nonce(self._chain.state, self._key.public_key)
        raw = encode(sign_transaction(self._key, self._chain.chain_id, kind, nonce, statement))
        try:
            self._submit(raw)
        except (MempoolError, RefusalError) as error:
            log.warning("statement.not_queued", kind=kind, reason=str(error))
        else:
            log.info("statement.made", kind=kind)
