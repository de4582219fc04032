"""A validator's part: shares of everything, secrets of nobody. One law: it answers one weight vector a slot.

Each method returns what to post, computed from its own keys and what is public. Vectors of others are handed in;
whether they are what was committed to is checked here (`root_of`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.kernels.field import Elements
from fl.sealed.certificate import Certified, Violated, certify, functional
from fl.sealed.committee import Committee, point_of
from fl.sealed.keys import Deal, KeyRing, box_keys, keys_in, opened_by_receiver
from fl.sealed.messages import (
    Complaint,
    Folds,
    Functionals,
    GramShares,
    Outcome,
    Products,
    Reveal,
    SumCommitment,
    Suspicion,
    SuspicionVerdict,
)
from fl.sealed.participant import root_of
from fl.sealed.polynomial import lagrange
from fl.sealed.round import SealedRound
from fl.sealed.shares import folds, gram_shares, pairs_of, symmetric, upper
from fl.sealed.stock import Slot, slot_shares


class WrongVectorError(ValueError):
    """A vector that was handed in is not the one that its sender named on the ledger."""

    def __init__(self, participant: int) -> None:
        super().__init__(f"the vector of participant {participant} is not what its update names; fetch it again")
        self.participant = participant


class MissingVectorError(LookupError):
    """Too few good vectors came in for the sum."""

    def __init__(self, *, needed: int, received: int) -> None:
        super().__init__(f"{needed} good vectors give the sum, got {received}; fetch more of the candidates'")
        self.needed = needed
        self.received = received


@dataclass(frozen=True, slots=True)
class Summed:
    """A round's result: exact, not yet divided."""

    numerator: NDArray[np.int64]
    """Shape (d,), in words; what `fl.aggregators.aggregate` gives in the open."""

    denominator: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A validator's shares of one slot."""

    bare: list[int]
    masks: list[tuple[int, int]]
    pads: Elements


class Validator:
    """What a validator keeps of an epoch."""

    def __init__(self, committee: Committee, epoch: bytes, seat: int, box_seed: bytes) -> None:
        """Make the key pair for the boxes of one setup.

        Args:
            committee: the validators.
            epoch: names the epoch.
            seat: the validator's place.
            box_seed: 32 random bytes, never used before.
        """
        self._committee = committee
        self._epoch = epoch
        self._seat = seat
        self.box_key, self._box_secret = box_keys(box_seed)
        self._received: dict[int, dict[int, bytes]] = {}
        self._ring = KeyRing({})
        self._prepared: dict[int, _Prepared] = {}
        self._shown: dict[int, tuple[tuple[int, bytes], ...]] = {}
        self._answered: dict[int, tuple[int, ...]] = {}

    def receive(self, participant: int, deal: Deal) -> Complaint | None:
        """Open the box of a deal; return a complaint where it does not hold what the hashes name."""
        message = opened_by_receiver(deal.boxes[self._seat], self.box_key, self._box_secret)
        keys = keys_in(self._committee, self._epoch, participant, self._seat, deal, message)
        if keys is None:
            return Complaint(self._seat, participant)
        self._received[participant] = keys
        return None

    def finish_setup(self, dealers: Sequence[int]) -> None:
        """Keep the keys of those who dealt well, and delete the box key: the boxes stay on the ledger for ever."""
        self._ring = KeyRing({(seat, place): key for seat in dealers for place, key in self._received[seat].items()})
        self._received = {}
        self._box_secret = b""

    def products(self, slot: Slot) -> Products:
        """Return the masked products of a slot's pads."""
        subkeys = self._subkeys(slot)
        posted, bare, masks, pads = slot_shares(self._committee, self._seat, subkeys, slot.size)
        self._prepared[slot.number] = _Prepared(bare, masks, pads)
        return Products(self._seat, posted)

    def release(self, slot: Slot) -> None:
        """Give back the memory of a slot's pads; they are made again when they are needed."""
        self._prepared.pop(slot.number, None)

    def reveal(self, slot: Slot) -> Reveal:
        """Return the subkeys of a disputed slot, which was never used and never will be."""
        assert slot.phase in ("dispute", "burnt"), f"only a disputed slot is revealed, this one is {slot.phase}"
        return Reveal(self._seat, tuple(tuple(keys.values()) for keys in self._subkeys(slot)))

    def gram_shares(self, running: SealedRound, hidden: Mapping[int, Elements]) -> GramShares:
        """Return shares of the updates' inner products.

        Of other updates on the same pads it would give products with these: that is a broken invariant.

        Args:
            running: the round, in phase `gram` or later.
            hidden: y of each participant in the round.

        Raises:
            WrongVectorError: a vector's root is another than its update names.
        """
        for seat in running.participants:
            if root_of(hidden[seat]) != running.updates[seat].root:
                raise WrongVectorError(seat)
        named = tuple((seat, running.updates[seat].root) for seat in running.participants)
        known = self._shown.setdefault(running.slot.number, named)
        assert known == named, f"slot {running.slot.number} has hidden other updates already"
        prepared = self._of(running.slot)
        field, places = self._committee.field, running.places
        updates, pads = [hidden[seat] for seat in running.participants], [prepared.pads[place] for place in places]
        count = len(running.slot.dealers)
        bare, low = symmetric(prepared.bare, count), symmetric([low for low, _ in prepared.masks], count)
        used = [(places[k], places[other]) for k, other in pairs_of(len(places))]
        return GramShares(
            self._seat,
            gram_shares(
                field,
                upper(field.gram_of_sums(updates, pads)),
                [bare[k][other] for k, other in used],
                running.constants,
                [(low[k][other], 0) for k, other in used],
            ),
        )

    def sum_share(self, running: SealedRound) -> Elements:
        """Return M(j), the weighted sum of this validator's shares of the pads.

        A second weight vector on the same pads would open a second sum: it is a broken invariant.
        """
        assert running.selection is not None, "the weights are final once the Gram matrix is opened"
        weights = running.selection.weights
        known = self._answered.setdefault(running.slot.number, weights)
        assert known == weights, f"slot {running.slot.number} was summed with {known}, never again with {weights}"
        pads = self._of(running.slot).pads
        rows = [(weight, pads[place]) for weight, place in zip(weights, running.places, strict=True) if weight]
        return self._committee.field.combination([weight for weight, _ in rows], [row for _, row in rows])

    def commitment(self, vector: Elements) -> SumCommitment:
        """Return the statement that names a share of the sum."""
        return SumCommitment(self._seat, root_of(vector))

    def folds(self, running: SealedRound, vector: Elements) -> Folds:
        """Return this validator's share folded by the challenge's vectors."""
        field = self._committee.field
        return Folds(self._seat, folds(field, running.challenge, [vector])[0])

    def wanted(self, running: SealedRound) -> tuple[int, ...]:
        """Return whose vectors to fetch: one's own and the f that follow among the candidates; the rest in reserve.

        Each vector is so looked at by f validators besides its sender, one of them honest if the sender lies.
        """
        return tuple(sorted(running.candidates, key=lambda seat: (seat - self._seat) % self._committee.n))

    def suspicions(
        self, running: SealedRound, vectors: Mapping[int, Elements]
    ) -> tuple[list[Suspicion], dict[int, Elements]]:
        """Return who committed to a vector that folds to something else, and the vectors that are good.

        Args:
            running: the round, in phase `outcome` or later.
            vectors: as they came from `wanted`; one that is not what was committed to is nobody's fault.
        """
        field, commitments = self._committee.field, running.commitments
        suspected, good = [], {}
        committed = {seat: vector for seat, vector in vectors.items() if root_of(vector) == commitments.get(seat)}
        folded = folds(field, running.challenge, list(committed.values()))
        for (seat, vector), values in zip(committed.items(), folded, strict=True):
            if values == running.fold_share(seat):
                good[seat] = vector
            else:
                suspected.append(Suspicion(self._seat, seat))
        return suspected, good

    def verdict(self, running: SealedRound, accused: int, vector: Elements) -> SuspicionVerdict:
        """Say whether a suspected vector, which must be what was committed to, is wrong."""
        suspected, _ = self.suspicions(running, {accused: vector})
        return SuspicionVerdict(self._seat, accused, bool(suspected))

    def summed(self, running: SealedRound, hidden: Mapping[int, Elements], good: Mapping[int, Elements]) -> Summed:
        """Return the sum of the updates and what to post of it.

        Args:
            running: the round, in phase `outcome` or later.
            hidden: y of each participant in the round.
            good: at least f + 1 vectors that `suspicions` found good.

        Raises:
            MissingVectorError: fewer vectors.
        """
        needed = self._committee.f + 1
        if len(good) < needed:
            raise MissingVectorError(needed=needed, received=len(good))
        assert running.selection is not None, "vectors are good for final weights"
        field, selection, seats = self._committee.field, running.selection, list(good)[:needed]
        factors = list(lagrange(field, [point_of(seat) for seat in seats]))
        rows = [
            (weight, hidden[seat])
            for weight, seat in zip(selection.weights, running.participants, strict=True)
            if weight
        ]
        vectors = [*(good[seat] for seat in seats), *(row for _, row in rows)]
        total = field.to_integers(field.combination([*factors, *(weight for weight, _ in rows)], vectors))
        verdict = certify(running.task, running.gram, selection.weights, total)
        outcome = Outcome(self._seat, root_of(total.view(np.uint64)), verdict)
        running.task.to_words(total, selection.factor)
        return Summed(total, selection.denominator, outcome)

    def functionals(self, running: SealedRound, hidden: Mapping[int, Elements]) -> Functionals:
        """Return shares of the functional that is open now, of each selected update."""
        assert running.selection is not None
        assert running.outcome is not None
        violated = running.outcome.verdict
        assert isinstance(violated, Violated), f"{Certified.__name__} sums are left alone"
        field, pads = self._committee.field, self._of(running.slot).pads
        vector = functional(running.task, violated, running.violation_challenge, running.functional_number)
        values = tuple(
            (field.dot(vector, hidden[running.participants[row]]) + field.dot(vector, pads[running.places[row]]))
            % field.modulus
            for row in running.selection.selected
        )
        return Functionals(self._seat, running.functional_number, values)

    def forget(self, slot: int) -> None:
        """Delete all that could open the updates of the slots up to this one."""
        self._ring.forget(slot)
        self._shown = {number: named for number, named in self._shown.items() if number > slot}
        self._answered = {number: weights for number, weights in self._answered.items() if number > slot}
        self._prepared = {number: kept for number, kept in self._prepared.items() if number > slot}

    def _of(self, slot: Slot) -> _Prepared:
        if slot.number not in self._prepared:
            self.products(slot)
        return self._prepared[slot.number]

    def _subkeys(self, slot: Slot) -> list[dict[int, bytes]]:
        places = self._committee.sets_of(self._seat)
        return [{place: self._ring.subkey(seat, place, slot.number) for place in places} for seat in slot.dealers]
