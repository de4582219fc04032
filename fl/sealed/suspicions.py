"""Vectors said to be wrong, and who is right. One law: f + 1 equal verdicts decide, since one of them is honest.

A sum's vector is the only thing that no polynomial checks on the ledger: its sender may post the right folds of it and
commit to a wrong one. Whoever uses it folds it anew and says so. Every vector is used by f validators besides its
sender, so that an honest one is among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import assert_never

from fl.sealed.committee import Committee
from fl.sealed.messages import Fault, Refusal, Suspicion, SuspicionVerdict


class Suspicions:
    """Accusations of one round."""

    def __init__(self, committee: Committee, blame: Callable[[int, Fault], None]) -> None:
        """Begin with no vector that could be suspected.

        Args:
            committee: the validators.
            blame: is told of each validator that is found guilty, perhaps more than once.
        """
        self._committee = committee
        self._blame = blame
        self._candidates: tuple[int, ...] = ()
        self._suspecting: dict[int, set[int]] = {}
        self._verdicts: dict[int, dict[int, bool]] = {}
        self._settled: dict[int, bool] = {}

    def begin(self, candidates: Sequence[int]) -> None:
        """Allow suspicions of these validators' vectors."""
        self._candidates = tuple(candidates)

    @property
    def accused(self) -> tuple[int, ...]:
        """Validators whose vectors everybody should look at, ascending."""
        return tuple(sorted(self._suspecting))

    def handle(self, message: Suspicion | SuspicionVerdict) -> Refusal | None:
        """Take a message of the sender it names; return why it changed nothing."""
        if message.accused not in self._candidates:
            return "not_now"
        match message:
            case Suspicion():
                return self._on_suspicion(message)
            case SuspicionVerdict():
                return self._on_verdict(message)
            case _:
                assert_never(message)

    def _on_suspicion(self, message: Suspicion) -> Refusal | None:
        suspecting = self._suspecting.setdefault(message.accused, set())
        if message.validator in suspecting:
            return "repeated"
        suspecting.add(message.validator)
        self._judge(message.accused)
        return None

    def _on_verdict(self, message: SuspicionVerdict) -> Refusal | None:
        if message.accused not in self._suspecting:
            return "nothing_to_answer"
        verdicts = self._verdicts.setdefault(message.accused, {})
        known = verdicts.setdefault(message.validator, message.is_wrong)
        if known != message.is_wrong:
            self._blame(message.validator, "equivocation")
            return "repeated"
        ((often, count),) = Counter(verdicts.values()).most_common(1)
        if message.accused not in self._settled and count > self._committee.f:
            self._settled[message.accused] = often
        self._judge(message.accused)
        return None

    def _judge(self, accused: int) -> None:
        if accused not in self._settled:
            return
        is_wrong = self._settled[accused]
        if is_wrong:
            self._blame(accused, "false_sum")
        else:
            for validator in sorted(self._suspecting[accused]):
                self._blame(validator, "false_suspicion")
        for validator, verdict in sorted(self._verdicts[accused].items()):
            if verdict != is_wrong:
                self._blame(validator, "false_verdict")
