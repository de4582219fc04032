"""Polynomials through shares, some of which lie. One law: what is accepted is the only polynomial that can be right.

A share is the value of a polynomial at a validator's point. Of a polynomial of degree g, at most f of whose shares are
wrong, one is accepted when at least g + f + 1 shares lie on it: then g + 1 right ones do, and no other polynomial of
that degree goes through those. Fewer shares, or too many wrong ones among few: wait for more (online error correction).

Source: Welch, Berlekamp, US patent 4,633,470, 1986, for finding the wrong ones; Ben-Or, Canetti, Goldreich,
"Asynchronous Secure Computation", STOC 1993, for when to accept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fl.sealed.field import Field


@dataclass(frozen=True, slots=True)
class Opened:
    """A polynomial that shares agree on."""

    field: Field
    coefficients: tuple[int, ...]
    """Lowest first."""

    wrong: tuple[int, ...]
    """Points whose share is not on it, ascending."""

    @property
    def secret(self) -> int:
        """The value at 0."""
        return self.coefficients[0]

    def at(self, point: int) -> int:
        """Return the share that belongs to a point."""
        return evaluate(self.field, self.coefficients, point)


def evaluate(field: Field, coefficients: Sequence[int], point: int) -> int:
    """Return the value of a polynomial, coefficients lowest first."""
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * point + coefficient) % field.modulus
    return value


def lagrange(field: Field, points: Sequence[int], at: int = 0) -> tuple[int, ...]:
    """Return the factors by which values at distinct points are added up to the value at another one."""
    factors = []
    for own in points:
        above, below = 1, 1
        for other in points:
            if other != own:
                above = above * (at - other) % field.modulus
                below = below * (own - other) % field.modulus
        factors.append(above * field.inverse(below) % field.modulus)
    return tuple(factors)


def open_shares(field: Field, shares: Mapping[int, int], degree: int, f: int) -> Opened | None:
    """Return the polynomial that shares agree on; None while no polynomial can be accepted.

    Args:
        field: of the shares.
        shares: value by point; points are distinct and not 0.
        degree: g, of the polynomial.
        f: how many shares may be wrong.
    """
    needed = degree + f + 1
    if len(shares) < needed:
        return None
    points = sorted(shares)
    values = [shares[point] % field.modulus for point in points]
    for errors in range(min(f, len(points) - needed, (len(points) - degree - 1) // 2) + 1):
        coefficients = _without_errors(field, points, values, degree, errors)
        if coefficients is None:
            continue
        wrong = tuple(
            point for point, value in zip(points, values, strict=True) if evaluate(field, coefficients, point) != value
        )
        if len(points) - len(wrong) >= needed:
            return Opened(field, coefficients, wrong)
    return None


def _without_errors(
    field: Field, points: Sequence[int], values: Sequence[int], degree: int, errors: int
) -> tuple[int, ...] | None:
    """Return a polynomial that misses at most `errors` values, by one linear system: N(x) = value E(x), E monic."""
    system = []
    for point, value in zip(points, values, strict=True):
        powers = [pow(point, power, field.modulus) for power in range(degree + errors + 1)]
        located = [-value * power % field.modulus for power in powers[:errors]]
        system.append([*powers, *located, value * powers[errors] % field.modulus])
    solution = _solved(field, system, degree + 2 * errors + 1)
    if solution is None:
        return None
    return _quotient(field, solution[: degree + errors + 1], [*solution[degree + errors + 1 :], 1])


def _solved(field: Field, system: list[list[int]], unknowns: int) -> list[int] | None:
    """Return one solution of a linear system whose last column is the right side; None where there is none."""
    pivots: list[int] = []
    for column in range(unknowns):
        row = len(pivots)
        found = next((place for place in range(row, len(system)) if system[place][column]), None)
        if found is None:
            continue
        system[row], system[found] = system[found], system[row]
        scale = field.inverse(system[row][column])
        system[row] = [entry * scale % field.modulus for entry in system[row]]
        for place, line in enumerate(system):
            if place != row and line[column]:
                factor = line[column]
                system[place] = [
                    (entry - factor * lead) % field.modulus for entry, lead in zip(line, system[row], strict=True)
                ]
        pivots.append(column)
    if any(line[unknowns] for line in system[len(pivots) :]):
        return None
    solution = [0] * unknowns
    for row, column in enumerate(pivots):
        solution[column] = system[row][unknowns]
    return solution


def _quotient(field: Field, above: Sequence[int], below: Sequence[int]) -> tuple[int, ...] | None:
    """Return above / below, both lowest first and `below` monic; None where it does not divide."""
    remainder = list(above)
    quotient = [0] * (len(above) - len(below) + 1)
    for place in reversed(range(len(quotient))):
        factor = quotient[place] = remainder[place + len(below) - 1]
        for offset, coefficient in enumerate(below):
            remainder[place + offset] = (remainder[place + offset] - factor * coefficient) % field.modulus
    return None if any(remainder) else tuple(quotient)
