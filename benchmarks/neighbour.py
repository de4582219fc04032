"""A program that takes a share of one processor and does nothing with it.

python -m benchmarks.neighbour SHARE
"""

from __future__ import annotations

import sys
import time
from typing import Final

PERIOD_SECONDS: Final = 0.02
"""In each it spins for its share and leaves the rest, as an attacker does that waits for its sockets now and then."""


def main(share: float) -> None:
    """Spin for `share` of every period, until somebody ends it."""
    while True:
        ends, spent = time.monotonic() + PERIOD_SECONDS, time.process_time()
        while time.process_time() - spent < share * PERIOD_SECONDS:
            pass
        time.sleep(max(0.0, ends - time.monotonic()))  # the part of the period that it does not take


if __name__ == "__main__":
    main(float(sys.argv[1]))
