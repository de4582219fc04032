"""What a round costs: Rényi differential privacy of the subsampled Gaussian mechanism. One law: never less than it is.

Costs are integers, in billionths, one for each of `ORDERS`; those of rounds one after the other add up. They are
rounded up, and one more is added, so that an accountant in floating point does not come out higher by its own rounding.

Source: Mironov, Talwar, Zhang, "Rényi Differential Privacy of the Sampled Gaussian Mechanism", 2019, section 3.3
(integer orders); Mironov, "Rényi Differential Privacy", CSF 2017, proposition 7 (without sampling).
Differs from it in: decimal arithmetic rounded upwards, in which nothing depends on the machine.
Cost: for order a, O(a) multiplications of 50 digits; the results of `COSTS_KEPT` mechanisms are remembered.
"""

from __future__ import annotations

from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, Context, Decimal
from functools import lru_cache
from math import comb
from typing import Final, TypeAlias

ORDERS: Final = (*range(2, 33), 36, 40, 48, 56, 64, 80, 96, 128, 192, 256, 512)
NANO: Final = 10**9
MICRO: Final = 10**6
NANOS_MAX: Final = 2**62
"""What is at least so much counts as so much: no budget holds it."""

STEPS_MAX: Final = 1_000_000
DIGITS: Final = 50
COSTS_KEPT: Final = 1_024
Costs: TypeAlias = tuple[int, ...]
"""Billionths, one for each of `ORDERS`."""

NOTHING: Final[Costs] = (0,) * len(ORDERS)
WITHOUT_BOUND: Final[Costs] = (NANOS_MAX,) * len(ORDERS)
_UP: Final = Context(prec=DIGITS, rounding=ROUND_CEILING, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])
_ONE: Final = Decimal(1)


@lru_cache(maxsize=COSTS_KEPT)
def gaussian_costs(noise_micros: int, sampling_micros: int, steps: int) -> Costs:
    """Return what a number of steps of the subsampled Gaussian mechanism costs at each order.

    Args:
        noise_micros: standard deviation of the noise over the clipping bound, in millionths; at least 1, else nothing
            bounds the loss.
        sampling_micros: with which probability each example takes part in a step, on its own and in secret, in
            millionths; 1,000,000 when all do.
        steps: how many times, 0 to `STEPS_MAX`.

    Returns:
        Billionths, one for each of `ORDERS`, at most `NANOS_MAX`.
    """
    assert 0 <= sampling_micros <= MICRO, "the record's bound"
    assert 0 <= steps <= STEPS_MAX, "the record's bound"
    if not steps or not sampling_micros:
        return NOTHING
    if noise_micros < 1:
        return WITHOUT_BOUND
    if sampling_micros == MICRO:
        return tuple(_whole(order, noise_micros, steps) for order in ORDERS)
    powers = _powers_of_ratio(noise_micros)
    return tuple(_sampled(order, powers, sampling_micros, steps) for order in ORDERS)


def added(left: Costs, right: Costs) -> Costs:
    """Return what both cost together."""
    return tuple(min(NANOS_MAX, one + other) for one, other in zip(left, right, strict=True))


def _whole(order: int, noise_micros: int, steps: int) -> int:
    """Return ceil(10^9 steps order / (2 sigma^2)) + 1, exactly."""
    return min(NANOS_MAX, -(-NANO * steps * order * MICRO**2 // (2 * noise_micros**2)) + 1)


def _powers_of_ratio(noise_micros: int) -> list[Decimal]:
    """Return exp(k (k - 1) / (2 sigma^2)) for k from 0 to the largest order, rounded up."""
    inverse = _UP.divide(Decimal(MICRO**2), Decimal(noise_micros**2))
    ratio = _UP.next_plus(_UP.exp(inverse))  # exp rounds to the nearest, whatever the context says
    found, power = [_ONE, _ONE], _ONE
    for _ in range(2, ORDERS[-1] + 1):
        power = _UP.multiply(power, ratio)
        found.append(_UP.multiply(found[-1], power))
    return found


def _sampled(order: int, powers: list[Decimal], sampling_micros: int, steps: int) -> int:
    """Return ceil(10^9 steps ln(A) / (order - 1)) + 1 with A the sum over k of comb (1-q)^(order-k) q^k powers[k]."""
    taken = Decimal(sampling_micros).scaleb(-6, _UP)
    left = Decimal(MICRO - sampling_micros).scaleb(-6, _UP)
    total, chosen = Decimal(0), _ONE
    others = [_ONE]
    for _ in range(order):
        others.append(_UP.multiply(others[-1], left))
    for k in range(order + 1):
        term = _UP.multiply(_UP.multiply(Decimal(comb(order, k)), others[order - k]), chosen)
        total = _UP.add(total, _UP.multiply(term, powers[k]))
        chosen = _UP.multiply(chosen, taken)
    if not total.is_finite():
        return NANOS_MAX
    loss = _UP.next_plus(_UP.ln(total))
    nanos = _UP.divide(_UP.multiply(loss, Decimal(NANO * steps)), Decimal(order - 1))
    return min(NANOS_MAX, int(nanos.to_integral_value(ROUND_CEILING)) + 1) if nanos < NANOS_MAX else NANOS_MAX
