"""A council of validators whose words tests put together by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from consensus import (
    AppendBlock,
    BlockAppended,
    BlockBuilt,
    BlockValidated,
    Broadcast,
    BuildBlock,
    Effect,
    MessageReceived,
    Persist,
    Replica,
    Send,
    Started,
    ValidateBlock,
    WorkArrived,
    decode_message,
    encode_message,
)
from consensus.committee import Committee
from consensus.messages import (
    Commit,
    Message,
    Prepare,
    PreparedClaim,
    PrePrepare,
    ViewChange,
    ViewChangeCertificate,
)
from ledger.block import Block, CertifiedBlock
from ledger.certificate import COMMIT, PREPARE, QuorumCertificate, make_certificate
from ledger.digest import Digest
from ledger.fields import Height, View
from tests.simulation import toy

EffectT = TypeVar("EffectT")
V0, V1, V2 = View(0), View(1), View(2)
H1, H2 = Height(1), Height(2)


class Council:
    """n validators; validator 1 is the primary of height 1, view 0."""

    def __init__(self, n: int = 4) -> None:
        self.keys = toy.signing_keys(n)
        self.validators = toy.validator_set(self.keys)
        self.seats = [Committee(toy.CHAIN_ID, self.validators, key) for key in self.keys]

    def replica(self, index: int, safety: Iterable[bytes] = (), **options: int) -> Replica:
        """Return a replica at height 1 that has started."""
        replica = Replica(
            toy.CHAIN_ID,
            self.keys[index],
            toy.PARAMETERS,
            self.validators,
            height=H1,
            parent_id=toy.CHAIN_ID,
            safety=tuple(safety),
            boot_epoch=int(options.get("boot_epoch", 1)),
            observe_until_ms=options.get("observe_until_ms"),
        )
        replica.step(Started())
        return replica

    def block(self, proposer: int = 1, *, tip: toy.Tip = toy.GENESIS, text: bytes = b"tx") -> Block:
        """Return a valid block."""
        return toy.build(tip, (text,), tip.time_ms + 10, self.validators, proposer)

    def pre_prepare(
        self, block: Block, view: View = V0, opening: ViewChangeCertificate | None = None, sender: int | None = None
    ) -> PrePrepare:
        """Return the primary's proposal, or somebody else's."""
        height = Height(block.header.height)
        sender = self.validators.primary(height, view) if sender is None else sender
        seal = self.seats[sender].seal_vote(PREPARE, height, view, block.id)
        return PrePrepare(height, view, block, seal, opening)

    def prepare(self, sender: int, block: Block, view: View = V0) -> Prepare:
        """Return a PREPARE."""
        height = Height(block.header.height)
        return Prepare(height, view, block.id, self.seats[sender].seal_vote(PREPARE, height, view, block.id))

    def commit(self, sender: int, block: Block, view: View = V0) -> Commit:
        """Return a COMMIT."""
        height = Height(block.header.height)
        return Commit(height, view, block.id, self.seats[sender].seal_vote(COMMIT, height, view, block.id))

    def certificate(self, kind: str, block: Block, signers: Iterable[int], view: View = V0) -> QuorumCertificate:
        """Return what these signers make."""
        height = Height(block.header.height)
        seals = [self.seats[signer].seal_vote(kind, height, view, block.id) for signer in signers]
        return make_certificate(height, view, block.id, seals)

    def certified(self, block: Block, view: View = V0) -> CertifiedBlock:
        """Return the block as a final one."""
        return CertifiedBlock(block, self.certificate(COMMIT, block, range(self.validators.quorum), view))

    def view_change(
        self, sender: int, view: View, prepared: QuorumCertificate | None = None, height: Height = H1
    ) -> ViewChange:
        """Return a VIEW-CHANGE."""
        claimed = PreparedClaim(prepared.view, prepared.block_id) if prepared else None
        return ViewChange(height, view, self.seats[sender].seal_view_change(height, view, claimed), prepared)

    def opening(self, view: View, *messages: ViewChange) -> ViewChangeCertificate:
        """Return the certificate of these VIEW-CHANGEs, with the highest prepared one among them."""
        highest = max((m.certificate for m in messages if m.certificate), key=lambda c: c.view, default=None)
        return ViewChangeCertificate(H1, view, tuple(message.claim for message in messages), highest)


def receive(replica: Replica, *messages: Message) -> list[Effect]:
    """Give messages to a replica; return all effects."""
    return [effect for message in messages for effect in replica.step(MessageReceived(encode_message(message)))]


def validate(replica: Replica, effects: list[Effect], *, ok: bool = True) -> list[Effect]:
    """Answer the one `ValidateBlock` among the effects."""
    (asked,) = of(effects, ValidateBlock)
    height = Height(asked.block.header.height)
    return replica.step(BlockValidated(height, asked.view, asked.block.id, ok, "" if ok else "is wrong"))


def accept(replica: Replica, message: PrePrepare) -> list[Effect]:
    """Give a proposal and have it found valid."""
    return validate(replica, receive(replica, message))


def propose(replica: Replica, block: Block) -> list[Effect]:
    """Have the primary propose `block`."""
    effects = replica.step(WorkArrived())
    assert of(effects, BuildBlock) == [BuildBlock(replica.height, replica.view)]
    return replica.step(BlockBuilt(replica.height, replica.view, block))


def append(replica: Replica, effects: list[Effect], council: Council) -> list[Effect]:
    """Carry out the `AppendBlock` that is the last effect."""
    assert isinstance(effects[-1], AppendBlock)
    block = effects[-1].certified.block
    return replica.step(BlockAppended(Height(block.header.height), block.id, council.validators, toy.PARAMETERS))


def of(effects: list[Effect], kind: type[EffectT]) -> list[EffectT]:
    """Return the effects of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def sent(effects: list[Effect]) -> list[Message]:
    """Return the messages among the effects."""
    return [decode_message(effect.data) for effect in effects if isinstance(effect, Broadcast | Send)]


def votes(effects: list[Effect]) -> list[Message]:
    """Return what was signed among the effects: proposals, votes, VIEW-CHANGEs."""
    return [message for message in sent(effects) if isinstance(message, PrePrepare | Prepare | Commit | ViewChange)]


def records(effects: list[Effect]) -> list[bytes]:
    """Return what is persisted among the effects."""
    return [record for effect in of(effects, Persist) for record in effect.records]


def other(block: Block) -> Digest:
    """Return an id that is not the block's."""
    return Digest(bytes(32) if block.id != bytes(32) else bytes([1]) * 32)
