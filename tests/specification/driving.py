"""Runs of the specification, carried out by replicas. One law: a replica gets what the move needs, and nothing more.

What the specification's simulator did is done again with real messages: proposals, votes and certificates signed by
those whom the run names, liars among them. After each move the replica's disk must hold what the specification says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from consensus import (
    AppendBlock,
    BlockBuilt,
    BlockValidated,
    Effect,
    Event,
    MessageReceived,
    Persist,
    Replica,
    Started,
    Timer,
    TimerExpired,
    TimerKind,
    ValidateBlock,
    WorkArrived,
    encode_message,
)
from consensus.messages import Body, Decided, Message, ViewChangeCertificate
from ledger.block import Block, CertifiedBlock
from ledger.certificate import COMMIT, PREPARE, QuorumCertificate
from ledger.fields import View
from tests.consensus.council import H1, Council
from tests.simulation import toy
from tests.specification.quint import SPECIFICATION, Search, read_trace, search
from tests.specification.words import NONE, Claim, Memory, Names

LIAR: Final = 1
FRESH: Final = {0: ("a0", "b0"), 1: ("a1",), 2: ("a2",)}
"""New blocks name their proposer, so each view has its own."""

_MODULE: Final = """module driven {
  import consensus(
    FIRST = [0, 1, 2, 3], SECOND = [0, 1, 2, 3], LIARS = Set(1), BLOCKS = Set("a0", "b0", "a1", "a2"), CHANGES = Set(),
    HEIGHT_MAX = 1, VIEW_MAX = 2, DECIDED = []
  ).*

  pure val FRESH = Map(0 -> Set("a0", "b0"), 1 -> Set("a1"), 2 -> Set("a2"))

  /// A replica proposes again at once what it has prepared itself.
  pure def isDue(now: State, move: Move): bool =
    move.kind == "propose" and move.demanded != NONE and now.memory.get(move.who).prepared.block == move.block

  /// Time-outs only, and new blocks of their view.
  pure def isDrivable(now: State, move: Move): bool = {
    val mine = now.memory.get(move.who)
    if (move.kind == "ask") move.view == mine.view + 1 and mine.asked <= mine.view
    else if ((move.kind == "propose" or move.kind == "prepare") and move.demanded == NONE)
      FRESH.get(move.view).contains(move.block)
    else move.kind != "repeat"
  }

  action drive = {
    nondet luck = oneOf(1.to(12))
    val open = state.moves()
    val due = open.filter(move => isDue(state, move))
    nondet move = oneOf(if (due != Set()) due else open.filter(move => isDrivable(state, move)))
    val dies = luck == 1 and due == Set() and move.kind != "decide"
    all {
      state' = state.after(move, dies),
      last' = { move: move, dies: dies },
    }
  }
}
"""


def runs(count: int, steps: int, seed: int, directory: Path) -> list[list[dict[str, Any]]]:
    """Return runs of the specification, each a list of states."""
    source = directory / "driven.qnt"
    source.write_text(SPECIFICATION.read_text(encoding="utf-8") + _MODULE, encoding="utf-8")
    search(Search("driven", count, steps, step="drive", seed=seed), source, directory)
    return [[_short(state) for state in read_trace(path)] for path in sorted(directory.glob("*.itf.json"))]


def _short(state: dict[str, Any]) -> dict[str, Any]:
    return {name.rsplit("::", 1)[-1]: value for name, value in state.items()}


class DifferenceError(AssertionError):
    """A replica does something else than the specification."""


@dataclass(slots=True)
class Puppet:
    """One replica and its disk."""

    who: int
    replica: Replica
    records: list[bytes] = field(default_factory=list)
    checking: ValidateBlock | None = None
    appended: Block | None = None


class Stage:
    """All honest replicas of one run."""

    def __init__(self) -> None:
        self._council: Final = Council(4)
        self._names: Final = Names()
        self._blocks: Final[dict[str, Block]] = {}
        for view, names in FRESH.items():
            for name in names:
                proposer = self._council.validators.primary(H1, View(view))
                self._blocks[name] = self._council.block(proposer, text=name.encode())
                self._names.give(self._blocks[name].id, name)
        self._puppets: Final = {who: Puppet(who, self._council.replica(who)) for who in range(4) if who != LIAR}
        self.moves = 0

    def play(self, states: list[dict[str, Any]]) -> None:
        """Carry out a run.

        Raises:
            DifferenceError: a replica does not what the specification does.
        """
        for before, now, after in zip(states, states[1:], [*states[2:], None], strict=False):
            move = now["last"]["move"]
            puppet = self._puppets[move["who"]]
            self._carry_out(puppet, move, before["state"])
            if now["last"]["dies"]:
                self._restart(puppet)
            self.moves += 1
            following = after["last"]["move"] if after else None
            if following is None or (following["who"], following["kind"]) != (puppet.who, "propose"):
                self._compare(puppet, move, now["state"]["memory"][puppet.who])

    def _carry_out(self, puppet: Puppet, move: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        view, demanded = View(move["view"]), Claim(**move["demanded"])
        block = self._blocks.get(move["block"])
        match move["kind"]:
            case "enter":
                self._tell(puppet, self._opening(view, demanded, state))
            case "prepare":
                assert block is not None
                opening = self._opening(view, demanded, state) if view else None
                self._tell(puppet, self._council.pre_prepare(block, view, opening))
                self._approve(puppet)
            case "propose":
                assert block is not None
                self._propose(puppet, view, demanded, block)
            case "commit":
                assert block is not None
                for sender in self._signers(state["prepares"], Claim(view, move["block"]), puppet.who):
                    self._tell(puppet, self._council.prepare(sender, block, view))
            case "ask":
                self._step(puppet, WorkArrived())
                self._step(puppet, TimerExpired(Timer(TimerKind.VIEW, H1, puppet.replica.view)))
            case "decide":
                assert block is not None
                certificate = self._commit_certificate(move["block"], block, state)
                self._tell(puppet, Decided(CertifiedBlock(block, certificate)))
            case kind:
                raise AssertionError(f"{kind} is no move that can be driven")

    def _propose(self, puppet: Puppet, view: View, demanded: Claim, block: Block) -> None:
        if demanded == NONE:
            self._step(puppet, WorkArrived())
            self._step(puppet, BlockBuilt(H1, view, block))
        elif puppet.checking is None and self._memory(puppet).prepared.view < view:
            self._tell(puppet, Body(block))
        self._approve(puppet)

    def _approve(self, puppet: Puppet) -> None:
        asked, puppet.checking = puppet.checking, None
        if asked is not None:
            self._step(puppet, BlockValidated(H1, asked.view, asked.block.id, ok=True))

    def _restart(self, puppet: Puppet) -> None:
        puppet.checking = None
        puppet.replica = Replica(
            toy.CHAIN_ID,
            self._council.keys[puppet.who],
            toy.PARAMETERS,
            self._council.validators,
            height=H1,
            parent_id=toy.CHAIN_ID,
            safety=puppet.records,
        )
        self._step(puppet, Started())

    # What it hears

    def _opening(self, view: View, demanded: Claim, state: Mapping[str, Any]) -> ViewChangeCertificate:
        """Put together a certificate that demands this block, of whose claims there are."""
        wishes = {
            change["sender"]: Claim(**change["prepared"]) for change in state["changes"] if change["view"] == view
        }
        for size in range(len(wishes), 1, -1):
            for senders in combinations(sorted(wishes), size):
                for lie in (None, NONE, demanded):
                    claims = {sender: wishes[sender] for sender in senders} | ({} if lie is None else {LIAR: lie})
                    highest = max(claims.values(), key=lambda claim: claim.view)
                    if len(claims) >= self._council.validators.quorum and highest == demanded:
                        return self._certificate(view, claims, state)
        raise AssertionError(f"no certificate for view {view} can demand {demanded}")

    def _certificate(self, view: View, claims: dict[int, Claim], state: Mapping[str, Any]) -> ViewChangeCertificate:
        messages = [
            self._council.view_change(sender, view, self._prepared(claim, state))
            for sender, claim in sorted(claims.items())
        ]
        return self._council.opening(view, *messages)

    def _prepared(self, claim: Claim, state: Mapping[str, Any]) -> QuorumCertificate | None:
        if claim == NONE:
            return None
        signers = self._signers(state["prepares"], claim, None)
        return self._council.certificate(PREPARE, self._blocks[claim.block], signers, View(claim.view))

    def _commit_certificate(self, name: str, block: Block, state: Mapping[str, Any]) -> QuorumCertificate:
        for view in FRESH:
            signers = self._signers(state["commits"], Claim(view, name), None)
            if len(signers) >= self._council.validators.quorum:
                return self._council.certificate(COMMIT, block, signers, View(view))
        raise AssertionError(f"nobody can certify {name}")

    @staticmethod
    def _signers(votes: Iterable[Mapping[str, Any]], claim: Claim, without: int | None) -> list[int]:
        """Return who signed this, a liar always."""
        honest = {vote["sender"] for vote in votes if (vote["view"], vote["block"]) == (claim.view, claim.block)}
        return sorted((honest | {LIAR}) - {without})

    # What it does

    def _tell(self, puppet: Puppet, message: Message) -> None:
        self._step(puppet, MessageReceived(encode_message(message)))

    def _step(self, puppet: Puppet, event: Event) -> None:
        if puppet.appended is None:
            self._note(puppet, puppet.replica.step(event))

    @staticmethod
    def _note(puppet: Puppet, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Persist(_, records):
                    puppet.records.extend(records)
                case ValidateBlock():
                    puppet.checking = effect
                case AppendBlock(certified):
                    puppet.appended = certified.block
                case _:
                    pass

    def _memory(self, puppet: Puppet) -> Memory:
        return self._names.memory(H1, puppet.who, puppet.records)

    def _compare(self, puppet: Puppet, move: object, expected: Mapping[str, Any]) -> None:
        chain = [self._names.of(puppet.appended.id)] if puppet.appended else []
        if chain != expected["chain"]:
            raise DifferenceError(f"after {move}: decided {chain}, the specification {expected['chain']}")
        demanded, prepared, locked = (Claim(**expected[name]) for name in ("demanded", "prepared", "locked"))
        needed = Memory(1, expected["view"], demanded, prepared, locked, expected["asked"])
        if not chain and self._memory(puppet) != needed:
            raise DifferenceError(f"after {move}: on the disk is {self._memory(puppet)}, needed {needed}")
