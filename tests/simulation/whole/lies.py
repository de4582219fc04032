"""What lying nodes do beside consensus, and how a deceit of consensus sits in a whole node. One law: as in `deceits`.

| kind | what it does |
|---|---|
| withholder | acknowledges payloads that it does not have, announces its own and gives nobody a chunk |
| falsifier | signs other results than it computed, proposes blocks with bogus aggregates and forged signatures |
| pretender | submits updates whose certificates nobody gave, acknowledges with wrong verdicts, for others too |
| poisoner | answers requests for blocks and chunks with other, broken or endless ones, boasts of heights |
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

import msgspec

from consensus import encode_message
from consensus.committee import Committee
from consensus.messages import PrePrepare
from fl.aggregates import sign_result
from fl.records import AggregateClaim, RoundResult, UpdateSubmission
from fl.results import closed_jobs, compute
from ledger.block import Block, CertifiedBlock
from ledger.certificate import PREPARE, Seal
from ledger.codec import CodecError, decode, encode
from ledger.digest import digest
from ledger.execution import next_nonce
from ledger.fields import Height, View
from ledger.identity import NO_SIGNATURE
from ledger.payload import Acknowledgement, AvailabilityCertificate, describe, sign_acknowledgement
from ledger.transaction import sign_transaction
from node.blocks import BLOCKS_PATH, BlockRange
from node.results import RESULT_VOTE_BYTES_MAX, ResultVote
from node.wire import Acknowledged, Announcement, Channel, decode_payload_frame, encode_payload_frame
from tests.simulation.deceits import DECEITS, Deceit, readable
from tests.simulation.whole.trainer import TASK, latest_round, payload_of, say

if TYPE_CHECKING:
    from tests.simulation.whole.site import Site


class Lie:
    """Between a node and the network: passes everything on; its kinds do not."""

    def __init__(self, site: Site) -> None:
        self.site = site

    @property
    def dice(self) -> Random:
        """Randomness of the run."""
        return self.site.world.dice

    @property
    def members(self) -> Sequence[int]:
        """All other validators."""
        members = self.site.core.chain.validators.members
        return [index for index, member in enumerate(members) if member.name != self.site.name]

    def broadcast(self, channel: Channel, data: bytes) -> None:
        """Send to everybody with another identity, followers too; relays may bring it back."""
        for other in self.site.world.sites:
            if other.name != self.site.name:
                self.site.world.post(self.site, other, channel, data)

    def send(self, peer: int, channel: Channel, data: bytes) -> None:
        """Send to one identity; to nobody when another liar has made the index up."""
        members = self.site.core.chain.validators.members
        name = members[peer].name if peer < len(members) else ""
        for other in self.site.world.sites:
            if other.name == name:
                self.site.world.post(self.site, other, channel, data)

    def hear(self, channel: Channel, data: bytes) -> None:
        """Note a frame before the node sees it."""

    def block(self) -> None:
        """Note that a block was appended."""

    async def serve(self, peer: int, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Answer a peer's request."""
        process = self.site.process
        return (503, b"") if process is None else await process.links.serve(peer, method, path, body)


class ConsensusLie(Lie):
    """A deceit of `deceits` in a whole node, whose accomplice this is."""

    def __init__(self, site: Site, kind: type[Deceit]) -> None:
        super().__init__(site)
        self.deceit = kind(self)

    @property
    def committee(self) -> Committee:
        """Its key and the set."""
        return _committee(self.site)

    def tell(self, member: int, data: bytes) -> None:
        """Send bytes to one, past the deceit."""
        super().send(member, Channel.CONSENSUS, data)

    def broadcast(self, channel: Channel, data: bytes) -> None:
        """Let the deceit speak."""
        if channel is not Channel.CONSENSUS or not self.deceit.say(data):
            super().broadcast(channel, data)

    def send(self, peer: int, channel: Channel, data: bytes) -> None:
        """Let the deceit speak."""
        if channel is not Channel.CONSENSUS or not self.deceit.send(peer, data):
            super().send(peer, channel, data)

    def hear(self, channel: Channel, data: bytes) -> None:
        """Let the deceit listen."""
        if channel is Channel.CONSENSUS:
            self.deceit.hear(data)

    def rival(self, message: PrePrepare) -> Block | None:
        """Return another block for an own proposal: of another time, or without its last transaction."""
        chain, block = self.site.core.chain, message.block
        if block.header.height != chain.next_height or (message.view and message.justification is None):
            return None
        raws = list(block.transactions)
        if len(raws) > 1 and self.dice.random() < 0.5:
            raws.pop()
        return _block(self.site, raws, block.header.time_ms + 1)

    def fresh(self, height: Height, view: View) -> Block | None:
        """Return a new block for the next height."""
        core = self.site.core
        if height != core.chain.next_height:
            return None
        raws = core.mempool.select(core.chain.state, 3, 1 << 16)
        return _block(self.site, raws, self.site.now_ms() + view)


class Withholder(Lie):
    """Promises bytes and gives none."""

    def broadcast(self, channel: Channel, data: bytes) -> None:
        """Announce to some only."""
        if channel is Channel.PAYLOAD:
            for member in self.members:
                if self.dice.random() < 0.6:
                    self.send(member, channel, data)
        else:
            super().broadcast(channel, data)

    def hear(self, channel: Channel, data: bytes) -> None:
        """Acknowledge at once whatever is announced."""
        frame = _payload_frame(channel, data)
        if isinstance(frame, Announcement):
            self.send(frame.seal.validator, channel, _acknowledge(self.site, Acknowledgement(frame.payload, "ok")))

    async def serve(self, peer: int, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Have nothing, or something else."""
        if "/peer/payloads/" in path and self.dice.random() < 0.8:
            return self.dice.choice(((404, b""), (503, b""), (200, b"something else"), (200, b"")))
        return await super().serve(peer, method, path, body)


class Falsifier(Lie):
    """Computes something else."""

    def broadcast(self, channel: Channel, data: bytes) -> None:
        """Sign another result; put it into proposals."""
        process = self.site.process
        if channel is Channel.RESULT and process is not None:
            data = self._other_vote(data)
        if channel is Channel.CONSENSUS and process is not None and isinstance(message := readable(data), PrePrepare):
            bogus = self._bogus_proposal(message)
            if bogus is not None:
                data = bogus
        super().broadcast(channel, data)

    def _other_vote(self, data: bytes) -> bytes:
        try:
            vote = decode(data, ResultVote, bytes_max=RESULT_VOTE_BYTES_MAX)
        except CodecError:
            return data
        job = next(closed_jobs(self.site.core.chain.state), None)
        if job is None or self.dice.random() < 0.3:
            return data
        result = self._falsified()
        if result is None:
            return data
        chain = self.site.core.chain
        seal = sign_result(self.site.key, chain.chain_id, chain.validators, result)
        return encode(msgspec.structs.replace(vote, result=result.digest, seal=seal))

    def _falsified(self) -> RoundResult | None:
        job = next(closed_jobs(self.site.core.chain.state), None)
        if job is None:
            return None
        payloads = [self.site.world.payloads.get(update.payload.id) for update in job.updates]
        base = None if job.base.payload is None else self.site.world.payloads.get(job.base.payload.id)
        if None in payloads or (job.base.payload is not None and base is None):
            return None
        result = compute(job, base, [payload for payload in payloads if payload is not None]).result
        lie = digest("another model", bytes([self.dice.randrange(4)]))
        return msgspec.structs.replace(result, model=msgspec.structs.replace(result.model, root=lie))

    def _bogus_proposal(self, message: PrePrepare) -> bytes | None:
        chain, block = self.site.core.chain, message.block
        result = self._falsified()
        if result is None or block.header.height != chain.next_height or message.justification is not None:
            return None
        seal = sign_result(self.site.key, chain.chain_id, chain.validators, result)
        forged = [Seal(member, NO_SIGNATURE) if member != seal.validator else seal for member in self.members]
        forged = sorted([*forged, seal], key=lambda one: one.validator)[: chain.validators.quorum]
        seals = self.dice.choice(((seal,), (seal,) * chain.validators.quorum, tuple(forged)))
        nonce = next_nonce(chain.state, self.site.key.public_key)
        raw = encode(sign_transaction(self.site.key, chain.chain_id, "aggregate", nonce, AggregateClaim(result, seals)))
        bogus = _block(self.site, [raw], block.header.time_ms)
        if bogus is None:
            return None
        committee = _committee(self.site)
        vote = committee.seal_vote(PREPARE, message.height, message.view, bogus.id)
        return encode_message(PrePrepare(message.height, message.view, bogus, vote, None))


class Pretender(Lie):
    """Invents acknowledgements."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._left = 12

    def hear(self, channel: Channel, data: bytes) -> None:
        """Acknowledge with a wrong verdict, and in another one's name."""
        frame = _payload_frame(channel, data)
        if not isinstance(frame, Announcement):
            return
        wrong = Acknowledgement(frame.payload, self.dice.choice(("out_of_range", "malformed")))
        self.send(frame.seal.validator, channel, _acknowledge(self.site, wrong))
        other = Seal(self.dice.choice(self.members), NO_SIGNATURE)
        invented = Acknowledged(Acknowledgement(frame.payload, "ok"), other)
        self.send(frame.seal.validator, channel, encode_payload_frame(invented))

    def block(self) -> None:
        """Submit an update that nobody keeps."""
        process = self.site.process
        current = None if process is None else latest_round(process.core.chain.state)
        if process is None or current is None or current.status != "open" or not self._left:
            return
        self._left -= 1
        chain = process.core.chain
        payload = payload_of("nobody has it", current.number)
        acknowledgement = Acknowledgement(describe(payload), "ok")
        seal = sign_acknowledgement(self.site.key, chain.chain_id, chain.validators, acknowledgement)
        others = [Seal(member, NO_SIGNATURE) for member in self.members]
        forged = sorted([seal, *others], key=lambda one: one.validator)[: chain.validators.quorum]
        seals = self.dice.choice(((seal,), (seal,) * chain.validators.quorum, tuple(forged)))
        certificate = AvailabilityCertificate(acknowledgement, seals)
        assert self.site.trainer is not None
        update = UpdateSubmission(TASK, current.number, current.base_version, 10, 0, (), certificate)
        say(process, self.site.trainer, "update", update)


class Poisoner(Lie):
    """Gives bad answers to who catches up."""

    async def serve(self, peer: int, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Answer with other blocks."""
        status, answer = await super().serve(peer, method, path, body)
        if not path.startswith(BLOCKS_PATH) or status != 200:
            return status, (answer[:-1] + b"?" if self.dice.random() < 0.5 else answer)
        blocks = list(decode(answer, BlockRange, bytes_max=1 << 24).blocks)
        return 200, self.dice.choice(
            (
                b"garbage",
                encode(BlockRange(())),
                encode(BlockRange(tuple(reversed(blocks)))),
                encode(BlockRange(tuple(blocks[:1] * 3))),
                encode(BlockRange(tuple(map(self._altered, blocks)))),
            )
        )

    def broadcast(self, channel: Channel, data: bytes) -> None:
        """Boast of heights."""
        super().broadcast(channel, data)
        core = self.site.core
        if channel is Channel.CONSENSUS and self.dice.random() < 0.05:
            far = Height(core.chain.height + self.dice.choice((1, 2, 50, 1_000_000)))
            tip = core.store.certified_block(core.chain.height)
            boast = _committee(self.site).sign_status(far, View(0), 9, None if tip is None else tip.certificate)
            super().broadcast(channel, encode_message(boast))

    @staticmethod
    def _altered(raw: bytes) -> bytes:
        certified = decode(raw, CertifiedBlock, bytes_max=1 << 24)
        header = msgspec.structs.replace(certified.block.header, time_ms=certified.block.header.time_ms + 1)
        other = Block(header, certified.block.transactions)
        certificate = msgspec.structs.replace(certified.certificate, block_id=other.id)
        return encode(CertifiedBlock(other, certificate))


WHOLE_LIES: dict[str, type[Lie]] = {
    "withholder": Withholder,
    "falsifier": Falsifier,
    "pretender": Pretender,
    "poisoner": Poisoner,
}


def lie_of(site: Site, kind: str) -> Lie:
    """Return the lie of a kind, in front of a site."""
    return WHOLE_LIES[kind](site) if kind in WHOLE_LIES else ConsensusLie(site, DECEITS[kind])


def _committee(site: Site) -> Committee:
    chain = site.core.chain
    return Committee(chain.chain_id, chain.validators, site.key)


def _block(site: Site, raws: list[bytes], time_ms: int) -> Block | None:
    chain = site.core.chain
    if not raws:
        return None
    index = chain.validators.index_of(site.key.public_key)
    assert index is not None, "only validators lie"
    built = chain.build(raws, time_ms, index, is_verified=lambda _: False, on_invalid=lambda _: None)
    return built.block if built.transactions else None


def _payload_frame(channel: Channel, data: bytes) -> Announcement | Acknowledged | None:
    if channel is not Channel.PAYLOAD:
        return None
    try:
        return decode_payload_frame(data)
    except CodecError:
        return None


def _acknowledge(site: Site, acknowledgement: Acknowledgement) -> bytes:
    chain = site.core.chain
    seal = sign_acknowledgement(site.key, chain.chain_id, chain.validators, acknowledgement)
    return encode_payload_frame(Acknowledged(acknowledgement, seal))
