"""What Google's `dp-accounting` makes of the same mechanisms. One law: it is asked, never told.

`.venv/bin/python -m tests.fl.accountant_judge > tests/vectors/privacy/rdp.json` writes the vectors anew, where
`dp-accounting` is installed (`pip install -e ".[judges]"`).
"""

from __future__ import annotations

import json
import sys
from random import Random
from typing import Final

from fl.privacy.renyi import MICRO, ORDERS

CASES: Final = 60
SEED: Final = 2_026


def mechanism(lots: Random) -> tuple[int, int, int]:
    """Return noise, sampling and steps as sites use them, made by lot."""
    sampling = lots.choice((MICRO, int(10 ** lots.uniform(-4, 0) * MICRO)))
    return int(10 ** lots.uniform(-0.4, 1.5) * MICRO), max(1, sampling), int(10 ** lots.uniform(0, 3))


def divergences(noise: int, sampling: int, steps: int) -> list[float]:
    """Return the Rényi divergences at our orders."""
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant(orders=list(ORDERS))
    event = GaussianDpEvent(noise / MICRO)
    accountant.compose(event if sampling == MICRO else PoissonSampledDpEvent(sampling / MICRO, event), steps)
    return [float(one) for one in accountant._rdp]


def epsilon(noise: int, sampling: int, steps: int, delta_digits: int) -> float:
    """Return the epsilon of the same at delta = 10^-delta_digits."""
    from dp_accounting.rdp import compute_epsilon

    found, _ = compute_epsilon(list(ORDERS), divergences(noise, sampling, steps), 10.0**-delta_digits)
    return float(found)


def main() -> None:
    """Write the vectors."""
    lots = Random(SEED)
    cases = [[*one, divergences(*one), epsilon(*one, 5)] for one in (mechanism(lots) for _ in range(CASES))]
    json.dump({"accountant": "dp-accounting 0.6.0", "orders": ORDERS, "cases": cases}, sys.stdout, indent=0)


if __name__ == "__main__":
    main()
