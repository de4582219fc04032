"""Bugs to be found: the simulator proves that it can fail. One law: each is one mistake that implementations make."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from consensus import committee, instance, proposal, view_change
from consensus.committee import Committee
from consensus.events import Effect, Persist
from consensus.messages import PreparedClaim, ViewChange, ViewChangeCertificate, ViewChangeClaim
from consensus.outbox import Outbox
from consensus.pace import Pace
from consensus.proposal import Accepted
from consensus.safety import EnteredRecord, OwnWords
from consensus.voter import Voter
from ledger.certificate import Seal
from ledger.digest import Digest
from ledger.fields import Height, View
from ledger.validators import ValidatorSet
from tests.simulation.node import Disk


@dataclass(frozen=True, slots=True)
class Mutation:
    """A bug, and the first seed that shows it."""

    name: str
    replacements: tuple[tuple[object, str, object], ...]
    seed: int
    n: int
    liar: str | None = None

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Have the bug inside the `with`."""
        with ExitStack() as stack:
            for owner, name, value in self.replacements:
                stack.callback(setattr, owner, name, vars(owner)[name])
                setattr(owner, name, value)
            yield


_take = Outbox.take
_ask = Voter.ask


def _take_persisting_last(outbox: Outbox) -> list[Effect]:
    effects = _take(outbox)
    return sorted(effects, key=lambda effect: isinstance(effect, Persist))


def _any_signers(_: ValidatorSet, signers: list[int], *, what: str) -> None:
    """Count seals, not signers."""


def _lowest_claim(claims: tuple[ViewChangeClaim, ...]) -> PreparedClaim | None:
    lowest = min(claims, key=lambda claim: claim.prepared.view if claim.prepared else -1)
    return lowest.prepared


def _one_seal_enough(owner: Committee, _: str, __: Height, ___: View, ____: Digest, seal: Seal) -> bool:
    return seal.validator < len(owner)


def _prepare_anyway(owner: instance.Instance, accepted: Accepted, _: str) -> None:
    owner._prepare(accepted)


def _no_repetition(_: Pace, __: object) -> None:
    """Say everything once."""


def _mutation(
    name: str, *replacements: tuple[object, str, object], seed: int, n: int = 4, liar: str | None = None
) -> Mutation:
    return Mutation(name, replacements, seed, n, liar)


def _quorum_2f_1(validators: ValidatorSet) -> int:
    return 2 * validators.faulty_max + 1


def _quorum_f_1(validators: ValidatorSet) -> int:
    return validators.faulty_max + 1


def _can_vote_always(voter: Voter) -> bool:
    return voter.can_sign


def _ask_forgetting(voter: Voter, view: View) -> ViewChange | None:
    words = voter.words
    commit, words.commit = words.commit, None
    try:
        return _ask(voter, view)
    finally:
        words.commit = commit


def _enter_forgetfully(voter: Voter, certificate: ViewChangeCertificate) -> None:
    voter.words.add(EnteredRecord(certificate))


def _no_check(*_: object) -> None:
    """Find everything in order."""


MUTATIONS: tuple[Mutation, ...] = (
    _mutation(
        "vote after VIEW-CHANGE",
        (Voter, "can_vote", property(_can_vote_always)),
        (OwnWords, "_require_not_left", _no_check),
        seed=1,
    ),
    _mutation("persist after send", (Outbox, "take", _take_persisting_last), seed=0),
    _mutation("persist nothing", (Outbox, "persist", _no_check), seed=0),
    _mutation("forget the fsync", (Disk, "sync", _no_check), seed=0),
    _mutation("quorum 2f + 1", (ValidatorSet, "quorum", property(_quorum_2f_1)), seed=0, n=6),
    _mutation("quorum f + 1", (ValidatorSet, "quorum", property(_quorum_f_1)), seed=0),
    _mutation("duplicate signers count", (committee, "require_quorum", _any_signers), seed=0, liar="equivocator"),
    _mutation(
        "a lower prepared certificate is enough",
        (view_change, "_highest_claim", _lowest_claim),
        seed=20,
        liar="amnesiac",
    ),
    _mutation(
        "signatures of votes are not verified", (Committee, "is_vote", _one_seal_enough), seed=9, liar="replayer"
    ),
    _mutation(
        "invalid blocks are prepared", (instance.Instance, "_reject", _prepare_anyway), seed=3, liar="equivocator"
    ),
    _mutation("what was prepared is not told", (Voter, "ask", _ask_forgetting), seed=17),
    _mutation(
        "view-change certificates are not verified",
        (proposal, "require_view_change_certificate", _no_check),
        seed=51,
        liar="amnesiac",
    ),
    _mutation(
        "any block is accepted in a new view", (proposal, "_require_demanded", _no_check), seed=78, liar="amnesiac"
    ),
    _mutation("the view entered is not written down", (Voter, "enter", _enter_forgetfully), seed=37),
    _mutation("nothing is said again", (Pace, "say_again", _no_repetition), seed=5),
)
