"""Rounds whose words are not in memory, shard by shard. One law: same bits, whatever the shards and whoever works.

A shard is some columns of all rows. What is done to one is a picklable value that an executor calls, in this process
or in another one, on this machine or elsewhere; sums are exact, so that shards add up to the whole in any size and
number. First pass: norms and peaks, and the Gram matrix where the rule takes it and nothing says that rows will be
clipped; second pass: sums. Where rows are clipped after all, the Gram matrix has a pass of its own in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fl.aggregators.aggregation import needs_gram
from fl.aggregators.clip import WHOLE, ClipFactor
from fl.aggregators.combine import INT32_MAX, LastPass, Sums
from fl.aggregators.gram import Gram, Triangles, add_triangles, joined, triangles
from fl.aggregators.plan import Linear
from fl.aggregators.rows import Rows
from fl.aggregators.spec import RuleSpec
from fl.aggregators.survey import Measure, Survey, concluded, measured, together
from fl.grid import WORD_MAX
from fl.schema import Segment

FoundT = TypeVar("FoundT")
FoundT_co = TypeVar("FoundT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Shard:
    """Some columns of all rows."""

    start: int
    """The first one's place in the flat vector."""

    words: NDArray[np.int16]
    """Shape (n, c)."""

    @property
    def place(self) -> slice:
        """Which columns these are."""
        return slice(self.start, self.start + self.words.shape[1])


class ShardWork(Protocol[FoundT_co]):
    """What is done to a shard; picklable, and the same for all shards of a pass."""

    @property
    def rows_read(self) -> Sequence[int]:
        """Which rows it looks at, ascending; the others may be anything within the grid."""
        ...

    def __call__(self, shard: Shard, /) -> FoundT_co:
        """Return what the pass wants to know of the shard."""
        ...


class Shards(Protocol):
    """The words of a round in shards that cover all columns, and who works on them."""

    def run(self, work: ShardWork[FoundT], /) -> Iterator[FoundT]:
        """Yield what `work` gives of every shard, once each, in order of columns."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """What the first pass finds in a shard."""

    measures: dict[int, Measure]
    """By number of the tensor, of which the shard may have a part."""

    triangles: Triangles


@dataclass(frozen=True, slots=True)
class Measuring:
    """The first pass, and a Gram pass."""

    segments: tuple[Segment, ...]
    """The tensors' places in all columns."""

    factors: tuple[ClipFactor, ...]
    surveys: bool
    multiplies: bool

    @property
    def rows_read(self) -> Sequence[int]:
        """All."""
        return range(len(self.factors))

    def __call__(self, shard: Shard) -> Part:
        """Measure and multiply some columns."""
        inside = list(within(self.segments, shard.place))
        rows = Rows(shard.words, self.factors, tuple(segment for _, segment in inside))
        found = {number: measured(rows, segment) for number, segment in inside} if self.surveys else {}
        return Part(found, triangles(rows) if self.multiplies else {})


@dataclass(frozen=True, slots=True)
class Summed:
    """What the last pass finds in a shard."""

    place: slice
    sums: Sums
    """Shape (c,)."""


@dataclass(frozen=True, slots=True)
class Summing:
    """The last pass."""

    last: LastPass
    """Of rows without columns."""

    @property
    def rows_read(self) -> Sequence[int]:
        """Those that the plan does not leave out as a whole."""
        everybody = range(self.last.rows.count)
        plan = self.last.plan
        return [row for row in everybody if plan.coefficients[row]] if isinstance(plan, Linear) else everybody

    def __call__(self, shard: Shard) -> Summed:
        """Carry the plan out on some columns."""
        columns = shard.words.shape[1]
        last = replace(self.last, rows=Rows(shard.words, self.last.rows.factors, (Segment(0, columns, 0),)))
        narrow = WORD_MAX * self.last.denominator <= INT32_MAX
        sums: Sums = np.empty(columns, np.int32) if narrow else np.empty(columns, np.int64)
        for place in last.places(0, columns):
            sums[place] = last.sums(place)
        return Summed(shard.place, sums)


class Streamed:
    """Passes over shards, for `fl.aggregators.aggregation.decide_by`."""

    def __init__(self, spec: RuleSpec, shards: Shards, count: int, segments: Sequence[Segment]) -> None:
        """Read nothing yet.

        Args:
            spec: what will be decided: whether the first pass multiplies.
            shards: of all columns that `segments` cover.
            count: n.
            segments: the tensors' places and exponents.
        """
        self.rows: Final = Rows(np.empty((count, 0), np.int16), (WHOLE,) * count, tuple(segments))
        self._multiplies_at_once: Final = needs_gram(spec) and "arc/1" not in spec.pre
        self._shards: Final = shards
        self._triangles: Triangles = {}

    def survey(self, f: int) -> Survey:
        """Measure the rows."""
        rows = self.rows
        totals = [Measure([0] * rows.count, [0] * rows.count) for _ in rows.segments]
        for part in self._pass(rows.factors, surveys=True, multiplies=self._multiplies_at_once):
            for number, measure in part.measures.items():
                totals[number] = together(totals[number], measure)
        return concluded(totals, rows.segments, f)

    def gram(self, factors: tuple[ClipFactor, ...]) -> Gram:
        """Multiply the clipped rows, unless the first pass has done so."""
        if factors != self.rows.factors or not self._multiplies_at_once:
            self._triangles = {}
            for _ in self._pass(factors, surveys=False, multiplies=True):
                pass
        return joined(self._triangles, self.rows.count, self.rows.exponent_min)

    def _pass(self, factors: tuple[ClipFactor, ...], *, surveys: bool, multiplies: bool) -> Iterator[Part]:
        for part in self._shards.run(Measuring(self.rows.segments, factors, surveys, multiplies)):
            add_triangles(self._triangles, part.triangles)
            yield part


def within(segments: Sequence[Segment], place: slice) -> Iterator[tuple[int, Segment]]:
    """Yield the segments that lie in some columns, whole or in part, each with its number and counted from there."""
    for number, segment in enumerate(segments):
        start, stop = max(segment.start, place.start), min(segment.stop, place.stop)
        if start < stop:
            yield number, Segment(start - place.start, stop - place.start, segment.exponent)
