"""How strongly a rule used each update. One law: from the result and its matrix alone, so without any words."""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm

from fl.aggregators import RuleSpec
from fl.aggregators.aggregation import clip_factors
from fl.records import Contribution


def weights_of(
    spec: RuleSpec, parts: Sequence[Contribution], norms_squared: Sequence[int], clip_norm: int
) -> tuple[int, ...]:
    """Return a weight for each update, in one unit for the round; 0 for who was left out.

    The share of 2^15 in a weighted rule and 1 in another one, times the part of it that the rule let through, times the
    factor by which it was shortened.

    Args:
        spec: the task's rule.
        parts: of each update.
        norms_squared: of each update as submitted: the diagonal of the matrix.
        clip_norm: static bound in grid units, 0 for none.
    """
    factors = clip_factors(spec, [max(0, norm) for norm in norms_squared], clip_norm)
    shift = max(factor.shift for factor in factors)
    common = lcm(*(part.retained_of for part in parts))
    weighted = any(part.weight for part in parts)
    return tuple(
        0
        if part.left_out
        else (part.weight if weighted else 1)
        * part.retained
        * (common // part.retained_of)
        * (factor.numerator << (shift - factor.shift))
        for part, factor in zip(parts, factors, strict=True)
    )
