"""Which optimiser a task uses, with its parameters. One law: a spec that exists has a meaning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, get_args

from fl.schema import TensorSpec
from ledger.codec import Record

OptimiserId = Literal["momentum/1", "adam/1", "yogi/1"]

MICROS: Final = 1_000_000
PERMILLE: Final = 1_000
RATE_MICROS_MAX: Final = 1_000_000_000
MODEL_FRACTION_BITS: Final = 24
STEP_WORDS_MAX: Final = 1 << 31
"""A task needs a rate of 1 to so many words on each of its grids."""

FLOOR_WORDS_MAX: Final = 1 << 40
"""A task's floor is at most so many words on each of its grids."""

_MEMORY_BYTES: Final[dict[OptimiserId, int]] = {"momentum/1": 4, "adam/1": 12, "yogi/1": 12}


class OptimiserSpecError(ValueError):
    """Parameters that contradict the optimiser or the model's grids; the message names each."""


class OptimiserSpec(Record):
    """An optimiser of the global model."""

    optimiser: OptimiserId

    rate_micros: int
    """Learning rate in millionths. Momentum: of the running sum. Adam, Yogi: about how far a word moves in a round."""

    momentum_permille: int
    """How much of the running sum or mean of aggregates is kept in a round, in thousandths; 0..999."""

    variance_permille: int = 0
    """Adam, Yogi: how much of the running mean of squares is kept, in thousandths; 0..999. Else 0."""

    floor_micros: int = 0
    """Adam, Yogi: what is added to the root of the mean of squares, in millionths of a unit of value. Else 0."""

    def __post_init__(self) -> None:
        faults = list(self._faults())
        if faults:
            raise OptimiserSpecError("; ".join(faults))

    @property
    def is_adaptive(self) -> bool:
        """Whether it divides by the root of the mean of squares."""
        return self.optimiser != "momentum/1"

    def _faults(self) -> Iterator[str]:
        if self.optimiser not in get_args(OptimiserId):
            yield f"optimiser must be one of {get_args(OptimiserId)}, got {self.optimiser!r}"
        if not 1 <= self.rate_micros <= RATE_MICROS_MAX:
            yield f"rate_micros must be within 1..{RATE_MICROS_MAX}, got {self.rate_micros}"
        if not 0 <= self.momentum_permille < PERMILLE:
            yield f"momentum_permille must be within 0..{PERMILLE - 1}, got {self.momentum_permille}"
        high = PERMILLE - 1 if self.is_adaptive else 0
        if not 0 <= self.variance_permille <= high:
            yield f"variance_permille must be within 0..{high} for {self.optimiser}, got {self.variance_permille}"
        low, high = (1, RATE_MICROS_MAX) if self.is_adaptive else (0, 0)
        if not low <= self.floor_micros <= high:
            yield f"floor_micros must be within {low}..{high} for {self.optimiser}, got {self.floor_micros}"


def memory_bytes(spec: OptimiserSpec | None) -> int:
    """Return how many bytes a word of the model needs beside its own four."""
    return 0 if spec is None else _MEMORY_BYTES[spec.optimiser]


def step_words(spec: OptimiserSpec, tensor: TensorSpec) -> int:
    """Return an adaptive rate in words of a tensor's model grid, rounded down."""
    return _words(spec.rate_micros, tensor)


def floor_words(spec: OptimiserSpec, tensor: TensorSpec) -> int:
    """Return the floor in words of a tensor's model grid, rounded down but not to 0."""
    return max(1, _words(spec.floor_micros, tensor))


def _words(micros: int, tensor: TensorSpec) -> int:
    shift = MODEL_FRACTION_BITS - tensor.exponent
    return (micros << max(shift, 0)) // (MICROS << max(-shift, 0))
