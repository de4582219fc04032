"""The setup of an epoch: who dealt keys that all may rely on. One law: of a complaint, exactly one side is guilty.

Participants deal; validators complain about boxes that do not hold what the hashes name; dealers answer with the seed
of that box, which everybody opens. `close_dealing` and `close` are called when the ledger's deadlines have passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from fl.sealed.committee import Committee
from fl.sealed.keys import KEY_BYTES, Deal, is_well_formed, keys_in, opened_by_seed
from fl.sealed.messages import Answer, Blame, Complaint, Dealing, Refusal, SetupMessage


class Setup:
    """What is known of an epoch's keys; every node that takes the same messages knows the same."""

    def __init__(self, committee: Committee, epoch: bytes, box_keys: Sequence[bytes], participants: int) -> None:
        """Begin with nobody's deal.

        Args:
            committee: the validators.
            epoch: names the epoch; commitments hold in it alone.
            box_keys: the validators' public keys for this setup.
            participants: how many may deal, m.
        """
        assert len(box_keys) == committee.n, f"{committee.n} validators need as many keys, got {len(box_keys)}"
        self.committee = committee
        self.epoch = epoch
        self.box_keys = tuple(box_keys)
        self.participants = participants
        self.blamed: list[Blame] = []
        self.phase: str = "dealing"
        self._deals: dict[int, Deal] = {}
        self._complaints: dict[tuple[int, int], bool] = {}

    def deal_of(self, participant: int) -> Deal:
        """Return a deal that was taken."""
        return self._deals[participant]

    @property
    def dealers(self) -> tuple[int, ...]:
        """Participants whose keys stand, ascending; final once the phase is `closed`."""
        guilty = {blame.seat for blame in self.blamed if blame.role == "participant"}
        return tuple(seat for seat in sorted(self._deals) if seat not in guilty)

    @property
    def open_complaints(self) -> tuple[tuple[int, int], ...]:
        """(participant, validator) for each complaint that waits for its answer."""
        return tuple(sorted(pair for pair, is_open in self._complaints.items() if is_open))

    def handle(self, message: SetupMessage) -> Refusal | None:
        """Take a message of the sender it names; return why it changed nothing."""
        match message:
            case Dealing():
                return self._on_deal(message)
            case Complaint():
                return self._on_complaint(message)
            case Answer():
                return self._on_answer(message)
            case _:
                assert_never(message)

    def close_dealing(self) -> None:
        """Take no more deals; complaints follow."""
        assert self.phase == "dealing", f"dealing is over, the phase is {self.phase}"
        self.phase = "complaints"

    def close(self) -> None:
        """Take no more answers: a dealer who owes one is out."""
        assert self.phase == "complaints", f"complaints are closed when they are open, not in {self.phase}"
        for participant, _ in self.open_complaints:
            self._blame(Blame("participant", participant, "false_deal"))
        self.phase = "closed"

    def _on_deal(self, message: Dealing) -> Refusal | None:
        if not 0 <= message.participant < self.participants:
            return "unknown_participant"
        if self.phase != "dealing":
            return "not_now"
        if not is_well_formed(self.committee, message.deal):
            return "malformed"
        known = self._deals.get(message.participant)
        if known is None:
            self._deals[message.participant] = message.deal
            return None
        if known != message.deal:
            self._blame(Blame("participant", message.participant, "equivocation"))
        return "repeated"

    def _on_complaint(self, message: Complaint) -> Refusal | None:
        if not 0 <= message.validator < self.committee.n:
            return "unknown_validator"
        if message.participant not in self._deals:
            return "unknown_participant"
        if self.phase != "complaints":
            return "not_now"
        if (message.participant, message.validator) in self._complaints:
            return "repeated"
        self._complaints[message.participant, message.validator] = True
        return None

    def _on_answer(self, message: Answer) -> Refusal | None:
        if not self._complaints.get((message.participant, message.validator), False):
            return "nothing_to_answer"
        if len(message.seed) != KEY_BYTES:
            return "malformed"
        self._complaints[message.participant, message.validator] = False
        deal = self._deals[message.participant]
        found = opened_by_seed(deal.boxes[message.validator], self.box_keys[message.validator], message.seed)
        keys = keys_in(self.committee, self.epoch, message.participant, message.validator, deal, found)
        if keys is None:
            self._blame(Blame("participant", message.participant, "false_deal"))
        else:
            self._blame(Blame("validator", message.validator, "false_complaint"))
        return None

    def _blame(self, blame: Blame) -> None:
        if blame not in self.blamed:
            self.blamed.append(blame)
