"""What rounds cost: never less than Google's accountant says, and hardly more; the same on every machine."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from fl.privacy.epsilon import epsilon_nanos
from fl.privacy.renyi import MICRO, NANO, NANOS_MAX, NOTHING, ORDERS, WITHOUT_BOUND, added, gaussian_costs
from tests.fl.accountant_judge import divergences, mechanism

VECTORS = Path(__file__).parents[1] / "vectors" / "privacy" / "rdp.json"
GAP_MAX = 1e-6


def compare(noise: int, sampling: int, steps: int, theirs: list[float]) -> None:
    ours = [cost / NANO for cost in gaussian_costs(noise, sampling, steps)]
    for order, own, other in zip(ORDERS, ours, theirs, strict=True):
        assert own >= other, (noise, sampling, steps, order)
        assert own - other <= GAP_MAX * max(1.0, other), (noise, sampling, steps, order)


def test_costs_are_never_below_the_recorded_ones_and_at_most_a_millionth_above() -> None:
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    assert vectors["orders"] == list(ORDERS)
    for noise, sampling, steps, theirs, epsilon in vectors["cases"]:
        compare(noise, sampling, steps, theirs)
        own = epsilon_nanos(gaussian_costs(noise, sampling, steps), 5) / NANO
        assert epsilon == 0 or 0 <= own - epsilon <= GAP_MAX * max(1.0, epsilon)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
def test_costs_are_never_below_googles_accountant_in_five_thousand_mechanisms(seed: int) -> None:
    pytest.importorskip("dp_accounting", reason="Google's accountant is an extra: pip install -e '.[judges]'")
    lots = Random(seed)
    for _ in range(1_000):
        one = mechanism(lots)
        compare(*one, divergences(*one))


def test_more_noise_fewer_steps_and_less_sampling_never_cost_more() -> None:
    base = gaussian_costs(MICRO, MICRO // 10, 100)
    less = (gaussian_costs(MICRO + 1, MICRO // 10, 100), gaussian_costs(MICRO, MICRO // 10 - 1, 100))

    for cheaper in (*less, gaussian_costs(MICRO, MICRO // 10, 99)):
        assert all(one <= other for one, other in zip(cheaper, base, strict=True))
        assert epsilon_nanos(cheaper, 5) <= epsilon_nanos(base, 5)


def test_sampling_that_leaves_nobody_out_costs_what_no_sampling_costs() -> None:
    almost, all_ = gaussian_costs(2 * MICRO, MICRO - 1, 1), gaussian_costs(2 * MICRO, MICRO, 1)

    assert all(0 <= other - one <= 10_000 for one, other in zip(almost[:20], all_[:20], strict=True))


def test_nothing_costs_nothing_and_no_noise_has_no_bound() -> None:
    assert gaussian_costs(MICRO, 0, 5) == gaussian_costs(MICRO, MICRO, 0) == NOTHING
    assert gaussian_costs(0, MICRO, 1) == WITHOUT_BOUND == added(WITHOUT_BOUND, gaussian_costs(MICRO, MICRO, 1))
    assert (epsilon_nanos(NOTHING, 5), epsilon_nanos(WITHOUT_BOUND, 5)) == (0, NANOS_MAX)


@pytest.mark.parametrize("noise", [1, 100, 10_000, 1_000_000_000])
@pytest.mark.parametrize("sampling", [1, 999_999, 1_000_000])
def test_the_ends_of_every_range_have_a_cost(noise: int, sampling: int) -> None:
    costs = gaussian_costs(noise, sampling, 1_000_000)

    assert all(1 <= one <= NANOS_MAX for one in costs)
    assert list(costs) == sorted(costs), "a higher order never costs less"


def test_a_gaussian_round_costs_what_paper_and_pencil_give() -> None:
    """Order a costs a / (2 sigma^2): at sigma = 2, a / 8."""
    costs = gaussian_costs(2 * MICRO, MICRO, 1)

    assert [cost - 1 for cost in costs] == [order * NANO // 8 for order in ORDERS]
