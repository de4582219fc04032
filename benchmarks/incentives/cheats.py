"""What a cheat sends. One law: each uses only what its situation lets it know."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.incentives.federation import Floats, Situation

Cheat = Callable[[Situation], Floats]
CARTEL_SEED = 77


def stale(situation: Situation) -> Floats:
    """Send the last public global update again."""
    return dict(situation.globals[0]) if situation.globals else _zeros(situation)


def momentum(situation: Situation) -> Floats:
    """Send a mixture of the last three public global updates."""
    mixed = _zeros(situation)
    for factor, update in zip((1.5, -0.7, 0.3), situation.globals, strict=False):
        mixed = {name: values + factor * update[name] for name, values in mixed.items()}
    return mixed


def noise(situation: Situation) -> Floats:
    """Send noise as long as an honest update."""
    return _scaled(_random(situation, situation.random), _typical(situation))


def blurred_stale(situation: Situation) -> Floats:
    """Send the last global update with noise of a third of its length."""
    base, typical = stale(situation), _typical(situation)
    blur = _scaled(_random(situation, situation.random), typical / 3)
    return {name: values + blur[name] for name, values in base.items()}


def cartel(situation: Situation) -> Floats:
    """Send a direction that all of the cartel know, with a little noise of one's own: no copies, but all alike."""
    common = _scaled(_random(situation, np.random.RandomState(CARTEL_SEED)), _typical(situation))
    own = _scaled(_random(situation, situation.random), 0.3 * _typical(situation))
    return {name: values + own[name] for name, values in common.items()}


def opposing_cartel(situation: Situation) -> Floats:
    """Send the opposite of what the honest send on average, with a little noise of one's own."""
    own = _scaled(_random(situation, situation.random), 0.3 * _typical(situation))
    return {name: own[name] - np.mean([update[name] for update in situation.honest], axis=0) for name in situation.base}


def inflated(situation: Situation) -> Floats:
    """Send the honest update ten times as long."""
    return {name: 10 * values for name, values in situation.own.items()}


def blurred_copy(situation: Situation) -> Floats:
    """Send another site's update of the same round, blurred until the cosine is 0.98: who sees payloads could."""
    victim = situation.honest[0]
    blur = _scaled(_random(situation, situation.random), 0.2 * _length(victim))
    return {name: values + blur[name] for name, values in victim.items()}


def _zeros(situation: Situation) -> Floats:
    return {name: np.zeros_like(values) for name, values in situation.base.items()}


def _random(situation: Situation, random: np.random.RandomState) -> Floats:
    return {name: random.normal(size=values.shape) for name, values in situation.base.items()}


def _length(update: Floats) -> float:
    return float(np.sqrt(sum((values**2).sum() for values in update.values())))


def _typical(situation: Situation) -> float:
    return float(np.median([_length(update) for update in situation.honest]))


def _scaled(update: Floats, length: float) -> Floats:
    return {name: values * length / _length(update) for name, values in update.items()}
