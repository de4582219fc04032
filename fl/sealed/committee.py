"""Who shares with whom: the validators of an epoch as points of a polynomial. One law: any f of them know nothing.

Validator j (0..n-1) stands at point j + 1. A secret that nobody knows is the sum of one part for each set of n - f
validators, known to its members alone: any f validators lack the part of the set that leaves them all out. Weighted
with polynomials of degree f that are 1 at 0 and 0 at the validators outside, the parts that a validator knows add up to
its share of the sum.

Source: Cramer, Damgard, Ishai, "Share Conversion, Pseudorandom Secret-Sharing and Applications to Secure Computation",
TCC 2005, sections 3.2 and 3.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Final

from fl.sealed.field import FIELD, Field

VALIDATORS_MIN: Final = 4
VALIDATORS_MAX: Final = 13
"""715 sets. With more validators the number of keys becomes impractical."""


class CommitteeError(ValueError):
    """No committee of this size can aggregate sealed updates."""


@dataclass(frozen=True, slots=True)
class Committee:
    """n validators of which any f may lie, in a field."""

    n: int
    field: Field = FIELD

    def __post_init__(self) -> None:
        if not VALIDATORS_MIN <= self.n <= VALIDATORS_MAX:
            needed = f"{VALIDATORS_MIN}..{VALIDATORS_MAX}"
            raise CommitteeError(f"sealed aggregation needs {needed} validators, got {self.n}")

    @property
    def f(self) -> int:
        """How many validators may lie: the largest number below n / 3."""
        return (self.n - 1) // 3

    @property
    def quorum(self) -> int:
        """How many shares of degree f must agree: 2f + 1, of which f + 1 are honest."""
        return 2 * self.f + 1

    @property
    def sets(self) -> tuple[tuple[int, ...], ...]:
        """All sets of n - f validators, in lexicographic order."""
        return _sets(self.n, self.n - self.f)

    def sets_of(self, validator: int) -> tuple[int, ...]:
        """Return the places in `sets` of those that a validator is in."""
        return tuple(place for place, members in enumerate(self.sets) if validator in members)

    def basis(self, place: int, validator: int) -> int:
        """Return the value at a validator's point of the polynomial that belongs to a set."""
        return _basis(self.field, self.n, self.sets[place], validator)


def point_of(validator: int) -> int:
    """Return where a validator's shares are taken."""
    return validator + 1


@cache
def _sets(n: int, size: int) -> tuple[tuple[int, ...], ...]:
    return tuple(combinations(range(n), size))


@cache
def _basis(field: Field, n: int, members: tuple[int, ...], validator: int) -> int:
    """Return the product of (q - x) / q over the points q outside the set."""
    value = 1
    for outside in set(range(n)) - set(members):
        point = point_of(outside)
        value = value * (point - point_of(validator)) * field.inverse(point) % field.modulus
    return value
