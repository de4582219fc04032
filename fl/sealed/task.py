"""What a task that is aggregated under seal fixes beforehand. One law: whatever it allows, no product wraps unseen.

Updates are scaled to one grid, that of the smallest exponent: x = word * 2^(e_t - e_min). Their inner products are then
those of `fl.aggregators.gram`. An integer below p / 2 is its own element of the field; what a liar sends may be any
vector of the field and wrap around, which `fl.sealed.selection` and `fl.sealed.certificate` find out or make harmless.
They can if norms are at most B with 2 max(W, 1024) B^2 < p, W the largest sum of weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.aggregators.geometry import denominator_max, geometric_faults
from fl.aggregators.spec import RuleSpec
from fl.grid import WORD_MAX
from fl.kernels.field import Elements
from fl.schema import Segment
from fl.sealed.field import FIELD, Field

PARTICIPANTS_MAX: Final = 64
SELECTED_MIN: Final = 3
LENGTH_MARGIN: Final = 1024
"""Whoever wraps a product around is then at least 32 times as long as B, which `fl.sealed.certificate` tells from 1."""

SIZE_MAX: Final = 1 << 27
"""Elements of a vector: 1 GiB."""


class SealedTaskError(ValueError):
    """A task cannot be aggregated under seal; the message gives every reason."""


@dataclass(frozen=True, slots=True)
class SealedTask:
    """The rule and its bounds for one round."""

    rule: RuleSpec
    segments: tuple[Segment, ...]
    """The tensors' places and exponents, covering 0..d in order."""

    participants_max: int
    norm_max: int
    """B: a longer update has no part in the round; in grid units of the smallest exponent."""

    selected_min: int
    """The sum is not opened when fewer updates carry it."""

    field: Field = FIELD

    def __post_init__(self) -> None:
        faults = list(self._faults())
        if faults:
            raise SealedTaskError("; ".join(faults))

    @property
    def size(self) -> int:
        """How many elements a vector has, d."""
        return self.segments[-1].stop

    @property
    def exponents(self) -> tuple[int, ...]:
        """One a tensor."""
        return tuple(segment.exponent for segment in self.segments)

    def shift(self, segment: Segment) -> int:
        """Return by how many bits a tensor's words are scaled."""
        return segment.exponent - min(self.exponents)

    def scaled(self, words: NDArray[np.int16]) -> NDArray[np.int64]:
        """Return an update's words on the common grid, shape (d,)."""
        values = words.astype(np.int64)
        for segment in self.segments:
            values[segment.start : segment.stop] <<= self.shift(segment)
        return values

    def elements(self, words: NDArray[np.int16]) -> Elements:
        """Return what a participant hides, shape (d,)."""
        return self.field.from_integers(self.scaled(words))

    def to_words(self, total: NDArray[np.int64], factor: int) -> None:
        """Turn a sum of updates on the common grid into `factor` times a sum of words, in place.

        It must divide, which `fl.sealed.certificate` sees to.
        """
        for segment in self.segments:
            part, shift = total[segment.start : segment.stop], self.shift(segment)
            if shift:
                part >>= shift
        if factor != 1:
            total *= factor

    def _faults(self) -> Iterator[str]:
        yield from geometric_faults(self.rule)
        if self.rule.rule == "krum/1" or self.rule.keep == 1:
            yield f"{self.rule.rule} with one update as its result would show that update"
        if not self.segments or not 1 <= self.segments[-1].stop <= SIZE_MAX:
            yield f"1..{SIZE_MAX} words are needed, got {self.segments[-1].stop if self.segments else 0}"
            return
        if not 1 <= self.participants_max <= PARTICIPANTS_MAX:
            yield f"participants_max must be within 1..{PARTICIPANTS_MAX}, got {self.participants_max}"
        least = max(SELECTED_MIN, self.rule.f + 2)
        if self.selected_min < least:
            yield f"selected_min must be at least {least} (3, and the assumed colluders and 2), got {self.selected_min}"
        most = norm_bound(self.rule, self.participants_max, self.field)
        if not 1 <= self.norm_max <= most:
            yield f"norm_max must be within 1..{most} grid units for {self.rule.rule}, got {self.norm_max}"
        if WORD_MAX << max(map(self.shift, self.segments)) > self.field.modulus // 4:
            yield f"exponents {min(self.exponents)}..{max(self.exponents)} are too far apart for one grid"


def norm_bound(rule: RuleSpec, participants_max: int, field: Field = FIELD) -> int:
    """Return the largest B for which 2 max(W, `LENGTH_MARGIN`) B^2 < p whatever weights the rule gives."""
    return isqrt((field.modulus - 1) // (2 * max(denominator_max(rule, participants_max), LENGTH_MARGIN)))
