"""Why a node, its chain or a round does not go on. One law: a reason has a code that stays, and says who is meant."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

REASONS: Final = {
    "quorum.away": "Too few validators can be reached: nothing is decided until more of them are back.",
    "proposal.missing": "The validator whose turn it is has not proposed a block.",
    "proposal.censoring": "A validator's proposal lost its turn, since it kept a transaction off the chain.",
    "certificate.missing": "Signatures of some validators are missing for a certificate of the next block.",
    "block.missing": "The next block is decided and its bytes have not come.",
    "chain.behind": "The others are further; this node fetches what it lacks.",
    "blocks.pruned": "Peers have pruned the blocks that this node needs next.",
    "snapshot.fetching": "The node fetches a certified state instead of the blocks before it.",
    "validator.none": "This node is no validator of the next height.",
    "signing.observing": "The node signs nothing yet: it was started with --observe-first.",
    "signing.elsewhere": "Something came back that this node's key has signed and this node has not.",
    "clock.own": "This machine's clock is off: the clocks of most validators agree on another time.",
    "clock.peer": "Another validator's clock is off.",
    "disk.low": "There is little free space where the node keeps its data.",
    "payload.quota": "The payloads have nearly filled the space that is set aside for them.",
    "payload.unfetched": "An update or model that a round needs is not here, and nobody has sent it yet.",
    "round.open": "A round waits for updates.",
    "round.paused": "The members have paused a task: neither updates nor results are taken.",
    "round.uncomputed": "This node has not computed the result of a closed round.",
    "round.uncertified": "Too few validators have signed the result that this node computed.",
    "result.divergent": "A quorum computed another result than this node.",
}
"""What each code means; docs/operations.md says what to do."""

CLOSED_ROUND: Final = ("payload.unfetched", "round.uncomputed", "round.uncertified")
"""Codes of closed rounds that wait for their result."""

Stops = Literal["chain", "node", "round", "nothing"]


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that something waits for, or that will stop it."""

    code: str
    """One of `REASONS`."""

    stops: Stops
    """What does not go on for it: the chain, this node's part in it, a round; or nothing yet."""

    detail: str
    """In words, with whom and how much."""

    remedy: str = ""
    """What to do; empty when there is nothing to do but wait."""

    names: tuple[str, ...] = ()
    """Validators, participants or organisations that it waits for or that are at fault, by name."""

    signed: tuple[str, ...] = ()
    """Validators whose signatures are here, when it is a certificate that is missing."""

    certificate: str = ""
    """Which one: `prepared`, `commit`, `view-change` or `execution`; empty when none is missing."""

    height: int | None = None
    view: int | None = None
    task: str | None = None
    round: int | None = None
    milliseconds: float | None = None
    """How far a clock is ahead, or how long it has waited."""


def listed(names: tuple[str, ...]) -> str:
    """Return names for a sentence."""
    return ", ".join(names) or "nobody"
