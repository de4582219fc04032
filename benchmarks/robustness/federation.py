"""One run: participants train, liars lie, the rule combines. One law: what is measured is what the chain computes.

Words, grids, rule, division and next exponents are the project's own (`fl`); what lacks is the ledger around them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.robustness.attacks import ATTACKS, BACKDOOR_CLASS, Attack, View, triggered
from benchmarks.robustness.data import Deal, Samples, pooled
from benchmarks.robustness.training import Cohort, Network, Training, Vector
from fl.aggregators import AggregationError, RuleSpec, aggregate
from fl.grid import WORD_MAX, check_words, model_from_float, model_to_float, next_exponents
from fl.optimisers import OptimiserSpec, Server, model_bytes
from fl.schema import ModelSchema, Segment
from ledger.payload import SALT_BYTES

Peer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""A rule of another library: rows of floats in, one out."""

LAST_ROUNDS: Final = 3
"""Models whose figures are averaged: the last one alone is a matter of luck under an attack that moves it about."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything of a run but data and seed."""

    rule: RuleSpec | Peer
    attack: str
    liars: int
    rounds: int
    training: Training
    momentum: float = 0.0
    """Of the participants: each sends the running mean of its updates."""

    hidden: int = 32
    optimiser: OptimiserSpec | None = None
    """Of the server."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run comes to; shares of 1."""

    accuracy: float
    worst_site: float
    """The lowest accuracy on what one honest site holds: on its own test samples, or by its own mix of classes."""

    success: float
    """Of an attack with a target: share of triggered test samples that get the liars' class; else 0."""

    retained: tuple[float, ...]
    """One a participant: how much of its updates the rule used."""

    failed: int
    """Rounds without a result."""


def run(deal: Deal, setting: Setting, seed: int) -> Figures:
    """Train a model."""
    return Run(deal, setting, seed).figures()


def liars_of(deal: Deal, count: int, seed: int) -> tuple[int, ...]:
    """Return who lies: drawn by the seed."""
    drawn = np.random.default_rng([seed, 4]).permutation(len(deal.participants))[:count]
    return tuple(sorted(drawn.tolist()))


def train_pooled(deal: Deal, setting: Setting, seed: int) -> Figures:
    """Train on all samples in one place, as many steps and as large batches as all participants together take."""
    together = Deal((pooled(deal.participants),), (pooled(deal.tests),), deal.classes)
    training = Training(setting.training.steps, setting.training.batch * len(deal.participants), setting.training.rate)
    alone = Setting(RuleSpec("weighted-mean/1", 0), "none", 0, setting.rounds, training, hidden=setting.hidden)
    return run(together, alone, seed)


class Run:
    """A run, round by round."""

    def __init__(self, deal: Deal, setting: Setting, seed: int, liars: Sequence[int] | None = None) -> None:
        """Poison what the liars hold, and begin."""
        self.deal, self.setting = deal, setting
        self.liars = tuple(liars) if liars is not None else liars_of(deal, setting.liars, seed)
        self.honest = tuple(index for index in range(len(deal.participants)) if index not in self.liars)
        attack = ATTACKS[setting.attack]
        self._attack: Attack = attack
        self._words = attack.words() if attack.words is not None else None
        hands = [self._hand(index, hand) for index, hand in enumerate(deal.participants)]
        self.network = Network(deal.participants[0].features.shape[1], setting.hidden, deal.classes)
        self.schema: ModelSchema = self.network.schema
        self._cohort = Cohort(self.network, hands, setting.training, seed)
        payload = bytearray(model_bytes(self.schema, setting.optimiser))
        self.model = np.frombuffer(payload, np.int32, self.schema.size, SALT_BYTES)
        self.model[:] = model_from_float(self._named(self.network.initial(seed)), self.schema)
        self._server = Server(memoryview(payload), self.schema, setting.optimiser)
        self.exponents = self.schema.initial_exponents
        self._samples = [len(hand) for hand in deal.participants]
        self._momentum: Vector | None = None
        self._random = np.random.default_rng([seed, 5])
        self._retained = np.zeros(len(hands))
        self.number, self.failed = 0, 0

    def figures(self) -> Figures:
        """Go all rounds and judge the last models."""
        judged = []
        for _ in range(self.setting.rounds):
            self.round()
            if self.setting.rounds - self.number < LAST_ROUNDS:
                judged.append(self.judge())
        accuracy, worst, success = np.mean(judged, axis=0).tolist()
        retained = tuple((self._retained / max(self.number - self.failed, 1)).tolist())
        return Figures(accuracy, worst, success, retained, self.failed)

    def round(self) -> None:
        """Train, lie, combine, advance."""
        self.number += 1
        sent = self._cohort.updates(self.values())
        beta = self.setting.momentum
        if beta:
            sent = sent if self._momentum is None else beta * self._momentum + (1 - beta) * sent
            self._momentum = sent
        rows = self._quantised(sent)
        if self.liars and self._words is not None:
            rows[list(self.liars)] = self._words(self._view(rows))
        try:
            self._advance(rows)
        except AggregationError:
            self.failed += 1

    def words(self) -> NDArray[np.int16]:
        """Return what everybody would send now if nobody lied, shape (n, d)."""
        return self._quantised(self._cohort.updates(self.values()))

    def values(self) -> Vector:
        """Return the model as floats."""
        return np.concatenate([part.reshape(-1) for part in model_to_float(self.model, self.schema).values()])

    def judge(self) -> tuple[float, float, float]:
        """Return accuracy, that at the worst honest site, and the attack's success."""
        model, tests = self.values(), self.deal.tests
        right = [self.network.predict(model, test.features) == test.labels for test in tests]
        accuracy = float(np.concatenate(right).mean())
        sites = [self._at_site(index, right) for index in self.honest]
        return accuracy, min(sites), self._success(model) if self._attack.targeted else 0.0

    def _hand(self, index: int, hand: Samples) -> Samples:
        return self._attack.poison(hand, self.deal.classes) if self._attack.poison and index in self.liars else hand

    def _named(self, model: Vector) -> dict[str, Vector]:
        parts = np.split(model, np.cumsum([int(np.prod(shape)) for shape in self.network.shapes])[:-1])
        return {
            tensor.name: part.reshape(tensor.shape) for tensor, part in zip(self.schema.tensors, parts, strict=True)
        }

    def _quantised(self, values: Vector) -> NDArray[np.int16]:
        scale = np.concatenate([np.full(s.stop - s.start, 2.0 ** (13 - s.exponent), np.float32) for s in self.segments])
        words: NDArray[np.int16] = np.clip(np.rint(values * scale), -WORD_MAX, WORD_MAX).astype(np.int16)
        return words

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Where the tensors lie, on the round's grids."""
        return self.schema.segments(self.exponents)

    def _view(self, rows: NDArray[np.int16]) -> View:
        def outcome(lies: NDArray[np.int16]) -> NDArray[np.float64]:
            tried = rows.copy()
            tried[list(self.liars)] = lies
            return self._combined(tried)

        honest, own = rows[list(self.honest)], rows[list(self.liars)]
        return View(honest, own, outcome, self.number, self._random)

    def _combined(self, rows: NDArray[np.int16]) -> NDArray[np.float64]:
        if not isinstance(self.setting.rule, RuleSpec):
            return self.setting.rule(rows.astype(np.float32)).astype(np.float64)
        got = aggregate(self.setting.rule, rows, self._samples, self.segments, seed=bytes([self.number % 256]))
        return got.numerator / got.denominator

    def _advance(self, rows: NDArray[np.int16]) -> None:
        rule = self.setting.rule
        if not isinstance(rule, RuleSpec):
            self._advance_peer(rule, rows)
            return
        there = [index for index, row in enumerate(rows) if check_words(row) == "ok"]
        weights = [self._samples[index] for index in there]
        got = aggregate(rule, rows[there], weights, self.segments, seed=bytes([self.number % 256]))
        total = sum(got.weights) or 1
        for index, retained, weight in zip(there, got.retained, got.weights, strict=True):
            self._retained[index] += weight * len(there) / total if weight else retained.used / retained.out_of
        self._move(got.numerator, got.denominator)
        self.exponents = next_exponents(self.exponents, got.peaks, self.schema)

    def _advance_peer(self, rule: Peer, rows: NDArray[np.int16]) -> None:
        """Do what a library would that gets the same words as floats, NaN where they are NaN's bytes."""
        values = rows.astype(np.float32)
        values[[check_words(row) != "ok" for row in rows]] = np.nan
        step = np.nan_to_num(rule(values), nan=0.0, posinf=0.0, neginf=0.0)
        numerator = np.clip(np.rint(step * 1024.0), -WORD_MAX * 1024, WORD_MAX * 1024).astype(np.int64)
        self._move(numerator, 1024)
        peaks = [
            int(np.sort(np.abs(rows[:, s.start : s.stop]).max(axis=1))[-1 - len(self.liars)]) for s in self.segments
        ]
        peaks = [min(peak, WORD_MAX) for peak in peaks]
        self.exponents = next_exponents(self.exponents, peaks, self.schema)

    def _move(self, numerator: NDArray[np.int64], denominator: int) -> None:
        for tensor, segment in zip(self.schema.tensors, self.segments, strict=True):
            place = slice(segment.start, segment.stop)
            self._server.advance(tensor, segment.exponent, place, numerator[place], denominator)

    def _at_site(self, index: int, right: list[NDArray[np.bool_]]) -> float:
        if len(right) == len(self.deal.participants) > 1:
            return float(right[index].mean())
        labels = self.deal.tests[0].labels
        held = np.bincount(self.deal.participants[index].labels, minlength=self.deal.classes)
        per_class = [float(right[0][labels == c].mean()) if (labels == c).any() else 0.0 for c in range(len(held))]
        return float(np.dot(held / held.sum(), per_class))

    def _success(self, model: Vector) -> float:
        test = pooled(self.deal.tests)
        others = test.features[test.labels != BACKDOOR_CLASS]
        return float((self.network.predict(model, triggered(others)) == BACKDOOR_CLASS).mean())
