"""What a height waits for, told to people. One law: it only looks, and nothing is decided by what it says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from consensus.ballots import Ballots
from consensus.committee import Committee
from consensus.proposal import Accepted
from consensus.voter import Voter
from ledger.certificate import QuorumCertificate
from ledger.fields import Height, View


class Awaited(StrEnum):
    """The next thing that has to come, in the order of a height."""

    PROPOSAL = "proposal"
    """The primary's block."""

    PREPARED = "prepared certificate"
    """PREPAREs of a quorum for the block of this view."""

    COMMIT = "commit certificate"
    """COMMITs of a quorum for it."""

    VIEW_CHANGE = "view-change certificate"
    """VIEW-CHANGEs of a quorum to the next view."""

    BODY = "block"
    """The block itself: its certificate is here."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a height stands, as this replica sees it."""

    height: Height
    view: View
    """The view that is awaited for a view-change certificate, else the one this replica is in."""

    primary: int
    """Whose turn it is in `view`."""

    awaited: Awaited
    signers: tuple[int, ...]
    """The members whose signature for what is awaited is here, ascending; who must propose signs nothing yet."""

    can_sign: bool
    """Whether this replica has a voice at this height."""

    seen_elsewhere: bool
    """Whether a word came back that this replica's key has signed, and this replica has not."""

    goal: Height
    """The height that the others have truly reached; at most `height` while this replica is not behind."""


def standing_of(
    committee: Committee,
    voter: Voter,
    ballots: Ballots,
    accepted: Accepted | None,
    decision: QuorumCertificate | None,
    goal: Height,
) -> Standing:
    """Tell what a height waits for.

    Args:
        committee: decides the height.
        voter: this replica's voice at it.
        ballots: what has been counted.
        accepted: the proposal of the view this replica is in.
        decision: the commit certificate, once it is known.
        goal: the height that the others have truly reached.
    """
    words = voter.words
    view = words.view
    signers: tuple[int, ...] = ()
    if decision is not None:
        awaited, signers = Awaited.BODY, tuple(seal.validator for seal in decision.seals)
    elif words.asked > view:
        awaited, view = Awaited.VIEW_CHANGE, words.asked
        signers = tuple(sorted(ballots.changes.reaching(view)))
    elif accepted is None:
        awaited = Awaited.PROPOSAL
    else:
        commit = voter.last_commit()
        has_committed = commit is not None and commit.view == view
        awaited = Awaited.COMMIT if has_committed else Awaited.PREPARED
        book = ballots.commits if has_committed else ballots.prepares
        signers = tuple(seal.validator for seal in book.seals(view, accepted.block_id))
    return Standing(
        height=voter.height,
        view=view,
        primary=committee.primary(voter.height, view),
        awaited=awaited,
        signers=signers,
        can_sign=voter.can_sign,
        seen_elsewhere=voter.lost_at is not None,
        goal=goal,
    )
