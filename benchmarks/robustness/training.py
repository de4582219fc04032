"""Local training of all participants at once, in numpy. One law: everybody starts from the same model.

A model is one flat vector, of a softmax regression or of a network with one hidden layer: weights, then biases, layer
after layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from benchmarks.robustness.data import Features, Labels, Samples
from fl.schema import ModelSchema, TensorSpec

Vector = NDArray[np.float32]
L2 = 1e-4


@dataclass(frozen=True, slots=True)
class Network:
    """Sizes of the layers."""

    inputs: int
    hidden: int
    """0 for none: softmax regression."""

    classes: int

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each tensor, in the order in which they lie in the vector."""
        if not self.hidden:
            return ((self.inputs, self.classes), (self.classes,))
        return ((self.inputs, self.hidden), (self.hidden,), (self.hidden, self.classes), (self.classes,))

    @property
    def schema(self) -> ModelSchema:
        """The task's schema: the grid of the project with its first exponents."""
        return ModelSchema(tuple(TensorSpec(f"tensor-{i}", shape, 0) for i, shape in enumerate(self.shapes)))

    def initial(self, seed: int) -> Vector:
        """Return the model that everybody starts from."""
        random = np.random.default_rng([seed, 2])
        parts = [
            random.normal(0, 1 / sqrt(shape[0]), shape) if len(shape) > 1 and self.hidden else np.zeros(shape)
            for shape in self.shapes
        ]
        return np.concatenate([part.reshape(-1) for part in parts]).astype(np.float32)

    def predict(self, model: Vector, features: Features) -> Labels:
        """Return the likeliest class of each row."""
        tensors = self._tensors(model)
        if self.hidden:
            features = np.maximum(features @ tensors[0] + tensors[1], 0)
        scores: Vector = features @ tensors[-2] + tensors[-1]
        return scores.argmax(axis=1)

    def _tensors(self, models: Vector) -> list[Vector]:
        """Return views of one model's tensors, or of many models', shape (n, ...)."""
        found, start = [], 0
        for shape in self.shapes:
            stop = start + int(np.prod(shape))
            found.append(models[..., start:stop].reshape(*models.shape[:-1], *shape))
            start = stop
        return found

    def step(self, models: Vector, features: Features, labels: Labels, rate: float) -> None:
        """Take one gradient step of every model on its own batch, in place.

        Args:
            models: shape (n, d).
            features: shape (n, b, p).
            labels: shape (n, b).
            rate: of learning.
        """
        tensors, batch = self._tensors(models), features.shape[1]
        seen = features
        if self.hidden:
            seen = np.maximum(features @ tensors[0] + tensors[1][:, None], 0)
        scores = seen @ tensors[-2] + tensors[-1][:, None]
        scores -= scores.max(axis=2, keepdims=True)
        error: Vector = np.exp(scores)
        error /= error.sum(axis=2, keepdims=True)
        error[np.arange(len(models))[:, None], np.arange(batch)[None, :], labels] -= 1
        error *= rate / batch
        back = error @ tensors[-2].transpose(0, 2, 1) if self.hidden else error
        models *= 1 - rate * L2
        tensors[-2] -= seen.transpose(0, 2, 1) @ error
        tensors[-1] -= error.sum(axis=1)
        if self.hidden:
            back *= seen > 0
            tensors[0] -= features.transpose(0, 2, 1) @ back
            tensors[1] -= back.sum(axis=1)


@dataclass(frozen=True, slots=True)
class Training:
    """How a participant trains in one round."""

    steps: int = 5
    batch: int = 32
    rate: float = 0.1


class Cohort:
    """All participants that train honestly on what they hold, be it right or poisoned."""

    def __init__(self, network: Network, hands: Sequence[Samples], training: Training, seed: int) -> None:
        """Put everybody's samples into one array."""
        self._network, self._training = network, training
        self._sizes = np.array([len(hand) for hand in hands])
        self._starts = np.concatenate([[0], np.cumsum(self._sizes)[:-1]])
        self._features = np.concatenate([hand.features for hand in hands])
        self._labels = np.concatenate([hand.labels for hand in hands])
        self._random = np.random.default_rng([seed, 3])

    def updates(self, model: Vector) -> Vector:
        """Return what everybody's model differs by after local training, shape (n, d)."""
        models = np.repeat(model[None, :], len(self._sizes), axis=0)
        for _ in range(self._training.steps):
            drawn = self._random.random((len(self._sizes), self._training.batch))
            places = self._starts[:, None] + (drawn * self._sizes[:, None]).astype(np.int64)
            self._network.step(models, self._features[places], self._labels[places], self._training.rate)
        models -= model
        return models
