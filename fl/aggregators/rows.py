"""The rows of a round as the rules see them: clipped, in column chunks. One law: memory does not grow with d.

Nothing is copied but the chunk at hand, and clipped rows are scaled anew in every pass: cheaper than keeping n d words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fl.aggregators.clip import WHOLE, ClipFactor, scale_into
from fl.aggregators.products import FOLD
from fl.kernels import fits, library
from fl.schema import Segment

CHUNK_WORDS: Final = 1 << 19
"""Words of all rows together in one chunk: at most 4 MiB of int64 temporaries, which cache holds."""


PIECE_COLUMNS: Final = 1 << 18
"""Columns of one piece where compiled code needs no temporaries: a MiB of sums."""

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Run(Protocol):
    """Who does the work on pieces of the rows, and where: whatever calls `work` once for each item.

    Pieces never overlap and results are exact, so that neither order nor number of workers changes a bit.
    """

    def __call__(self, work: Callable[[ItemT], ResultT], items: Iterable[ItemT], /) -> Iterable[ResultT]:
        """Return the results in the order of the items, as `map` does."""
        ...


def in_turn(work: Callable[[ItemT], ResultT], items: Iterable[ItemT], /) -> Iterable[ResultT]:
    """Do one after the other in this thread."""
    return map(work, items)


@dataclass(frozen=True, slots=True)
class Work:
    """How the passes over the words are carried out; no value changes a bit of the result."""

    run: Run = in_turn
    """Who works on the pieces, such as the `map` of an executor."""

    chunk_words: int = 0
    """Words of a piece where temporaries are needed, 0 for a good number."""


IN_TURN: Final = Work()
"""One piece after the other, in this thread."""


@dataclass(frozen=True, slots=True)
class Rows:
    """n updates, each with the factor it is clipped by."""

    words: NDArray[np.int16]
    """Shape (n, d), |word| <= 8191, ordered by ascending participant id."""

    factors: tuple[ClipFactor, ...]
    """One a row."""

    segments: tuple[Segment, ...]
    """The tensors' places, covering 0..d in order."""

    work: Work = IN_TURN

    @property
    def count(self) -> int:
        """How many rows there are, n."""
        return int(self.words.shape[0])

    @property
    def size(self) -> int:
        """How many words a row has, d."""
        return int(self.words.shape[1])

    @property
    def is_whole(self) -> bool:
        """Whether no row is clipped."""
        return all(factor == WHOLE for factor in self.factors)

    def places(self, start: int, stop: int, *, in_place: bool = False) -> Iterator[slice]:
        """Yield column ranges that cover start..stop in order.

        Args:
            start: first column.
            stop: the one after the last.
            in_place: the work needs no temporaries where there is compiled code.
        """
        columns = max(1, (self.work.chunk_words or CHUNK_WORDS) // self.count)
        columns -= columns % FOLD if columns > FOLD else 0
        if in_place and not self.work.chunk_words and library() is not None and fits(self.words):
            columns = PIECE_COLUMNS
        for begin in range(start, stop, columns):
            yield slice(begin, min(begin + columns, stop))

    def chunk(self, place: slice) -> NDArray[np.int16]:
        """Return the clipped words of some columns, shape (n, columns); not to be written to."""
        words = self.words[:, place]
        if self.is_whole:
            return words
        clipped = np.empty(words.shape, np.int16)
        for row, factor in enumerate(self.factors):
            scale_into(words[row], factor, clipped[row])
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
