"""How catching up goes. One law: figures of the present attempt, zero when there is none."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final, Literal

Phase = Literal["", "headers", "state"]


class SyncProgress:
    """What the status and the metrics read off."""

    def __init__(self, clock_s: Callable[[], float] = monotonic) -> None:
        """Begin with nothing to do."""
        self._clock_s: Final = clock_s
        self._began_s = 0.0
        self._counted = 0
        self.phase: Phase = ""
        """What of a snapshot is being fetched."""

        self.at = 0
        """How far the headers have been followed."""

        self.target = 0
        """The height that the snapshot is of."""

        self.entries = 0
        """Entries of the state that have come."""

        self.pruned_at: int | None = None
        """A height whose block is needed here and pruned by peers."""

    def begin(self, phase: Phase, target: int) -> None:
        """Begin with a part of a snapshot."""
        self.phase, self.target = phase, target
        self._began_s, self._counted, self.entries = self._clock_s(), 0, 0

    def count(self, at: int, done: int) -> None:
        """Note that so many more headers have been verified, up to a height."""
        self.at = at
        self._counted += done

    def receive(self, entries: int) -> None:
        """Note how many entries of the state have come."""
        self.entries = entries

    def end(self) -> None:
        """The snapshot is there."""
        self.phase, self.target, self.at, self.entries = "", 0, 0, 0

    @property
    def per_second(self) -> float:
        """Headers verified a second, since the attempt began."""
        seconds = self._clock_s() - self._began_s
        return self._counted / seconds if self._counted and seconds > 0 else 0.0
