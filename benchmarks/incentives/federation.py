"""A federation in memory that pays: the project's own grid, rules, matrix, scores and shares. One law: no shortcuts.

Sites train softmax regression by full-batch gradient steps with momentum of their own; what a cheat sends instead is
the business of `cheats`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.incentives.sites import Data, Samples
from fl.aggregators import RuleSpec, aggregate
from fl.aggregators.clip import WHOLE
from fl.aggregators.gram import gram_matrix
from fl.aggregators.rows import Rows
from fl.grid import apply_aggregate, model_to_float, next_exponents, quantise_update
from fl.incentives.influence import weights_of
from fl.incentives.matrix import PAST_MAX
from fl.incentives.past import global_updates
from fl.incentives.scores import Score, scores
from fl.incentives.shares import divide
from fl.records import Contribution
from fl.schema import ModelSchema, TensorSpec
from ledger.digest import digest

STAKE: Final = 1_000_000
STEPS: Final = 5
RATE: Final = 0.5
DECAY: Final = 1e-3

Floats = dict[str, NDArray[np.float64]]


@dataclass(slots=True)
class Site:
    """A participant."""

    name: str
    samples: Samples
    """What it trains on; a cheat may hold none."""

    cheat: Callable[[Situation], Floats] | None = None
    """What it sends instead of an honest update."""

    claimed: int | None = None
    """Sample count that it says; the true one when None."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What a cheat may look at when it makes its update."""

    site: Site
    base: Floats
    honest: Sequence[Floats]
    """Updates of the honest sites in this round; only a validator that looks at payloads could know them."""

    globals: Sequence[Floats]
    """Past global updates as values, the latest first."""

    own: Floats
    """What it would have sent honestly from the samples it holds; zeros when it holds none."""

    random: np.random.RandomState


@dataclass(slots=True)
class Outcome:
    """What came of a run."""

    rewards: dict[str, int]
    returned: int
    """Back to the treasury."""

    failed_tests: dict[str, int]
    """Rounds in which a site did not pass the information test."""

    accuracy: float
    rounds: int
    history: list[tuple[Score, ...]] = field(default_factory=list)

    def share(self, name: str) -> float:
        """Return a site's part of all stakes."""
        return self.rewards[name] / (STAKE * self.rounds)


def run(data: Data, sites: Sequence[Site], rule: RuleSpec, rounds: int, seed: int) -> Outcome:
    """Let sites learn together for some rounds, and pay them."""
    sites = sorted(sites, key=lambda site: site.name)
    schema = _schema(data)
    words = np.zeros(schema.size, np.int32)
    models, exponents = [words], schema.initial_exponents
    random = np.random.RandomState(seed)
    outcome = Outcome({site.name: 0 for site in sites}, 0, {site.name: 0 for site in sites}, 0.0, rounds)
    for number in range(rounds):
        base = _values(models[0], schema)
        past = _past(models, schema, exponents)
        updates = _updates(sites, base, [_floats(row, schema, exponents) for row in past], data, random)
        rows = np.stack([quantise_update(update, schema, exponents)[0] for update in updates])
        claimed = [site.claimed or max(1, len(site.samples)) for site in sites]
        models, exponents, scored = _round(rule, rows, claimed, past, schema, models, exponents)
        outcome.history.append(scored)
        earned = divide(STAKE, scored, [site.name for site in sites], digest("benchmark", number.to_bytes(8, "big")))
        for site, reward, score in zip(sites, earned, scored, strict=True):
            outcome.rewards[site.name] += reward
            outcome.failed_tests[site.name] += not score.passed
        outcome.returned += STAKE - sum(earned)
    outcome.accuracy = accuracy(_values(models[0], schema), data.test)
    return outcome


def train(base: Floats, samples: Samples, classes: int) -> Floats:
    """Return the update of an honest site."""
    if not len(samples):
        return {name: np.zeros_like(values) for name, values in base.items()}
    weight, bias = base["weight"].copy(), base["bias"].copy()
    target = np.eye(classes)[samples.labels]
    for _ in range(STEPS):
        error = _softmax(samples.features @ weight + bias) - target
        weight -= RATE * (samples.features.T @ error / len(samples) + DECAY * weight)
        bias -= RATE * error.mean(axis=0)
    return {"weight": weight - base["weight"], "bias": bias - base["bias"]}


def accuracy(model: Floats, samples: Samples) -> float:
    """Return the part of samples whose class is right."""
    found = np.argmax(samples.features @ model["weight"] + model["bias"], axis=1)
    return float(np.mean(found == samples.labels))


def log_loss(model: Floats, samples: Samples) -> float:
    """Return the mean cross-entropy."""
    likely = _softmax(samples.features @ model["weight"] + model["bias"])
    return float(-np.mean(np.log(likely[np.arange(len(samples)), samples.labels] + 1e-12)))


def _updates(
    sites: Sequence[Site], base: Floats, past: Sequence[Floats], data: Data, random: np.random.RandomState
) -> list[Floats]:
    own = [train(base, site.samples, data.classes) for site in sites]
    honest = [update for site, update in zip(sites, own, strict=True) if site.cheat is None]
    return [
        update if site.cheat is None else site.cheat(Situation(site, base, honest, past, update, random))
        for site, update in zip(sites, own, strict=True)
    ]


def _round(
    rule: RuleSpec,
    rows: NDArray[np.int16],
    claimed: Sequence[int],
    past: Sequence[NDArray[np.int16]],
    schema: ModelSchema,
    models: list[NDArray[np.int32]],
    exponents: tuple[int, ...],
) -> tuple[list[NDArray[np.int32]], tuple[int, ...], tuple[Score, ...]]:
    segments = schema.segments(exponents)
    whole = aggregate(rule, rows, claimed, segments)
    new, _ = apply_aggregate(models[0], whole.numerator, whole.denominator, exponents, schema)
    everything = np.vstack([rows, *(row[np.newaxis] for row in past)]) if past else rows
    gram = gram_matrix(Rows(everything, (WHOLE,) * len(everything), segments))
    parts = [
        Contribution(f"site-{place:03d}", weight, 0, kept.used, kept.out_of)
        for place, (weight, kept) in enumerate(zip(whole.weights, whole.retained, strict=True))
    ]
    weights = weights_of(rule, parts, [gram[i][i] for i in range(len(rows))], 0)
    scored = scores(gram, len(past), weights, schema.size)
    return [new, *models[:PAST_MAX]], next_exponents(exponents, whole.peaks, schema), scored


def _past(
    models: Sequence[NDArray[np.int32]], schema: ModelSchema, exponents: Sequence[int]
) -> list[NDArray[np.int16]]:
    return global_updates(models, slice(0, schema.size), schema, exponents)


def _schema(data: Data) -> ModelSchema:
    return ModelSchema(
        (
            TensorSpec("weight", (data.train.features.shape[1], data.classes), 0, 0),
            TensorSpec("bias", (data.classes,), 0, 0),
        )
    )


def _values(words: NDArray[np.int32], schema: ModelSchema) -> Floats:
    return {name: values.astype(np.float64) for name, values in model_to_float(words, schema).items()}


def _floats(row: NDArray[np.int16], schema: ModelSchema, exponents: Sequence[int]) -> Floats:
    found = {}
    for (tensor, place), exponent in zip(schema.places(), exponents, strict=True):
        found[tensor.name] = np.ldexp(row[place].astype(np.float64), exponent - 13).reshape(tensor.shape)
    return found


def _softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    share: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return share
