"""The rows of a round as the rules see them: clipped, in column chunks. One law: memory does not grow with d.

Nothing is copied but the chunk at hand, and clipped rows are scaled anew in every pass: cheaper than keeping n d words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.aggregators.clip import WHOLE, ClipFactor, scale_words
from fl.aggregators.products import FOLD
from fl.schema import Segment

CHUNK_WORDS: Final = 1 << 19
"""Words of all rows together in one chunk: at most 4 MiB of int64 temporaries, which cache holds."""


@dataclass(frozen=True, slots=True)
class Rows:
    """n updates, each with the factor it is clipped by."""

    words: NDArray[np.int16]
    """Shape (n, d), |word| <= 8191, ordered by ascending participant id."""

    factors: tuple[ClipFactor, ...]
    """One a row."""

    segments: tuple[Segment, ...]
    """The tensors' places, covering 0..d in order."""

    chunk_words: int = CHUNK_WORDS
    """Any value gives the same result."""

    @property
    def count(self) -> int:
        """How many rows there are, n."""
        return int(self.words.shape[0])

    @property
    def size(self) -> int:
        """How many words a row has, d."""
        return int(self.words.shape[1])

    def places(self, start: int, stop: int) -> Iterator[slice]:
        """Yield column ranges that cover start..stop in order."""
        columns = max(1, self.chunk_words // self.count)
        columns -= columns % FOLD if columns > FOLD else 0
        for begin in range(start, stop, columns):
            yield slice(begin, min(begin + columns, stop))

    def chunk(self, place: slice) -> NDArray[np.int16]:
        """Return the clipped words of some columns, shape (n, columns); not to be written to."""
        words = self.words[:, place]
        if all(factor == WHOLE for factor in self.factors):
            return words
        clipped = words.copy()
        for row, factor in enumerate(self.factors):
            if factor != WHOLE:
                clipped[row] = scale_words(words[row], factor)
        return clipped

    def runs(self) -> list[Segment]:
        """Return the segments with neighbours of one exponent merged."""
        return merged(self.segments)

    @property
    def exponent_min(self) -> int:
        """The exponent whose grid unit all squared norms and products are counted in."""
        return min(segment.exponent for segment in self.segments)


def merged(segments: Sequence[Segment]) -> list[Segment]:
    """Return the segments with adjacent ones of one exponent joined."""
    runs: list[Segment] = []
    for segment in segments:
        if runs and runs[-1].exponent == segment.exponent:
            runs[-1] = Segment(runs[-1].start, segment.stop, segment.exponent)
        else:
            runs.append(segment)
    return runs
