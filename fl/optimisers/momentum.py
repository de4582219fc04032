"""Momentum: the model follows a running sum of aggregates. One law: two roundings a word, both half-even.

Formula: M' = b M + u, m' = m + r M', with u the aggregate, b the momentum and r the rate.
Source: Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification",
2019, FedAvgM.
Differs from it in: a rate of the server; words are int32 on the model's grid and cut off at its range.
Cost: O(d); 4 bytes a word.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fl.optimisers.spec import MICROS, PERMILLE, OptimiserSpec
from fl.rounding import add_quotient_half_even

INT32_MAX = 2**31 - 1


def step(
    spec: OptimiserSpec, model: NDArray[np.int64], update: NDArray[np.int64], memory: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Return the next model's words, not yet cut off; `memory` becomes the next running sum.

    Args:
        spec: momentum's.
        model: shape (c,), int32 values.
        update: shape (c,), the aggregate in words of the model's grid, |u| < 2^31.
        memory: shape (c,), M.

    Overflow: |b M| < 2^41, |r M'| <= 10^9 2^31 < 2^61.
    """
    total = add_quotient_half_even(update, memory * np.int64(spec.momentum_permille), PERMILLE)
    np.clip(total, -INT32_MAX - 1, INT32_MAX, out=total)
    memory[:] = total
    return add_quotient_half_even(model, total * spec.rate_micros, MICROS)
