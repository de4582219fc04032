"""A sealed round from the first hidden update to the certified sum. One law: a set of pads opens one weighted sum.

Phases, each entered by what is posted or when the ledger's deadline has passed:
`updates` -> close_updates -> `gram` -> `sums` -> close_sums -> `folds` -> `outcome` -> `done`, or `violated` ->
open_violation -> `functionals` -> `blamed`; or `failed` with a reason, where no sum is opened.

A share that comes late is still judged: a wrong one names its sender in any phase. Who posts nothing is named nowhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal, assert_never

from fl.aggregators.registry import minimum_updates
from fl.sealed.certificate import FUNCTIONALS_MAX, Certified, Violated, is_possible
from fl.sealed.committee import Committee, point_of
from fl.sealed.messages import (
    Blame,
    Fault,
    Folds,
    Functionals,
    GramShares,
    Outcome,
    Refusal,
    RoundMessage,
    SumCommitment,
    Suspicion,
    SuspicionVerdict,
    Update,
)
from fl.sealed.polynomial import Opened, open_shares
from fl.sealed.selection import Refusal as SelectionRefusal
from fl.sealed.selection import Selection, select, too_long
from fl.sealed.shares import FOLDS, pairs_of, symmetric
from fl.sealed.stock import Slot
from fl.sealed.suspicions import Suspicions
from fl.sealed.task import SealedTask
from ledger.digest import DIGEST_BYTES, Digest

Phase = Literal["updates", "gram", "sums", "folds", "outcome", "done", "violated", "functionals", "blamed", "failed"]
SAMPLES_MAX: Final = 1 << 40


class SealedRound:
    """What is known of a round; every node that takes the same messages knows the same."""

    def __init__(
        self, committee: Committee, task: SealedTask, slot: Slot, *, seed: bytes = b"", root: int | None = None
    ) -> None:
        """Begin without updates.

        Args:
            committee: the validators.
            task: the rule and its bounds.
            slot: a checked set of pads, used for nothing else.
            seed: of the round, for what is drawn by lot.
            root: the participant whom the rule trusts.
        """
        assert slot.phase == "ready", f"only checked pads hide anything, slot {slot.number} is {slot.phase}"
        assert slot.size == task.size, f"pads of {task.size} elements are needed, got {slot.size}"
        self.committee = committee
        self.task = task
        self.slot = slot
        self.phase: Phase = "updates"
        self.failure: SelectionRefusal | None = None
        self.blamed: list[Blame] = []
        self.updates: dict[int, Update] = {}
        self.participants: tuple[int, ...] = ()
        self.gram: tuple[tuple[int, ...], ...] = ()
        self.selection: Selection | None = None
        self.challenge = b""
        self.candidates: tuple[int, ...] = ()
        self.outcome: Outcome | None = None
        self.violation_challenge = b""
        self.functional_number = 0
        self.suspicions = Suspicions(committee, self._blame_validator)
        self._seed = seed
        self._root = root
        self._posted: dict[tuple[type[RoundMessage], int, int], RoundMessage] = {}
        self._accepted: dict[tuple[type[RoundMessage], int], tuple[Opened, ...]] = {}

    @property
    def places(self) -> tuple[int, ...]:
        """Where the participants' pads are in the slot, in the order of rows."""
        return tuple(self.slot.dealers.index(seat) for seat in self.participants)

    @property
    def constants(self) -> tuple[int, ...]:
        """What the slot's products of the participants' pads opened to, in the order of pairs."""
        whole = symmetric(self.slot.constants, len(self.slot.dealers))
        return tuple(whole[self.places[k]][self.places[other]] for k, other in pairs_of(len(self.participants)))

    @property
    def commitments(self) -> dict[int, Digest]:
        """The root of each validator's vector that was committed to in time."""
        return {seat: self._posted[SumCommitment, seat, 0].root for seat in self.candidates}  # type: ignore[union-attr]

    def fold_share(self, validator: int) -> tuple[int, ...]:
        """Return what a validator's vector must fold to; known from phase `outcome` on."""
        return tuple(one.at(point_of(validator)) for one in self._accepted[Folds, 0])

    def handle(self, message: RoundMessage) -> Refusal | None:
        """Take a message of the sender it names; return why it changed nothing."""
        if isinstance(message, Update):
            return self._on_update(message)
        if not 0 <= message.validator < self.committee.n:
            return "unknown_validator"
        if isinstance(message, Suspicion | SuspicionVerdict):
            return self.suspicions.handle(message)
        if not self._is_well_formed(message):
            return "malformed"
        number = message.number if isinstance(message, Functionals) else 0
        known = self._posted.get((type(message), message.validator, number))
        if known is not None:
            if known != message:
                self._blame_validator(message.validator, "equivocation")
            return "repeated"
        if not self._is_in_time(message):
            return "not_now"
        self._posted[type(message), message.validator, number] = message
        self._take(message)
        return None

    def close_updates(self) -> None:
        """Take no more updates; with too few for the rule nothing is opened."""
        assert self.phase == "updates", f"updates are taken in phase updates, not {self.phase}"
        self.participants = tuple(sorted(self.updates))
        needed = max(minimum_updates(self.task.rule), self.task.selected_min)
        if len(self.participants) < needed:
            self._fail("too_few_updates")
        else:
            self.phase = "gram"

    def close_sums(self, challenge: bytes) -> bool:
        """Take no more sums, and draw the vectors they are folded with; False while fewer than 2f + 1 are there.

        Args:
            challenge: unknown to everybody until now, such as the hash of the block that held the last sum.
        """
        assert self.phase == "sums", f"sums are closed in phase sums, not {self.phase}"
        posted = tuple(sorted(seat for kind, seat, _ in self._posted if kind is SumCommitment))
        if len(posted) < self.committee.quorum:
            return False
        self.candidates, self.challenge, self.phase = posted, challenge, "folds"
        return True

    def open_violation(self, challenge: bytes) -> None:
        """Begin to open functionals of the selected updates.

        Args:
            challenge: unknown to everybody until the outcome was settled.
        """
        assert self.phase == "violated", f"only a violation is opened, the phase is {self.phase}"
        self.violation_challenge, self.phase = challenge, "functionals"

    def _on_update(self, message: Update) -> Refusal | None:
        if message.participant not in self.slot.dealers:
            return "unknown_participant"
        if not 1 <= message.samples <= SAMPLES_MAX or len(message.root) != DIGEST_BYTES:
            return "malformed"
        if message.participant in self.updates:
            return "repeated"
        if self.phase != "updates" or len(self.updates) >= self.task.participants_max:
            return "not_now"
        self.updates[message.participant] = message
        return None

    def _is_well_formed(self, message: GramShares | SumCommitment | Folds | Outcome | Functionals) -> bool:
        match message:
            case SumCommitment() | Outcome():
                return len(message.root) == DIGEST_BYTES
            case GramShares():
                length = len(pairs_of(len(self.participants)))
            case Folds():
                length = FOLDS
            case Functionals():
                length = len(self.selection.selected) if self.selection is not None else 0
            case _:
                assert_never(message)
        modulus = self.committee.field.modulus
        return len(message.values) == length and all(0 <= value < modulus for value in message.values)

    def _is_in_time(self, message: GramShares | SumCommitment | Folds | Outcome | Functionals) -> bool:
        match message:
            case GramShares():
                return self.phase != "updates" and bool(self.participants) and self._is_open_for(GramShares, "gram")
            case SumCommitment():
                return self.phase == "sums"
            case Folds():
                return self._is_open_for(Folds, "folds")
            case Outcome():
                return self.phase == "outcome" or self.outcome is not None
            case Functionals():
                is_next = self.phase == "functionals" and message.number == self.functional_number
                return is_next or (Functionals, message.number) in self._accepted
            case _:
                assert_never(message)

    def _is_open_for(self, kind: type[RoundMessage], phase: Phase) -> bool:
        return self.phase == phase or (kind, 0) in self._accepted

    def _take(self, message: GramShares | SumCommitment | Folds | Outcome | Functionals) -> None:
        match message:
            case SumCommitment():
                return
            case Outcome():
                self._count_outcomes(message)
            case GramShares():
                if self._opened(GramShares, 0, "false_share") and self.phase == "gram":
                    self._weigh()
            case Folds():
                if self._opened(Folds, 0, "false_fold") and self.phase == "folds":
                    guilty = {blame.seat for blame in self.blamed if blame.fault == "false_fold"}
                    self.candidates = tuple(seat for seat in self.candidates if seat not in guilty)
                    self.suspicions.begin(self.candidates)
                    self.phase = "outcome"
            case Functionals():
                if self._opened(Functionals, message.number, "false_functional") and self.phase == "functionals":
                    self._judge_participants(message.number)
            case _:
                assert_never(message)

    def _opened(self, kind: type[GramShares | Folds | Functionals], number: int, fault: Fault) -> bool:
        """Accept the polynomials of a kind of shares if they can be, and judge who posted them."""
        shares = {
            seat: message.values
            for (posted, seat, count), message in self._posted.items()
            if posted is kind and count == number and isinstance(message, GramShares | Folds | Functionals)
        }
        accepted = self._accepted.get((kind, number)) or self._agreed(shares)
        if accepted is None:
            return False
        self._accepted[kind, number] = accepted
        for seat, values in shares.items():
            if any(one.at(point_of(seat)) != value for one, value in zip(accepted, values, strict=True)):
                self._blame_validator(seat, fault)
        return True

    def _agreed(self, shares: Mapping[int, Sequence[int]]) -> tuple[Opened, ...] | None:
        if len(shares) < self.committee.quorum:
            return None
        accepted = []
        for entry in range(len(next(iter(shares.values())))):
            column = {point_of(seat): values[entry] for seat, values in shares.items()}
            found = open_shares(self.committee.field, column, self.committee.f, self.committee.f)
            if found is None:
                return None
            accepted.append(found)
        return tuple(accepted)

    def _weigh(self) -> None:
        entries = [self.committee.field.signed(one.secret) for one in self._accepted[GramShares, 0]]
        self.gram = tuple(tuple(line) for line in symmetric(entries, len(self.participants)))
        for row in too_long(self.task, self.gram):
            self.blamed.append(Blame("participant", self.participants[row], "too_long"))
        samples = [self.updates[seat].samples for seat in self.participants]
        root = self.participants.index(self._root) if self._root in self.participants else None
        chosen = select(self.task, self.gram, samples, seed=self._seed, root=root)
        if isinstance(chosen, Selection):
            self.selection, self.phase = chosen, "sums"
        else:
            self._fail(chosen)

    def _count_outcomes(self, message: Outcome) -> None:
        posted = {seat: one for (kind, seat, _), one in self._posted.items() if kind is Outcome}
        if self.outcome is None:
            counts = Counter((one.root, one.verdict) for one in posted.values() if isinstance(one, Outcome))
            if counts[message.root, message.verdict] < self.committee.quorum:
                return
            self.outcome = message
            self.phase = "done" if isinstance(message.verdict, Certified) else "violated"
        for seat, one in posted.items():
            if isinstance(one, Outcome) and (one.root, one.verdict) != (self.outcome.root, self.outcome.verdict):
                self._blame_validator(seat, "false_outcome")

    def _judge_participants(self, number: int) -> None:
        assert self.selection is not None
        assert self.outcome is not None
        violated = self.outcome.verdict
        assert isinstance(violated, Violated), "functionals are opened after a violation"
        values = [self.committee.field.signed(one.secret) for one in self._accepted[Functionals, number]]
        guilty = [
            self.participants[row]
            for row, value in zip(self.selection.selected, values, strict=True)
            if not is_possible(self.task, violated, value)
        ]
        self.blamed += [Blame("participant", seat, "out_of_range") for seat in guilty]
        self.functional_number += 1
        if guilty or self.functional_number == FUNCTIONALS_MAX:
            self.phase = "blamed"

    def _fail(self, reason: SelectionRefusal) -> None:
        self.phase, self.failure = "failed", reason

    def _blame_validator(self, validator: int, fault: Fault) -> None:
        blame = Blame("validator", validator, fault)
        if blame not in self.blamed:
            self.blamed.append(blame)
