"""From costs at Rényi orders to (epsilon, delta). One law: rounded up, as the costs are.

Source: Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy", NeurIPS 2020, proposition 12;
Asoodeh et al., "A Better Bound Gives a Hundred Rounds", ISIT 2020, equation 20.
Differs from it in: the minimum is over `fl.privacy.renyi.ORDERS`, and delta is a power of ten.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Context, Decimal
from functools import cache
from typing import Final

from fl.privacy.renyi import DIGITS, NANO, NANOS_MAX, NOTHING, ORDERS, Costs

DELTA_DIGITS_MIN: Final = 2
DELTA_DIGITS_MAX: Final = 12
_UP: Final = Context(prec=DIGITS, rounding=ROUND_CEILING)


def epsilon_nanos(costs: Costs, delta_digits: int) -> int:
    """Return the epsilon of costs at delta = 10^-delta_digits, in billionths; 0 when nothing was spent."""
    if costs == NOTHING:
        return 0
    surcharges = _surcharges(delta_digits)
    least = min(cost + more if cost < NANOS_MAX else NANOS_MAX for cost, more in zip(costs, surcharges, strict=True))
    return max(0, min(NANOS_MAX, least))


@cache
def _surcharges(delta_digits: int) -> tuple[int, ...]:
    """Return ceil(10^9 (ln((a - 1) / a) + (delta_digits ln 10 - ln a) / (a - 1))) for every order a."""
    assert DELTA_DIGITS_MIN <= delta_digits <= DELTA_DIGITS_MAX, "the record's bound"
    return tuple(_surcharge(order, delta_digits) for order in ORDERS)


def _surcharge(order: int, delta_digits: int) -> int:
    ten, own = _UP.next_plus(_UP.ln(Decimal(10))), _UP.ln(Decimal(order))
    below = _UP.next_plus(_UP.ln(_UP.divide(Decimal(order - 1), Decimal(order))))
    rest = _UP.subtract(_UP.multiply(Decimal(delta_digits), ten), _UP.next_minus(own))
    value = _UP.add(below, _UP.divide(rest, Decimal(order - 1)))
    return int(_UP.multiply(value, Decimal(NANO)).to_integral_value(ROUND_CEILING))
