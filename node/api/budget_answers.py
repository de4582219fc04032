"""What the API says of privacy budgets. One law: beside each figure stands who answers for it."""

from __future__ import annotations

from typing import Final

from node.api.answers import Answer

ENFORCED: Final = (
    "who took part in which round",
    "that what a round costs was reserved before it began and charged once an update was opened",
    "the sums, and that they stay within the limits",
    "the bound of an update's length, if the task has one",
)
ATTESTED: Final = (
    "that the site added the agreed noise",
    "that it drew its examples with the agreed probability, in secret",
    "how many steps it took",
    "how many examples it has",
)


class ReservationItem(Answer, frozen=True):
    """What a round that has begun may still cost."""

    task: str
    round: int
    epsilon_nanos: int
    """Of that round alone, in billionths."""


class BudgetItem(Answer, frozen=True):
    """A site's privacy budget for a data set; epsilons in billionths, at delta = 10^-delta_digits."""

    organisation: str
    data_set: str
    delta_digits: int
    period_ms: int
    """0 for one period that never ends."""

    period: int
    """Number of the period that `period_nanos` is of."""

    period_nanos: int
    """What was spent in that period, by rounds that were opened."""

    period_limit_nanos: int
    lifetime_nanos: int
    """What was spent in all."""

    lifetime_limit_nanos: int
    opened: int
    """How many updates were opened."""

    reservations: tuple[ReservationItem, ...]
    enforced: tuple[str, ...] = ENFORCED
    """What of these figures every validator checks."""

    attested: tuple[str, ...] = ATTESTED
    """What they rest on that the site has signed and nobody else can check."""


class BudgetsAnswer(Answer, frozen=True):
    """Privacy budgets, ascending by organisation and data set."""

    items: tuple[BudgetItem, ...]
    next: str | None = None
    """Value of `after` for the next page; none after the last."""


class BudgetAnswer(Answer, frozen=True):
    """Limits that are voted on."""

    organisation: str
    data_set: str
    delta_digits: int
    period_ms: int
    period_limit_nanos: int
    lifetime_limit_nanos: int
