"""What liars do to consensus. One law: a liar has its own key and everybody's messages, and nothing else.

| kind | what it does |
|---|---|
| equivocator | proposes two blocks to two halves, votes for both, forges certificates from its own seal |
| turncoat | votes for whatever it hears of, in any view, also after it asked to leave |
| amnesiac | commits for one other only, hides what it prepared, and as primary proposes something new instead |
| replayer | says old things again, and bytes that are nearly right |
| mute | talks to some and not to others, and changes its mind |
| agitator | asks for later and later views, without end and without reason |
| twins | two processes with one key, as after a restored backup |

A deceit works on messages, so the same one lies for a bare replica and for a whole node.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol

from consensus import decode_message, encode_message
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

REMEMBERED_MAX = 200
SPAM_MAX = 300
"""VIEW-CHANGEs of one agitator; a real one is slowed down by the transport's budgets."""


class Accomplice(Protocol):
    """The node that lies: what its deceit may use."""

    @property
    def dice(self) -> Random:
        """Randomness of the run."""
        ...

    @property
    def committee(self) -> Committee:
        """Its key and the set."""
        ...

    @property
    def members(self) -> Sequence[int]:
        """All others."""
        ...

    def tell(self, member: int, data: bytes) -> None:
        """Send bytes to one, past the deceit."""
        ...

    def rival(self, message: PrePrepare) -> Block | None:
        """Return another block for the height of an own proposal."""
        ...

    def fresh(self, height: Height, view: View) -> Block | None:
        """Return a new block for a height, when its parent is known."""
        ...


class Deceit:
    """Behaves well; its kinds do not."""

    def __init__(self, liar: Accomplice) -> None:
        self.liar = liar

    @property
    def dice(self) -> Random:
        """Randomness of the run."""
        return self.liar.dice

    def hear(self, data: bytes) -> None:
        """Note a message that came, before the node sees it."""

    def say(self, data: bytes) -> bool:  # noqa: ARG002 - its kinds use it
        """Broadcast in the node's stead; False lets the node do it."""
        return False

    def send(self, member: int, data: bytes) -> bool:  # noqa: ARG002 - as `say`
        """Send in the node's stead; False lets the node do it."""
        return False

    def spread(self, members: Sequence[int], message: Message) -> None:
        """Send to some."""
        data = encode_message(message)
        for member in members:
            self.liar.tell(member, data)

    def vote(self, kind: str, height: Height, view: View, block_id: Digest) -> Message:
        """Return a signed vote, allowed or not."""
        seal = self.liar.committee.seal_vote(kind, height, view, block_id)
        return Prepare(height, view, block_id, seal) if kind == PREPARE else Commit(height, view, block_id, seal)


class Equivocator(Deceit):
    """Two blocks for two halves."""

    def say(self, data: bytes) -> bool:
        """Propose two blocks."""
        message = readable(data)
        if not isinstance(message, PrePrepare):
            return False
        dice, members, height, view = self.dice, list(self.liar.members), message.height, message.view
        half = dice.sample(members, len(members) // 2 + dice.randint(0, 1))
        rest = [member for member in members if member not in half]
        rival = self.liar.rival(message)
        if rival is None:
            return False
        seal = self.liar.committee.seal_vote(PREPARE, height, view, rival.id)
        self.spread(half, message)
        self.spread(rest, PrePrepare(height, view, rival, seal, message.justification))
        for some, block in ((half, message.block), (rest, rival)):
            self.spread(some, self.vote(COMMIT, height, view, block.id))
        self.spread(rest, Decided(CertifiedBlock(rival, self._forge(COMMIT, height, view, rival))))
        if view > 0:
            claims = message.justification.claims if message.justification else ()
            forged = ViewChangeCertificate(height, View(view + 1), claims, self._forge(PREPARE, height, view, rival))
            self.spread(rest, forged)
        return True

    def _forge(self, kind: str, height: Height, view: View, block: Block) -> QuorumCertificate:
        seal = self.liar.committee.seal_vote(kind, height, view, block.id)
        return QuorumCertificate(height, view, block.id, (seal,) * self.liar.committee.quorum)


class Turncoat(Deceit):
    """A vote for everybody."""

    def __init__(self, liar: Accomplice) -> None:
        super().__init__(liar)
        self._votes_left: dict[Digest, int] = {}

    def hear(self, data: bytes) -> None:
        """Vote for whatever is heard of."""
        if self.dice.random() < 0.5:
            match readable(data):
                case PrePrepare(height, view, block, _, _):
                    self._vote_for(height, view, block.id)
                case Prepare(height, view, block_id, _) | Commit(height, view, block_id, _):
                    self._vote_for(height, view, block_id)
                case _:
                    pass

    def _vote_for(self, height: Height, view: View, block_id: Digest) -> None:
        left = self._votes_left.setdefault(block_id, 20)
        if left == 0:
            return  # two of its kind would answer each other for ever
        self._votes_left[block_id] = left - 1
        members = self.liar.members
        some = self.dice.sample(members, self.dice.randint(1, len(members)))
        self.spread(some, self.vote(PREPARE, height, view, block_id))
        self.spread(some, self.vote(COMMIT, height, view, block_id))


class Amnesiac(Deceit):
    """Nothing has ever been prepared."""

    def __init__(self, liar: Accomplice) -> None:
        super().__init__(liar)
        self._heard: dict[tuple[int, int], dict[int, ViewChange]] = {}

    def hear(self, data: bytes) -> None:
        """Collect VIEW-CHANGEs, and open a view from those that hide what was prepared."""
        message = readable(data)
        if isinstance(message, ViewChange):
            heard = self._heard.setdefault((message.height, message.view), {})
            heard[message.claim.seal.validator] = message
            self._open(message.height, message.view, heard)

    def say(self, data: bytes) -> bool:
        """Hide what was prepared, and help nobody."""
        message = readable(data)
        if isinstance(message, ViewChange):
            claim = self.liar.committee.seal_view_change(message.height, message.view, None)
            self.spread(self.liar.members, ViewChange(message.height, message.view, claim, None))
        elif isinstance(message, Commit):
            self.spread([self.dice.choice(self.liar.members)], message)
        else:  # what it proposes in a new view it has said already
            return isinstance(message, Status) or (isinstance(message, PrePrepare) and message.view > 0)
        return True

    def send(self, member: int, data: bytes) -> bool:  # noqa: ARG002 - it sends nothing
        """Help nobody."""
        return True

    def _open(self, height: Height, view: View, heard: dict[int, ViewChange]) -> None:
        committee = self.liar.committee
        if committee.primary(height, view) != committee.me:
            return
        block = self.liar.fresh(height, view)
        if block is None:
            return
        claim = committee.seal_view_change(height, view, None)
        mine = ViewChange(height, view, claim, None)
        hiding = sorted(
            [mine, *(message for index, message in heard.items() if index != committee.me)],
            key=lambda message: message.certificate.view if message.certificate else -1,
        )[: committee.quorum]
        if len(hiding) < committee.quorum:
            return
        hiding.sort(key=lambda message: message.claim.seal.validator)
        known = [message.certificate for message in hiding if message.certificate]
        shown = max(known, key=lambda certificate: certificate.view, default=None)
        if self.dice.random() < 0.5:
            shown = None
        opening = ViewChangeCertificate(height, view, tuple(message.claim for message in hiding), shown)
        seal = committee.seal_vote(PREPARE, height, view, block.id)
        self.spread(self.liar.members, PrePrepare(height, view, block, seal, opening))
        self.spread(self.liar.members, self.vote(COMMIT, height, view, block.id))


class Replayer(Deceit):
    """Old words, and words that are nearly right."""

    def __init__(self, liar: Accomplice) -> None:
        super().__init__(liar)
        self._heard: list[bytes] = []

    def hear(self, data: bytes) -> None:
        """Remember it, and say something remembered."""
        dice = self.dice
        if len(self._heard) < REMEMBERED_MAX:
            self._heard.append(data)
        else:
            self._heard[dice.randrange(REMEMBERED_MAX)] = data
        if dice.random() < 0.3:
            again = bytearray(dice.choice(self._heard))
            if dice.random() < 0.5:
                again[dice.randrange(len(again))] ^= 1 << dice.randrange(8)
            self.liar.tell(dice.choice(self.liar.members), bytes(again))


class Mute(Deceit):
    """Silence for some."""

    def __init__(self, liar: Accomplice) -> None:
        super().__init__(liar)
        self._ignored: list[int] = []

    def say(self, data: bytes) -> bool:
        """Tell only some."""
        self._change_mind()
        for member in self.liar.members:
            if member not in self._ignored:
                self.liar.tell(member, data)
        return True

    def send(self, member: int, data: bytes) -> bool:  # noqa: ARG002 - sent by the node or not at all
        """Be silent for those who are ignored."""
        self._change_mind()
        return member in self._ignored

    def _change_mind(self) -> None:
        if self.dice.random() < 0.1:
            members = self.liar.members
            self._ignored = self.dice.sample(members, self.dice.randint(0, len(members)))


class Agitator(Deceit):
    """Never content with a view."""

    def __init__(self, liar: Accomplice) -> None:
        super().__init__(liar)
        self._asked: dict[Height, int] = {}
        self._left = SPAM_MAX

    def hear(self, data: bytes) -> None:
        """Answer any vote with a VIEW-CHANGE, some to far views."""
        message = readable(data)
        if not isinstance(message, Prepare | Commit | PrePrepare | ViewChange) or not self._left:
            return
        self._left -= 1
        view = View(max(self._asked.get(message.height, 0), message.view) + self.dice.choice((1, 1, 2, 50)))
        self._asked[message.height] = min(view, 1_000)
        claim = self.liar.committee.seal_view_change(message.height, view, None)
        self.spread(self.liar.members, ViewChange(message.height, view, claim, None))


DECEITS: dict[str, type[Deceit]] = {
    "equivocator": Equivocator,
    "turncoat": Turncoat,
    "amnesiac": Amnesiac,
    "replayer": Replayer,
    "mute": Mute,
    "agitator": Agitator,
    "twins": Deceit,
}


def readable(data: bytes) -> Message | None:
    """Return the message, or None for bytes that are none."""
    try:
        return decode_message(data)
    except CodecError:
        return None
