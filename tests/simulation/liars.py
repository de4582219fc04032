"""Replicas that lie: a node of the simulation with a deceit between it and the network."""

from __future__ import annotations

from random import Random

from consensus import Broadcast, Effect, Send
from consensus.committee import Committee
from consensus.messages import PrePrepare
from ledger.block import Block, CertifiedBlock
from ledger.fields import Height, View
from ledger.identity import SigningKey
from ledger.validators import ValidatorSet
from tests.simulation import toy
from tests.simulation.deceits import DECEITS
from tests.simulation.node import Node, World


def make_liars(world: World, kind: str, index: int, key: SigningKey, validators: ValidatorSet) -> list[Liar]:
    """Return the one liar, or two, that own this key."""
    names = (f"twin{index}a", f"twin{index}b") if kind == "twins" else (f"{kind}{index}",)
    return [Liar(world, name, key, validators, kind) for name in names]


class Liar(Node):
    """A replica whose words pass through a deceit; a `deceits.Accomplice`."""

    def __init__(self, world: World, name: str, key: SigningKey, validators: ValidatorSet, kind: str) -> None:
        super().__init__(world, name, key, validators, 0)
        self.committee = Committee(toy.CHAIN_ID, validators, key)
        self.members = [member for member in range(len(validators)) if member != self.index]
        self.deceit = DECEITS[kind](self)

    @property
    def dice(self) -> Random:
        """Randomness of the run."""
        return self._world.dice

    def append(self, certified: CertifiedBlock) -> None:
        """Make a block final, or be lost on a fork of its own making."""
        if certified.block.header.parent_id == self.disk.tip.block_id:
            super().append(certified)

    def receive(self, data: bytes) -> None:
        """Let the deceit hear it first."""
        if self.is_up:
            self.deceit.hear(data)
        super().receive(data)

    def tell(self, member: int, data: bytes) -> None:
        """Send bytes to one, past the deceit."""
        self._world.send(self, member, data)

    def rival(self, message: PrePrepare) -> Block | None:
        """Return another block for an own proposal, not always a valid one."""
        said = b"rival-%d-%d" % (message.height, message.view)
        transactions = self.dice.choice(((said,), (toy.INVALID,), (b"rival",)))
        return toy.build(self.disk.tip, transactions, self.now_ms, self.validators, message.seal.validator)

    def fresh(self, height: Height, view: View) -> Block | None:
        """Return a new block for a height whose parent is known."""
        if not 0 < height <= self.disk.tip.height + 1 or self.index is None:
            return None
        parent = toy.after(self.disk.chain[height - 2].block) if height > 1 else toy.GENESIS
        return toy.build(parent, (b"new-%d" % view,), self.now_ms, self.validators, self.index)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Broadcast(data) if self.deceit.say(data):
                pass
            case Send(member, data) if self.deceit.send(member, data):
                pass
            case _:
                super()._carry_out(effect)
