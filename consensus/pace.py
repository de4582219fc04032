"""Time-outs, and what is said again. One law: what was lost is repeated, and nothing else is.

A view may take T(v) = min(T0 * 1.5^v, Tmax). Every rho without a block the last words are said again; a proposal, which
may be large, only to those who have not prepared it, and less and less often.
"""

from __future__ import annotations

from typing import Final

from consensus.committee import Committee
from consensus.events import TimerKind
from consensus.messages import Prepare
from consensus.outbox import Outbox
from consensus.voter import Voter
from consensus.votes import VoteBook
from ledger.fields import View
from ledger.parameters import ConsensusParameters

PROPOSAL_RESENDS_EVERY: Final = 8
"""A proposal is sent again at the ticks 1, 2, 4, 8, 16, 24, ... without progress."""


class Pace:
    """The timers of one height and this replica's repetitions."""

    def __init__(self, committee: Committee, parameters: ConsensusParameters, voter: Voter, outbox: Outbox) -> None:
        """Begin at tick 0.

        Args:
            committee: decides the height.
            parameters: in force at the height; say how long things may take.
            voter: knows what has been said.
            outbox: takes timers and messages.
        """
        self._committee: Final = committee
        self._parameters: Final = parameters
        self._voter: Final = voter
        self._outbox: Final = outbox
        self._ticks = 0

    def begin_view(self) -> None:
        """Count anew: the replica has entered a view."""
        self._ticks = 0
        self._outbox.cancel(TimerKind.VIEW)

    def arm_view(self) -> None:
        """Give the primary of the current view its time, unless it runs already."""
        view = self._voter.words.view
        if not self._outbox.is_armed(TimerKind.VIEW):
            self._outbox.arm(TimerKind.VIEW, self._voter.height, view, view_timeout_ms(self._parameters, view))

    def arm_resend(self) -> None:
        """Have the last words said again after rho, with a jitter of each member's own, unless it is due already."""
        if self._outbox.is_armed(TimerKind.RESEND):
            return
        rho = self._parameters.resend_ms
        jitter = ((self._committee.me or 0) * 37 + self._ticks * 53) % (rho // 4 + 1)
        self._outbox.arm(TimerKind.RESEND, self._voter.height, self._voter.words.view, rho - rho // 8 + jitter)

    def say_again(self, prepares: VoteBook[Prepare]) -> None:
        """Repeat what others may wait for.

        Args:
            prepares: tells who has received the proposal.
        """
        self._ticks += 1
        words, outbox = self._voter.words, self._outbox
        if words.view_change is not None and words.view_change.view > words.view:
            outbox.broadcast(words.view_change)
        if words.entered is not None:
            outbox.broadcast(words.entered)
        self._propose_again(prepares)
        for vote in (self._voter.last_prepare(), self._voter.last_commit()):
            if vote is not None:
                outbox.broadcast(vote)

    def _propose_again(self, prepares: VoteBook[Prepare]) -> None:
        words, ticks = self._voter.words, self._ticks
        if words.proposal is None or words.proposal.view != words.view:
            return
        if ticks & (ticks - 1) and ticks % PROPOSAL_RESENDS_EVERY:
            return
        for member in range(len(self._committee)):
            if member != self._committee.me and prepares.find(member, words.view) is None:
                self._outbox.send(member, words.proposal)


def view_timeout_ms(parameters: ConsensusParameters, view: View) -> int:
    """Return how long a view may take: T0 * 1.5^view, at most Tmax, in milliseconds."""
    delay_ms = parameters.view_timeout_ms
    for _ in range(view):
        if delay_ms >= parameters.view_timeout_ms_max:
            break
        delay_ms += (delay_ms + 1) // 2
    return min(delay_ms, parameters.view_timeout_ms_max)
