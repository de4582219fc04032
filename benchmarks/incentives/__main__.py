"""What the rule of pay pays to whom, on real learning with the project's own arithmetic.

python -m benchmarks.incentives [--quick] [--json]
"""

from __future__ import annotations

import json
import sys
from time import perf_counter

from benchmarks.incentives import scenarios, shapley

ZERO_DATA_MAX = 0.005
DUPLICATES_MAX = 1.1
SPEARMAN_MIN = 0.9


def measure(*, quick: bool = False) -> dict[str, object]:
    """Return all figures and whether they are within the stated bounds."""
    seeds = (1, 2) if quick else scenarios.SEEDS
    began = perf_counter()
    nothing, something = scenarios.without_data(seeds), scenarios.with_data(seeds)
    ranks = shapley.correlations(seeds)
    worst = max(share for by_rule in nothing.values() for share in by_rule.values())
    copies = max(ratio for name in ("duplicated", "tripled") for ratio in something[name].values())
    lowest = {name: min(found) for name, found in ranks.items()}
    return {
        "zero_data_share_max": nothing,
        "multiple_of_honest_pay": something,
        "blurred_copy_share": scenarios.blurred_copies(seeds),
        "honest_flagged": scenarios.flagged(seeds),
        "spearman": ranks,
        "within": {
            "zero_data": worst <= ZERO_DATA_MAX,
            "duplicates": copies <= DUPLICATES_MAX,
            "spearman": {name: one >= SPEARMAN_MIN for name, one in lowest.items()},
        },
        "seconds": round(perf_counter() - began, 1),
    }


def main() -> None:
    """Measure and print."""
    found = measure(quick="--quick" in sys.argv[1:])
    if "--json" in sys.argv[1:]:
        print(json.dumps(found))
        return
    for name, figures in found.items():
        print(f"{name}:")
        print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
