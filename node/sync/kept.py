"""States of a few heights, kept to be served. One law: at most `STATES_MAX`, and the same heights on every node.

Heights that are multiples of a step are kept until two later ones of that step have come. Small steps are for chains
that rarely move, large ones for states that take long to fetch while the chain does. States share whatever did not
change between them.
"""

from __future__ import annotations

from typing import Final

from ledger.fields import Height
from ledger.state_map import StateMap

STEPS: Final = (1, 16, 256, 4_096)
STATES_PER_STEP: Final = 2
STATES_MAX: Final = STATES_PER_STEP * len(STEPS)


class KeptStates:
    """States by height."""

    def __init__(self, height: Height, state: StateMap) -> None:
        """Begin with the state at hand."""
        self._states: Final[dict[Height, StateMap]] = {}
        self.take(height, state)

    def __len__(self) -> int:
        return len(self._states)

    @property
    def heights(self) -> tuple[Height, ...]:
        """Heights whose state can be had, ascending; never 0, which genesis tells."""
        return tuple(sorted(height for height in self._states if height))

    def take(self, height: Height, state: StateMap) -> None:
        """Keep the state after a block, and forget those that have had their time."""
        self._states[height] = state
        wanted = {kept for step in STEPS for kept in self._of_step(step)}
        for old in self._states.keys() - wanted:
            del self._states[old]

    def get(self, height: int) -> StateMap | None:
        """Return the state after the block at a height, if it is kept."""
        return self._states.get(Height(height))

    def _of_step(self, step: int) -> list[Height]:
        return sorted((height for height in self._states if height % step == 0), reverse=True)[:STATES_PER_STEP]


def endurance(height: int) -> int:
    """Return the largest step that a height is a multiple of: how long, in blocks, it will be kept at least."""
    return max(step for step in STEPS if height % step == 0)
