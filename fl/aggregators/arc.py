"""Adaptive robust clipping (ARC). One law: no row is longer than one that the honest majority vouches for.

Formula: k = floor(2 (f / n) (n - f)); C = the (k+1)-th largest norm; rows longer than C are scaled to C
(`fl.aggregators.clip`).
Breakdown point: that of the rule behind it; unlike a static clip it keeps the rule's robustness guarantee.
Minimum n: 2f + 1.
Source: Allouah, Guerraoui, Gupta, Jellouli, Rizk, Stephan, "Adaptive Gradient Clipping for Robust Federated
Learning", ICLR 2025, Algorithm 2.
Differs from it in: squared norms are compared as integers, the factor is a ratio of integers and words are rounded
half-even.
Cost: O(n d) for the norms, O(k d) per later pass for the scaling.
"""

from collections.abc import Sequence


def clipped_count(count: int, f: int) -> int:
    """Return k, how many of n rows are scaled to the norm of the next shorter one."""
    return 2 * f * (count - f) // count


def arc_threshold(norms_squared: Sequence[int], f: int) -> int:
    """Return C^2, the (k+1)-th largest squared norm.

    Args:
        norms_squared: one a row, n > 2f of them; equal norms need no tie rule, since only the value counts.
        f: at least 0.
    """
    return sorted(norms_squared, reverse=True)[clipped_count(len(norms_squared), f)]
