"""Whole sealed rounds in memory: everybody runs the project's own code, and liars change what it says.

Every honest node keeps its own copies of the public state machines and takes the same messages, as from a ledger.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from fl.aggregators import RuleSpec
from fl.kernels.field import Elements
from fl.schema import Segment
from fl.sealed.certificate import Certified, Violated
from fl.sealed.committee import Committee
from fl.sealed.field import MERSENNE
from fl.sealed.messages import (
    Answer,
    Blame,
    Complaint,
    Dealing,
    Fault,
    Folds,
    GramShares,
    Outcome,
    Reveal,
    RoundMessage,
    SetupMessage,
    SlotMessage,
    Suspicion,
)
from fl.sealed.participant import Participant
from fl.sealed.round import Phase, SealedRound
from fl.sealed.setup import Setup
from fl.sealed.stock import Slot
from fl.sealed.task import SealedTask, norm_bound
from fl.sealed.validator import Summed, Validator

Lie = Literal[
    "wrong gram",
    "wrong sum",
    "wrong sum, right folds",
    "wrong fold",
    "silence",
    "silence after the gram",
    "equivocation",
    "false complaint",
    "wrong product",
    "wrong product and reveal",
    "false suspicion",
    "wrong verdict",
    "wrong outcome",
]
FAULTS: Final[dict[Lie, tuple[Fault, ...]]] = {
    "wrong gram": ("false_share",),
    "wrong sum": ("false_fold",),
    "wrong sum, right folds": ("false_sum",),
    "wrong fold": ("false_fold",),
    "silence": (),
    "silence after the gram": (),
    "equivocation": ("equivocation",),
    "false complaint": ("false_complaint",),
    "wrong product": ("false_product",),
    "wrong product and reveal": ("false_product", "false_reveal"),
    "false suspicion": ("false_suspicion",),
    "wrong verdict": (),
    "wrong outcome": ("false_outcome",),
}
"""What a validator is named for; a wrong verdict only where somebody was suspected."""

LIES: Final = tuple(FAULTS)
MessageT = TypeVar("MessageT")


@dataclass
class Case:
    """One consortium, its liars, and the words of one round."""

    n: int
    rule: RuleSpec
    segments: tuple[Segment, ...]
    words: NDArray[np.int16]
    """Shape (m, d): of everybody, whether or not an update is sent."""

    samples: Sequence[int]
    seed: int
    lies: dict[int, Lie] = field(default_factory=dict)
    """By validator, at most f."""

    misdealt: dict[int, int] = field(default_factory=dict)
    """Participant -> the validator whose box it spoils."""

    absent: frozenset[int] = frozenset()
    """Participants that send no update."""

    forged: dict[int, Elements] = field(default_factory=dict)
    """Participant -> elements that are hidden in place of its words."""

    root: int | None = None
    """Whom the rule trusts."""

    norm_max: int = 0
    """0 for the largest one."""


@dataclass
class Played:
    """How it went."""

    case: Case
    task: SealedTask
    committee: Committee
    setup: Setup
    slots: list[Slot]
    running: SealedRound
    summed: dict[int, Summed]
    """By honest validator."""

    validators: list[Validator]
    participants: list[Participant]
    hidden: dict[int, Elements]
    log: list[RoundMessage]

    @property
    def blamed(self) -> set[Blame]:
        """Everybody that is named anywhere."""
        slots = [blame for slot in self.slots for blame in slot.blamed]
        return {*self.setup.blamed, *slots, *self.running.blamed}


class Table:
    """The ledger: gives every message to every copy of a state machine, which must agree on what they think of it."""

    def __init__(self, copies: Sequence[Setup] | Sequence[Slot] | Sequence[SealedRound], dice: random.Random) -> None:
        self.copies = copies
        self.dice = dice
        self.log: list[SetupMessage | SlotMessage | RoundMessage] = []

    def post(self, messages: Iterable[SetupMessage | SlotMessage | RoundMessage]) -> list[str | None]:
        shuffled = list(messages)
        self.dice.shuffle(shuffled)
        return [self.post_one(message) for message in shuffled]

    def post_one(self, message: SetupMessage | SlotMessage | RoundMessage) -> str | None:
        self.log.append(message)
        answers = {copy.handle(message) for copy in self.copies}  # type: ignore[arg-type]
        assert len(answers) == 1
        return answers.pop()


def play(case: Case) -> Played:
    """Play one round from the setup on."""
    dice = random.Random(case.seed)
    committee = Committee(case.n)
    count, size = case.words.shape
    task = SealedTask(
        rule=case.rule,
        segments=case.segments,
        participants_max=count,
        norm_max=case.norm_max or norm_bound(case.rule, count),
        selected_min=max(3, case.rule.f + 2),
    )
    validators = [Validator(committee, b"epoch", seat, dice.randbytes(32)) for seat in range(case.n)]
    box_keys = [validator.box_key for validator in validators]
    needed = len(committee.sets) + case.n
    participants = [
        Participant(committee, b"epoch", seat, box_keys, [dice.randbytes(32) for _ in range(needed)])
        for seat in range(count)
    ]
    setup = _setup(case, dice, committee, validators, participants)
    slots = _stock(case, dice, committee, setup, validators, size)
    copies = [SealedRound(committee, task, slots[-1], seed=b"lots", root=case.root) for _ in range(2)]
    table = Table(copies, dice)
    hidden: dict[int, Elements] = {}
    for seat in setup.dealers:
        if seat not in case.absent:
            elements = case.forged.get(seat, task.elements(case.words[seat]))
            hidden[seat] = participants[seat].hide(slots[-1].number, elements)
            assert table.post_one(participants[seat].update(hidden[seat], case.samples[seat])) is None
    for copy in copies:
        copy.close_updates()
    summed = _open(case, dice, table, validators, hidden)
    log = [message for message in table.log if not isinstance(message, SetupMessage | SlotMessage)]
    assert fingerprint(copies[0]) == fingerprint(copies[1])
    return Played(case, task, committee, setup, slots, copies[0], summed, validators, participants, hidden, log)


def phase_of(running: SealedRound) -> Phase:
    """Where a round is; the type checker does not know that a message may have changed it."""
    return running.phase


def fingerprint(running: SealedRound) -> tuple[object, ...]:
    """What all nodes must agree on."""
    selection, outcome = running.selection, running.outcome
    root = None if outcome is None else (outcome.root, outcome.verdict)
    return running.phase, running.failure, running.gram, selection, root, tuple(running.blamed), running.candidates


def _setup(
    case: Case,
    dice: random.Random,
    committee: Committee,
    validators: Sequence[Validator],
    participants: Sequence[Participant],
) -> Setup:
    setup = Setup(committee, b"epoch", [validator.box_key for validator in validators], len(participants))
    dealings = [_spoiled(one.dealing, case.misdealt.get(seat)) for seat, one in enumerate(participants)]
    table = Table([setup], dice)
    assert set(table.post(dealings)) <= {None}
    setup.close_dealing()
    complaints = []
    for seat, validator in enumerate(validators):
        for dealing in dealings:
            complaint = validator.receive(dealing.participant, dealing.deal)
            if complaint is not None:
                complaints.append(complaint)
            elif case.lies.get(seat) == "false complaint":
                complaints.append(Complaint(seat, dealing.participant))
    table.post(complaints)
    refuses = dice.random() < 0.5
    answers: list[Answer] = []
    for participant, accuser in setup.open_complaints:
        if case.misdealt.get(participant) != accuser or not refuses:
            answers.append(participants[participant].answer(accuser))
    table.post(answers)
    setup.close()
    for validator in validators:
        validator.finish_setup(setup.dealers)
    for one in participants:
        one.finish_setup()
    return setup


def _spoiled(dealing: Dealing, victim: int | None) -> Dealing:
    if victim is None:
        return dealing
    boxes = list(dealing.deal.boxes)
    boxes[victim] = boxes[victim][:-1] + bytes([boxes[victim][-1] ^ 1])
    return replace(dealing, deal=replace(dealing.deal, boxes=tuple(boxes)))


def _stock(
    case: Case,
    dice: random.Random,
    committee: Committee,
    setup: Setup,
    validators: Sequence[Validator],
    size: int,
) -> list[Slot]:
    """Deal slots until one is ready: a liar that is named does not lie again."""
    slots: list[Slot] = []
    named: set[int] = set()
    while not slots or slots[-1].phase != "ready":
        slot = Slot(committee, setup.dealers, len(slots), size)
        slots.append(slot)
        table = Table([slot], dice)
        posts = [validator.products(slot) for validator in validators]
        for seat, lie in case.lies.items():
            if lie in ("wrong product", "wrong product and reveal") and seat not in named:
                posts[seat] = replace(posts[seat], values=_bumped(posts[seat].values, dice))
        table.post(posts)
        if slot.phase == "dispute":
            reveals = [validator.reveal(slot) for validator in validators]
            for seat, lie in case.lies.items():
                if lie == "wrong product and reveal":
                    first, *others = reveals[seat].subkeys
                    reveals[seat] = Reveal(seat, ((bytes(32), *first[1:]), *others))
            table.post(reveals)
            assert slot.phase == "burnt"
        named |= {blame.seat for blame in slot.blamed}
        assert len(slots) <= 2, "the liars are named after one dispute"
    return slots


def _bumped(values: tuple[int, ...], dice: random.Random) -> tuple[int, ...]:
    place = dice.randrange(len(values))
    bumped = (values[place] + dice.choice([1, MERSENNE - 1, dice.randrange(1, MERSENNE)])) % MERSENNE
    return (*values[:place], bumped, *values[place + 1 :])


def _open(
    case: Case, dice: random.Random, table: Table, validators: Sequence[Validator], hidden: dict[int, Elements]
) -> dict[int, Summed]:
    running = table.copies[0]
    assert isinstance(running, SealedRound)
    if phase_of(running) == "failed":
        return {}
    talking = [seat for seat in range(case.n) if case.lies.get(seat) != "silence"]

    def lying(seat: int, *lies: Lie) -> bool:
        return case.lies.get(seat) in lies

    def shares(seat: int) -> list[GramShares]:
        right = validators[seat].gram_shares(running, hidden)
        wrong = replace(right, values=_bumped(right.values, dice))
        if lying(seat, "wrong gram"):
            return [wrong]
        return dice.choice([[right, wrong], [wrong, right]]) if lying(seat, "equivocation") else [right]

    _in_turn(table, [shares(seat) for seat in talking])
    if phase_of(running) == "failed":
        return {}
    talking = [seat for seat in talking if not lying(seat, "silence after the gram")]
    vectors = {}
    for seat in talking:
        vectors[seat] = validators[seat].sum_share(running)
        if lying(seat, "wrong sum", "wrong sum, right folds"):
            place = dice.randrange(len(vectors[seat]))
            vectors[seat][place] = (int(vectors[seat][place]) + dice.randrange(1, MERSENNE)) % MERSENNE
    table.post(validators[seat].commitment(vectors[seat]) for seat in talking)
    challenge = dice.randbytes(32)
    for copy in table.copies:
        assert isinstance(copy, SealedRound)
        assert copy.close_sums(challenge)

    def folded(seat: int) -> Folds:
        vector = validators[seat].sum_share(running) if lying(seat, "wrong sum, right folds") else vectors[seat]
        right = validators[seat].folds(running, vector)
        return replace(right, values=_bumped(right.values, dice)) if lying(seat, "wrong fold") else right

    table.post(folded(seat) for seat in talking)
    assert running.phase == "outcome", running.phase
    return _sum_up(case, dice, table, validators, hidden, vectors, talking)


def _sum_up(
    case: Case,
    dice: random.Random,
    table: Table,
    validators: Sequence[Validator],
    hidden: dict[int, Elements],
    vectors: dict[int, Elements],
    talking: Sequence[int],
) -> dict[int, Summed]:
    running = table.copies[0]
    assert isinstance(running, SealedRound)
    summed: dict[int, Summed] = {}
    posts: list[RoundMessage] = []
    for seat in range(case.n):
        if seat in case.lies:
            continue
        suspected: list[Suspicion] = []
        good: dict[int, Elements] = {}
        for other in validators[seat].wanted(running):
            found, more = validators[seat].suspicions(running, {other: vectors[other]})
            suspected += found
            good |= more
            if len(good) > running.committee.f:
                break
        posts += suspected
        summed[seat] = validators[seat].summed(running, hidden, good)
        posts.append(summed[seat].outcome)
    for seat in talking:
        if case.lies.get(seat) == "false suspicion":
            accused = next(other for other in running.candidates if other not in case.lies)
            posts.append(Suspicion(seat, accused))
        elif case.lies.get(seat) == "wrong outcome":
            posts.append(Outcome(seat, running.updates[running.participants[0]].root, summed_verdict(summed)))
    table.post(posts)
    for accused in running.suspicions.accused:
        verdicts = [validators[seat].verdict(running, accused, vectors[accused]) for seat in talking]
        table.post(
            replace(one, is_wrong=not one.is_wrong) if case.lies.get(one.validator) == "wrong verdict" else one
            for one in verdicts
        )
    if running.phase == "violated":
        challenge = dice.randbytes(32)
        for copy in table.copies:
            assert isinstance(copy, SealedRound)
            copy.open_violation(challenge)
        while phase_of(running) == "functionals":
            table.post([validators[seat].functionals(running, hidden) for seat in talking])
    return summed


def summed_verdict(summed: dict[int, Summed]) -> Certified | Violated:
    """What honest validators found of the sum."""
    return next(iter(summed.values())).outcome.verdict


def _in_turn(table: Table, posts: list[list[GramShares]]) -> None:
    """Post everybody's messages in a random order of senders, each sender's in its own."""
    table.dice.shuffle(posts)
    for messages in posts:
        for message in messages:
            table.post_one(message)


def expected_blame(played: Played) -> set[Blame]:
    """Who must be named, and nobody else."""
    case = played.case
    expected = {Blame("validator", seat, fault) for seat, lie in case.lies.items() for fault in FAULTS[lie]}
    expected |= {Blame("participant", seat, "false_deal") for seat in case.misdealt}
    suspected = bool(played.running.suspicions.accused)
    return expected | {
        Blame("validator", seat, "false_verdict")
        for seat, lie in case.lies.items()
        if lie == "wrong verdict" and suspected
    }
