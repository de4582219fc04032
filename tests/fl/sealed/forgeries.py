"""What Byzantine participants hide under a seal. One law: any vector of the field, since nobody sees it.

Each takes the honest updates as integers on the common grid, shape (h, d), how many attackers there are and
randomness, and gives one list of integers for each attacker; they are taken modulo p. The last `DEAD` coordinates are 0
in all honest updates.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fl.grid import WORD_MAX
from fl.sealed.field import MERSENNE as P
from tests.attacks import a_little_is_enough, gaussian, inner_product_manipulation, sign_flip

Honest: TypeAlias = NDArray[np.int64]
Forgery: TypeAlias = Callable[[Honest, int, np.random.Generator], list[list[int]]]
DEAD: Final = 512
"""So many coordinates of 2^26 have a squared length of 2^61, which is 1 in the field."""


def root_of(square: int) -> int | None:
    """Return a square root in the field: p = 3 mod 4."""
    root = pow(square % P, (P + 1) // 4, P)
    return root if root * root % P == square % P else None


def hidden_length(random: np.random.Generator, square: int) -> tuple[int, int, int]:
    """Return three large elements whose squares add up to `square` in the field: every second try succeeds."""
    for _ in range(100):
        one, two = (int(drawn) for drawn in random.integers(1 << 40, P, 2))
        three = root_of(square - one * one - two * two)
        if three is not None:
            return one, two, three
    raise AssertionError("a hundred numbers were all no squares")


def near(honest: Honest, place: int) -> list[int]:
    row: list[int] = honest[place % len(honest)].tolist()
    return row


def spiked(honest: Honest, attackers: int, *values: int, at: int = -1) -> list[list[int]]:
    """Honest updates with one coordinate replaced, of each attacker by its value."""
    rows = [near(honest, place) for place in range(attackers)]
    for place, row in enumerate(rows):
        row[at] = values[place % len(values)]
    return rows


def scaled_by(honest: Honest, attackers: int, factor: int) -> list[list[int]]:
    return [[factor * value for value in near(honest, place)] for place in range(attackers)]


def a_power_whose_square_is_two(honest: Honest, attackers: int, _random: np.random.Generator) -> list[list[int]]:
    return spiked(honest, attackers, 1 << 31)


def powers_that_cancel(honest: Honest, attackers: int, _random: np.random.Generator) -> list[list[int]]:
    return spiked(honest, attackers, 1 << 31, -(1 << 31))


def halves(honest: Honest, attackers: int, _random: np.random.Generator) -> list[list[int]]:
    return scaled_by(honest, attackers, pow(2, -1, P))


def thirds(honest: Honest, attackers: int, _random: np.random.Generator) -> list[list[int]]:
    return scaled_by(honest, attackers, pow(3, -1, P))


def one_beyond_the_grid(honest: Honest, attackers: int, _random: np.random.Generator) -> list[list[int]]:
    return spiked(honest, attackers, WORD_MAX + 1, at=0)


def far_beyond_the_grid(honest: Honest, attackers: int, _random: np.random.Generator) -> list[list[int]]:
    return spiked(honest, attackers, 1 << 20, at=0)


def half_of_p(honest: Honest, attackers: int, _random: np.random.Generator) -> list[list[int]]:
    return [[P // 2] * honest.shape[1] for _ in range(attackers)]


def a_coordinate_of_half_p(honest: Honest, attackers: int, _random: np.random.Generator) -> list[list[int]]:
    return spiked(honest, attackers, P // 2, P // 2 + 1)


def no_length_at_all(honest: Honest, attackers: int, random: np.random.Generator) -> list[list[int]]:
    """Large dead coordinates that have the square 0 together."""
    rows = []
    for place in range(attackers):
        row = near(honest, place)
        row[-3:] = hidden_length(random, 0)
        rows.append(row)
    return rows


def no_length_and_cancelling(honest: Honest, attackers: int, random: np.random.Generator) -> list[list[int]]:
    pair = hidden_length(random, 0)
    rows = [near(honest, place) for place in range(attackers)]
    for place, row in enumerate(rows):
        row[-3:] = [value if place % 2 else -value for value in pair]
    return rows


def a_negative_length(honest: Honest, attackers: int, random: np.random.Generator) -> list[list[int]]:
    rows = [[0] * honest.shape[1] for _ in range(attackers)]
    for row in rows:
        row[-3:] = hidden_length(random, -1_000)
    return rows


def shorter_than_its_products(honest: Honest, attackers: int, random: np.random.Generator) -> list[list[int]]:
    """Three honest updates long in its products with them, and next to nothing by itself: no such vectors exist."""
    rows = []
    for place in range(attackers):
        row = [3 * value for value in near(honest, place)]
        row[-3:] = hidden_length(random, 1 - sum(value * value for value in row[:-3]))
        rows.append(row)
    return rows


def a_wrapped_length_in_range(honest: Honest, attackers: int, _random: np.random.Generator) -> list[list[int]]:
    """Dead coordinates within what the sum may hold, whose length is 2^61 and 1 in the field."""
    return [[0] * (honest.shape[1] - DEAD) + [1 << 26] * DEAD for _ in range(attackers)]


def wrapped_lengths_that_cancel(honest: Honest, attackers: int, _random: np.random.Generator) -> list[list[int]]:
    size = honest.shape[1] - DEAD
    return [[0] * size + [(1 << 26) * (-1) ** place] * DEAD for place in range(attackers)]


def anything(honest: Honest, attackers: int, random: np.random.Generator) -> list[list[int]]:
    rows: list[list[int]] = random.integers(0, P, (attackers, honest.shape[1])).tolist()
    return rows


def anything_that_cancels(honest: Honest, attackers: int, random: np.random.Generator) -> list[list[int]]:
    (drawn,) = anything(honest, 1, random)
    (mean,) = honest.mean(axis=0, keepdims=True).astype(np.int64).tolist()
    return [
        [value + (noise if place % 2 else -noise) for value, noise in zip(mean, drawn, strict=True)]
        for place in range(attackers)
    ]


def too_long(honest: Honest, attackers: int, _random: np.random.Generator) -> list[list[int]]:
    return scaled_by(honest, attackers, isqrt(P) // 1_000)


def longest_words(honest: Honest, attackers: int, _random: np.random.Generator) -> list[list[int]]:
    return [[WORD_MAX] * (honest.shape[1] - DEAD) + [0] * DEAD for _ in range(attackers)]


def dead_coordinates(honest: Honest, attackers: int, _random: np.random.Generator) -> list[list[int]]:
    """Words where nobody has any."""
    return [near(honest, place)[:-DEAD] + [WORD_MAX] * DEAD for place in range(attackers)]


def off_the_tensors_grid(honest: Honest, attackers: int, _random: np.random.Generator) -> list[list[int]]:
    """One unit of the common grid where a word is worth more."""
    return spiked(honest, attackers, 1)


def copies(honest: Honest, attackers: int, _random: np.random.Generator) -> list[list[int]]:
    return [near(honest, 0) for _ in range(attackers)]


def nothing(honest: Honest, attackers: int, _random: np.random.Generator) -> list[list[int]]:
    return [[0] * honest.shape[1] for _ in range(attackers)]


def _in_words(attack: Callable[..., NDArray[np.int16]]) -> Forgery:
    def forge(honest: Honest, attackers: int, random: np.random.Generator) -> list[list[int]]:
        words = attack(honest[:, :-DEAD].astype(np.int16), attackers, random)
        return [[*row, *[0] * DEAD] for row in words.tolist()]

    return forge


FORGERIES: Final[dict[str, Forgery]] = {
    one.__name__: one
    for one in (
        a_power_whose_square_is_two,
        powers_that_cancel,
        halves,
        thirds,
        one_beyond_the_grid,
        far_beyond_the_grid,
        half_of_p,
        a_coordinate_of_half_p,
        no_length_at_all,
        no_length_and_cancelling,
        a_negative_length,
        shorter_than_its_products,
        a_wrapped_length_in_range,
        wrapped_lengths_that_cancel,
        anything,
        anything_that_cancels,
        too_long,
        longest_words,
        dead_coordinates,
        off_the_tensors_grid,
        copies,
        nothing,
    )
} | {one.__name__: _in_words(one) for one in (sign_flip, gaussian, a_little_is_enough, inner_product_manipulation)}
