"""Validators that lie. One law: a liar has its own key and everybody's messages, and nothing else.

| kind | what it does |
|---|---|
| equivocator | proposes two blocks to two halves, votes for both, forges certificates from its own seal |
| turncoat | votes for whatever it hears of, in any view, also after it asked to leave |
| amnesiac | commits for one other only, hides what it prepared, and as primary proposes something new instead |
| replayer | says old things again, and bytes that are nearly right |
| mute | talks to some and not to others, and changes its mind |
| twins | two processes with one key, as after a restored backup |
"""

from __future__ import annotations

from consensus import Broadcast, Effect, Send, decode_message, encode_message
from consensus.committee import Committee
from consensus.messages import (
    Commit,
    Decided,
    Message,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
    ViewChangeCertificate,
)
from ledger.block import Block, CertifiedBlock
from ledger.certificate import COMMIT, PREPARE, QuorumCertificate
from ledger.codec import CodecError
from ledger.digest import Digest
from ledger.fields import Height, View
from ledger.identity import SigningKey
from ledger.validators import ValidatorSet
from tests.simulation import toy
from tests.simulation.node import Node, World

REMEMBERED_MAX = 200


def make_liars(world: World, kind: str, index: int, key: SigningKey, validators: ValidatorSet) -> list[Liar]:
    """Return the one liar, or two, that own this key."""
    makers: dict[str, type[Liar]] = {
        "equivocator": Equivocator,
        "turncoat": Turncoat,
        "amnesiac": Amnesiac,
        "replayer": Replayer,
        "mute": Mute,
        "twins": Liar,
    }
    names = (f"twin{index}a", f"twin{index}b") if kind == "twins" else (f"{kind}{index}",)
    return [makers[kind](world, name, key, validators, 0) for name in names]


class Liar(Node):
    """Behaves well; its kinds do not."""

    def __init__(self, world: World, name: str, key: SigningKey, validators: ValidatorSet, skew_ms: int) -> None:
        super().__init__(world, name, key, validators, skew_ms)
        self.committee = Committee(toy.CHAIN_ID, validators, key)
        self.members = [member for member in range(len(validators)) if member != self.index]

    def append(self, certified: CertifiedBlock) -> None:
        """Make a block final, or be lost on a fork of its own making."""
        if certified.block.header.parent_id == self.disk.tip.block_id:
            super().append(certified)

    def say(self, members: list[int], message: Message) -> None:
        """Send to some."""
        for member in members:
            self._world.send(self, member, encode_message(message))

    def vote(self, kind: str, height: Height, view: View, block_id: Digest) -> Message:
        """Return a signed vote, allowed or not."""
        seal = self.committee.seal_vote(kind, height, view, block_id)
        return Prepare(height, view, block_id, seal) if kind == PREPARE else Commit(height, view, block_id, seal)


class Equivocator(Liar):
    """Two blocks for two halves."""

    def _carry_out(self, effect: Effect) -> None:
        message = readable(effect.data) if isinstance(effect, Broadcast) else None
        if isinstance(message, PrePrepare):
            self._propose_two(message)
        else:
            super()._carry_out(effect)

    def _propose_two(self, message: PrePrepare) -> None:
        dice, height, view = self._world.dice, message.height, message.view
        half = dice.sample(self.members, len(self.members) // 2 + dice.randint(0, 1))
        rest = [member for member in self.members if member not in half]
        transactions = dice.choice(((b"rival-%d-%d" % (height, view),), (toy.INVALID,), (b"rival",)))
        rival = toy.build(self.disk.tip, transactions, self.now_ms, self.validators, message.seal.validator)
        seal = self.committee.seal_vote(PREPARE, height, view, rival.id)
        self.say(half, message)
        self.say(rest, PrePrepare(height, view, rival, seal, message.justification))
        for members, block in ((half, message.block), (rest, rival)):
            self.say(members, self.vote(COMMIT, height, view, block.id))
        self.say(rest, Decided(CertifiedBlock(rival, self._forge(COMMIT, height, view, rival))))
        if view > 0:
            claims = message.justification.claims if message.justification else ()
            forged = ViewChangeCertificate(height, View(view + 1), claims, self._forge(PREPARE, height, view, rival))
            self.say(rest, forged)

    def _forge(self, kind: str, height: Height, view: View, block: Block) -> QuorumCertificate:
        seal = self.committee.seal_vote(kind, height, view, block.id)
        return QuorumCertificate(height, view, block.id, (seal,) * self.committee.quorum)


class Turncoat(Liar):
    """A vote for everybody."""

    def __init__(self, world: World, name: str, key: SigningKey, validators: ValidatorSet, skew_ms: int) -> None:
        super().__init__(world, name, key, validators, skew_ms)
        self._votes_left: dict[Digest, int] = {}

    def receive(self, data: bytes) -> None:
        """Vote for whatever is heard of, then behave well."""
        if self.is_up and self._world.dice.random() < 0.5:
            match readable(data):
                case PrePrepare(height, view, block, _, _):
                    self._vote_for(height, view, block.id)
                case Prepare(height, view, block_id, _) | Commit(height, view, block_id, _):
                    self._vote_for(height, view, block_id)
                case _:
                    pass
        super().receive(data)

    def _vote_for(self, height: Height, view: View, block_id: Digest) -> None:
        left = self._votes_left.setdefault(block_id, 20)
        if left == 0:
            return  # two of its kind would answer each other for ever
        self._votes_left[block_id] = left - 1
        some = self._world.dice.sample(self.members, self._world.dice.randint(1, len(self.members)))
        self.say(some, self.vote(PREPARE, height, view, block_id))
        self.say(some, self.vote(COMMIT, height, view, block_id))


class Amnesiac(Liar):
    """Nothing has ever been prepared."""

    def __init__(self, world: World, name: str, key: SigningKey, validators: ValidatorSet, skew_ms: int) -> None:
        super().__init__(world, name, key, validators, skew_ms)
        self._heard: dict[tuple[int, int], dict[int, ViewChange]] = {}

    def receive(self, data: bytes) -> None:
        """Collect VIEW-CHANGEs, and open a view from those that hide what was prepared."""
        message = readable(data)
        if self.is_up and isinstance(message, ViewChange):
            heard = self._heard.setdefault((message.height, message.view), {})
            heard[message.claim.seal.validator] = message
            self._open(message.height, message.view, heard)
        super().receive(data)

    def _carry_out(self, effect: Effect) -> None:
        message = readable(effect.data) if isinstance(effect, Broadcast) else None
        if isinstance(message, ViewChange):
            claim = self.committee.seal_view_change(message.height, message.view, None)
            self.say(self.members, ViewChange(message.height, message.view, claim, None))
        elif (
            isinstance(effect, Send)
            or isinstance(message, Status)
            or (isinstance(message, PrePrepare) and message.view)
        ):
            pass  # it helps nobody, and has said already what it proposes
        elif isinstance(message, Commit):
            self.say([self._world.dice.choice(self.members)], message)
        else:
            super()._carry_out(effect)

    def _open(self, height: Height, view: View, heard: dict[int, ViewChange]) -> None:
        if self.committee.primary(height, view) != self.index or not 0 < height <= self.disk.tip.height + 1:
            return
        parent = toy.after(self.disk.chain[height - 2].block) if height > 1 else toy.GENESIS
        claim = self.committee.seal_view_change(height, view, None)
        mine = ViewChange(height, view, claim, None)
        hiding = sorted(
            [mine, *(message for index, message in heard.items() if index != self.index)],
            key=lambda message: message.certificate.view if message.certificate else -1,
        )[: self.committee.quorum]
        if len(hiding) < self.committee.quorum:
            return
        hiding.sort(key=lambda message: message.claim.seal.validator)
        known = [message.certificate for message in hiding if message.certificate]
        shown = max(known, key=lambda certificate: certificate.view, default=None)
        if self._world.dice.random() < 0.5:
            shown = None
        opening = ViewChangeCertificate(height, view, tuple(message.claim for message in hiding), shown)
        block = toy.build(parent, (b"new-%d" % view,), self.now_ms, self.validators, self.index)
        seal = self.committee.seal_vote(PREPARE, height, view, block.id)
        self.say(self.members, PrePrepare(height, view, block, seal, opening))
        self.say(self.members, self.vote(COMMIT, height, view, block.id))


class Replayer(Liar):
    """Old words, and words that are nearly right."""

    def __init__(self, world: World, name: str, key: SigningKey, validators: ValidatorSet, skew_ms: int) -> None:
        super().__init__(world, name, key, validators, skew_ms)
        self._heard: list[bytes] = []

    def receive(self, data: bytes) -> None:
        """Remember it, and say something remembered."""
        dice = self._world.dice
        if len(self._heard) < REMEMBERED_MAX:
            self._heard.append(data)
        else:
            self._heard[dice.randrange(REMEMBERED_MAX)] = data
        if self.is_up and dice.random() < 0.3:
            again = bytearray(dice.choice(self._heard))
            if dice.random() < 0.5:
                again[dice.randrange(len(again))] ^= 1 << dice.randrange(8)
            self._world.send(self, dice.choice(self.members), bytes(again))
        super().receive(data)


class Mute(Liar):
    """Silence for some."""

    def __init__(self, world: World, name: str, key: SigningKey, validators: ValidatorSet, skew_ms: int) -> None:
        super().__init__(world, name, key, validators, skew_ms)
        self._ignored: list[int] = []

    def _carry_out(self, effect: Effect) -> None:
        dice = self._world.dice
        if dice.random() < 0.1:
            self._ignored = dice.sample(self.members, dice.randint(0, len(self.members)))
        if isinstance(effect, Broadcast):
            for member in self.members:
                if member not in self._ignored:
                    self._world.send(self, member, effect.data)
        elif not (isinstance(effect, Send) and effect.validator in self._ignored):
            super()._carry_out(effect)


def readable(data: bytes) -> Message | None:
    """Return the message, or None for bytes that are none."""
    try:
        return decode_message(data)
    except CodecError:
        return None
