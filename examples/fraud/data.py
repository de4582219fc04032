"""A simulator of payments at four banks. One law: every payment follows from the seed, the bank and its place alone.

Its shape is that of Swift's experiment with federated learning of 2025: every bank knows the fraud it was hit by, the
next one hits everybody. The signals are invented, and no real payment is behind them.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

BANKS: Final = ("alder-bank", "birch-bank", "cedar-bank", "damson-bank")
SIGNALS: Final = (
    *("amount", "new_beneficiary", "night"),
    *("received_and_sent_on", "senders_today", "account_is_young"),
    *("payments_last_hour", "amount_is_tiny", "cards_tried"),
    *("device_is_new", "password_reset", "far_from_home"),
    *("name_differs", "invoice_changed", "cross_border"),
)
"""What is known of a payment, in standard deviations from what is usual; the first `COMMON` matter in every pattern."""

COMMON: Final = 3
OWN: Final = 3
PATTERNS: Final = ("mule accounts", "card testing", "account takeover", "invoice redirection")
COMMON_SHIFT: Final = 1.2
OWN_SHIFT: Final = 3.0
STEPS: Final = (1.0, 2.0)
"""Besides its value a signal tells whether it is above these."""

FEATURES: Final = len(SIGNALS) * (1 + len(STEPS))
SEED: Final = 2025
TRAIN: Final = 12_000
TEST: Final = 12_000
FRAUD_PERCENT: Final = 4
BANK_SPREAD: Final = 0.1
"""How far the usual differs between banks."""

_TRAIN_STREAM, _TEST_STREAM = 0, 1


@dataclass(frozen=True, slots=True)
class Payments:
    """Payments as numbers."""

    features: NDArray[np.float64]
    """Shape (n, FEATURES)."""

    labels: NDArray[np.float64]
    """Shape (n,): 1 for fraud."""

    patterns: NDArray[np.int64]
    """Shape (n,): which of `PATTERNS`; -1 for honest payments."""

    def __len__(self) -> int:
        return len(self.labels)


def load_bank(bank: int, seed: int = SEED) -> Payments:
    """Return what a bank trains on: its own customers' payments, with one pattern of fraud."""
    return _simulate(np.random.RandomState([seed, bank, _TRAIN_STREAM]), seed, bank, TRAIN, (bank,))


def load_test(seed: int = SEED) -> Payments:
    """Return what models are judged on: payments of all banks, each of which is hit by all four patterns."""
    everyone = tuple(range(len(PATTERNS)))
    parts = [
        _simulate(np.random.RandomState([seed, bank, _TEST_STREAM]), seed, bank, TEST // len(BANKS), everyone)
        for bank in range(len(BANKS))
    ]
    return together(parts)


def together(parts: list[Payments]) -> Payments:
    """Put payments of several banks in one, which real banks may not do."""
    return Payments(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.patterns for part in parts]),
    )


def _simulate(random: np.random.RandomState, seed: int, bank: int, count: int, patterns: tuple[int, ...]) -> Payments:
    """Draw payments; RandomState's streams are frozen, so they are the same under every numpy."""
    usual = np.random.RandomState([seed, bank]).normal(0.0, BANK_SPREAD, len(SIGNALS))
    signals = random.normal(0.0, 1.0, (count, len(SIGNALS))) + usual
    frauds = count * FRAUD_PERCENT // 100
    which = np.full(count, -1, np.int64)
    which[:frauds] = np.resize(np.array(patterns), frauds)
    for pattern in patterns:
        own = COMMON + pattern * OWN
        signals[which == pattern, :COMMON] += COMMON_SHIFT
        signals[which == pattern, own : own + OWN] += OWN_SHIFT
    features = np.concatenate([signals, *(signals > step for step in STEPS)], axis=1)
    return Payments(features, (which >= 0).astype(np.float64), which)
