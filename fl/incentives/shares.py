"""How a stake is divided. One law: what is paid and what goes back add up to the stake.

A quarter goes in equal parts to all that passed the information test, copies of one update sharing one part: an honest
site that the rule left out still gets it. The rest goes by score. When nobody scores, nobody is paid.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm
from typing import Final

from fl.incentives.scores import Score
from ledger.digest import Digest, digest

GOOD_FAITH_PERMILLE: Final = 250
"""phi: the part of a stake that all in good faith share."""


def divide(stake: int, scored: Sequence[Score], names: Sequence[str], seed: Digest) -> tuple[int, ...]:
    """Return what each update earns; together the stake, or nothing at all when nobody scores.

    Args:
        stake: at least 0.
        scored: of each update.
        names: of their participants.
        seed: of the round; settles ties, and was not known when the updates were made.
    """
    if not any(one.score for one in scored):
        return (0,) * len(scored)
    order = [digest("reward-tie", seed, name.encode()) for name in names]
    common = lcm(*(one.cluster_size for one in scored))
    equal = stake * GOOD_FAITH_PERMILLE // 1_000
    faith = proportional(equal, [common // one.cluster_size if one.passed else 0 for one in scored], order)
    merit = proportional(stake - equal, [one.score for one in scored], order)
    return tuple(first + second for first, second in zip(faith, merit, strict=True))


def proportional(total: int, weights: Sequence[int], order: Sequence[bytes]) -> tuple[int, ...]:
    """Return integers in proportion to the weights that add up to `total`; ties to the lowest in `order`.

    Args:
        total: at least 0.
        weights: at least 0 and not all 0.
        order: one for each, all different.

    Source: Hamilton's method (largest remainder).
    """
    everything = sum(weights)
    parts = [weight * total // everything for weight in weights]
    remainders = [weight * total % everything for weight in weights]
    places = sorted(range(len(weights)), key=lambda place: (-remainders[place], order[place]))
    for place in places[: total - sum(parts)]:
        parts[place] += 1
    return tuple(parts)
