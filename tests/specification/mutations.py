"""Mistakes in the specification, each to be found: a search that finds nothing must mean something.

One law: each replaces text that occurs exactly once, so that none can become a mutation of nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.specification.quint import Search


@dataclass(frozen=True, slots=True)
class Mutation:
    """One mistake and the search that finds it."""

    name: str
    replacements: tuple[tuple[str, str], ...]
    search: Search

    def apply(self, text: str) -> str:
        """Return the specification with the mistake in it.

        Raises:
            ValueError: the specification has changed and the mistake does not fit any more.
        """
        for before, after in self.replacements:
            if text.count(before) != 1:
                raise ValueError(f"{self.name}: needed once in the specification, found {text.count(before)}: {before}")
            text = text.replace(before, after)
        return text


def _mutation(
    name: str, *replacements: tuple[str, str], module: str = "four", init: str = "init", seed: int = 1
) -> Mutation:
    steps = 30 if module == "changed" else 16
    return Mutation(name, replacements, Search(module, samples=2_000, steps=steps, init=init, seed=seed))


_QUORUM: Final = "(members.length() + faultyMax(members) + 2) / 2"
_PERSISTED: Final = "move: Move): Memory = mine"
_SIGNERS: Final = "senders.union(state.liars).intersect(elements(members)).size() >= quorum(members)"
_MEMBERS: Final = "val members = membersAfter(mine.chain)\n    val voting"

MUTATIONS: Final[tuple[Mutation, ...]] = (
    _mutation("any block is proposed again", ("if (demanded == NONE) BLOCKS else Set(demanded.block)", "BLOCKS")),
    _mutation("a vote after VIEW-CHANGE", ("canSign(mine) and mine.asked <= view", "canSign(mine)")),
    _mutation(
        "a lower prepared certificate is enough",
        (
            "if (claim.view > best.view) claim else best",
            "if (best == NONE or (claim != NONE and claim.view < best.view)) claim else best",
        ),
        module="views",
        init="initTwice",
    ),
    _mutation(
        "VIEW-CHANGE does not tell what was prepared",
        ("view: mine.asked, prepared: mine.locked, sender", "view: mine.asked, prepared: NONE, sender"),
    ),
    _mutation("nothing is persisted", (_PERSISTED, "move: Move): Memory = { ...disk, chain: mine.chain }")),
    _mutation("PREPARE is not persisted", (_PERSISTED, "move: Move): Memory = { ...mine, prepared: disk.prepared }")),
    _mutation("COMMIT is not persisted", (_PERSISTED, "move: Move): Memory = { ...mine, locked: disk.locked }")),
    _mutation("VIEW-CHANGE is not persisted", (_PERSISTED, "move: Move): Memory = { ...mine, asked: disk.asked }")),
    _mutation(
        "sent before it is persisted",
        ('== "decide" or dies', '== "decide"'),
        (
            'val kept = if (move.kind == "crash") mine else',
            'val kept = if (move.kind == "crash" or dies) state.disk.get(move.who) else',
        ),
    ),
    _mutation("a quorum is 2f + 1 of five", (_QUORUM, "2 * faultyMax(members) + 1"), module="five"),
    _mutation("a quorum is f + 1", (_QUORUM, "faultyMax(members) + 1")),
    _mutation("a second proposal is prepared", ("        mine.prepared.view < proposal.opening.view,\n", "")),
    _mutation(
        "a signer counts twice",
        (_SIGNERS, _SIGNERS.replace(" >=", " + state.liars.size() >=")),
    ),
    _mutation(
        "COMMIT without a quorum of PREPAREs",
        (
            "mine.view\n      and state.isCertified(state.prepares, members, heightOf(mine), mine.prepared))",
            "mine.view)",
        ),
    ),
    _mutation("a lost disk is no reason for silence", ("blank(DECIDED, heightOf(mine))", "blank(DECIDED, 0)")),
    _mutation(
        "certificates count whoever signed them",
        (_SIGNERS, "senders.union(state.liars).size() >= quorum(members)"),
        module="changed",
    ),
    _mutation(
        "some go on with the old set",
        (_MEMBERS, _MEMBERS.replace("= membersAfter", "= if (who < 3) FIRST else membersAfter")),
        module="changed",
        seed=2,
    ),
    _mutation(
        "some change the set a height too early",
        (_MEMBERS, _MEMBERS.replace("= membersAfter", "= if (who > 2) SECOND else membersAfter")),
        module="changed",
        init="initDecided",
    ),
)
