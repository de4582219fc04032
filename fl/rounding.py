"""Division of integers with rounding to the nearest, ties to the even neighbour. One law: no drift.

Flooring would pull every model down by half a unit a round; rounding ties away from zero would inflate it. Both
functions are exact: no float is involved.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

SHIFT_MAX: Final = 30


def shift_half_even(values: NDArray[np.int32], shift: int) -> NDArray[np.int32]:
    """Return values / 2^shift, rounded half-even.

    Args:
        values: any shape, |value| <= 2^30 - 1.
        shift: 0..`SHIFT_MAX`.

    Half minus one is added before the floor, and one more where the floor is odd: a tie then ends on the even
    neighbour. No intermediate leaves int32, since 2^30 - 1 + 2^29 < 2^31.
    """
    assert 0 <= shift <= SHIFT_MAX, f"shift {shift} is outside 0..{SHIFT_MAX}"
    if shift == 0:
        return values.copy()
    rounded = values >> shift
    rounded &= 1
    rounded += values
    rounded += (1 << (shift - 1)) - 1
    rounded >>= shift
    return rounded


def add_quotient_half_even(
    words: NDArray[np.int64], numerator: NDArray[np.int64], denominator: int
) -> NDArray[np.int64]:
    """Return words + numerator / denominator, rounded half-even once, on the sum.

    Args:
        words: shape (d,), |word| < 2^32.
        numerator: shape (d,), |numerator| < 2^62.
        denominator: 1..2^61, so that twice a remainder fits int64; the sum must fit too, which |quotient| < 2^62
        ensures.

    The sum's own parity decides a tie: the result is the integer nearest to the exact sum. A power of two, such as the
    sum of all shares, is divided by shifting.
    """
    assert 1 <= denominator <= 1 << 61, f"denominator {denominator} is outside 1..2^61"
    shift = denominator.bit_length() - 1
    if denominator == 1:
        return words + numerator
    if denominator == 1 << shift and shift < SHIFT_MAX:
        return _shifted_sum_half_even(words, numerator, shift)
    quotient = numerator // denominator
    twice_remainder = (numerator - quotient * denominator) << 1
    total = words + quotient
    total += (twice_remainder > denominator) | ((twice_remainder == denominator) & ((total & 1) == 1))
    return total


def add_quotients_half_even(
    words: NDArray[np.int64], numerator: NDArray[np.int64], denominators: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return words + numerator / denominators, rounded half-even once, on the sum; each word has its own denominator.

    Args:
        words: shape (d,), |word| < 2^32.
        numerator: shape (d,), |numerator| < 2^62.
        denominators: shape (d,), 1..2^61.
    """
    quotient = numerator // denominators
    twice_remainder = (numerator - quotient * denominators) << 1
    total = words + quotient
    total += (twice_remainder > denominators) | ((twice_remainder == denominators) & ((total & 1) == 1))
    return total


def _shifted_sum_half_even(words: NDArray[np.int64], numerator: NDArray[np.int64], shift: int) -> NDArray[np.int64]:
    """Return (words * 2^shift + numerator) / 2^shift, rounded half-even; below 2^61 + 2^62 before the last shift."""
    total = words << shift
    total += numerator
    odd = total >> shift
    odd &= 1
    total += odd
    total += (1 << (shift - 1)) - 1
    total >>= shift
    return total
