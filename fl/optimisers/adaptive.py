"""Adam and Yogi: a word moves the less, the more its aggregates vary. One law: no float is in what comes out.

Formula: a = the aggregate u, cut off at 2^26 - 1 words; M' = b1 M + (1 - b1) a;
Adam: V' = b2 V + (1 - b2) a^2; Yogi: V' = V - (1 - b2) a^2 sign(V - a^2);
m' = m + r M' / (isqrt(V') + t), with the rate r and the floor t in words of the tensor's model grid.
Source: Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan, "Adaptive Federated Optimization", ICLR 2021,
Algorithm 2 (FedAdam, FedYogi).
Differs from it in: V begins at 0, not at t^2; each line is rounded half-even once, the root down; the cut, a quarter
of which no sane update reaches in one round, keeps squares within 2^52.
Cost: O(d); 12 bytes a word.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.optimisers.spec import PERMILLE, OptimiserSpec, floor_words, step_words
from fl.rounding import add_quotient_half_even, add_quotients_half_even
from fl.schema import TensorSpec

UPDATE_WORDS_MAX: Final = (1 << 26) - 1


def step(
    spec: OptimiserSpec,
    tensor: TensorSpec,
    model: NDArray[np.int64],
    update: NDArray[np.int64],
    memory: NDArray[np.int32],
    squares: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the next model's words, not yet cut off; `memory` and `squares` become the next ones.

    Args:
        spec: of Adam or Yogi.
        tensor: whose words these are.
        model: shape (c,), int32 values.
        update: shape (c,), the aggregate in words of the model's grid.
        memory: shape (c,), M, |M| < 2^26.
        squares: shape (c,), V, 0..2^53.

    Overflow: 1000 2^52 < 2^62; r M' <= 2^31 2^26.
    """
    cut = np.clip(update, -UPDATE_WORDS_MAX, UPDATE_WORDS_MAX)
    kept, new = spec.momentum_permille, PERMILLE - spec.momentum_permille
    mean = add_quotient_half_even(np.zeros_like(cut), memory * np.int64(kept) + cut * new, PERMILLE)
    memory[:] = mean
    cut *= cut
    growth = cut - squares if spec.optimiser == "adam/1" else cut * np.sign(cut - squares)
    squares[:] = add_quotient_half_even(squares, growth * (PERMILLE - spec.variance_permille), PERMILLE)
    divisors = integer_roots(squares)
    divisors += floor_words(spec, tensor)
    return add_quotients_half_even(model, mean * step_words(spec, tensor), divisors)


def integer_roots(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each value's root, rounded down.

    Args:
        values: 0..2^53.

    The machine's root is only a guess that is put right in integers: a result that depends on no float cannot differ
    where a rounding mode or a library does.
    """
    roots = np.sqrt(values.astype(np.float64)).astype(np.int64)
    roots -= roots * roots > values
    above = roots + 1
    roots += above * above <= values
    return roots
