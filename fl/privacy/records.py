"""What is said about privacy budgets, and what the state keeps of them. One law: what was spent is never made less."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from fl.privacy.epsilon import DELTA_DIGITS_MAX, DELTA_DIGITS_MIN
from fl.privacy.renyi import MICRO, NANOS_MAX, ORDERS, STEPS_MAX
from fl.records import TASKS_ACTIVE_MAX
from ledger.codec import Record
from ledger.fields import NameField, Uint

PERIOD_MS_MAX: Final = 100 * 366 * 86_400_000
NOISE_MICROS_MAX: Final = 1_000_000_000

Nanos: TypeAlias = Annotated[int, Meta(ge=0, le=NANOS_MAX)]
Limit: TypeAlias = Annotated[int, Meta(ge=0, le=NANOS_MAX - 1)]
"""What has no bound exceeds every limit."""

Period: TypeAlias = Annotated[int, Meta(ge=0, le=PERIOD_MS_MAX)]
DeltaDigits: TypeAlias = Annotated[int, Meta(ge=DELTA_DIGITS_MIN, le=DELTA_DIGITS_MAX)]
CostsField: TypeAlias = Annotated[tuple[Nanos, ...], Meta(min_length=len(ORDERS), max_length=len(ORDERS))]


class Mechanism(Record):
    """How a site trains in one round, as a quorum agreed for the task."""

    noise_micros: Annotated[int, Meta(ge=0, le=NOISE_MICROS_MAX)]
    """Standard deviation of the noise over the clipping bound, in millionths; 0 for none."""

    sampling_micros: Annotated[int, Meta(ge=0, le=MICRO)]
    """With which probability an example takes part in a step, in millionths; 1,000,000 when all do."""

    steps: Annotated[int, Meta(ge=0, le=STEPS_MAX)]
    """Noisy steps in a round; 1 for noise that is added to the update itself."""


# Actions and payloads of transactions


class SetBudget(Record, frozen=True, tag="set-budget"):
    """A site gets a privacy budget for a data set, or another one; what was spent stays spent."""

    organisation: NameField
    data_set: NameField
    period_ms: Period
    """Length of a period of block time; 0 for one that never ends."""

    period_limit_nanos: Limit
    """Largest epsilon of one period, in billionths."""

    lifetime_limit_nanos: Limit
    """Largest epsilon of all time, in billionths."""

    delta_digits: DeltaDigits
    """Epsilon is at delta = 10^-delta_digits."""


class TightenBudget(Record):
    """`budget.tighten`: an officer lowers a limit of its own institution, at once and without a vote."""

    data_set: NameField
    period_limit_nanos: Limit
    lifetime_limit_nanos: Limit


# Facts of the state


class Reservation(Record):
    """What a round that has begun may still cost a site."""

    task: NameField
    round: Uint
    period: Uint
    """In which it began."""

    mechanism: Mechanism


class PrivacyAccount(Record):
    """A site's budget for a data set, and what of it is gone."""

    budget: SetBudget
    """Its limits as they are now."""

    period: Uint
    """Number of the period that `spent_period` is of."""

    spent_period: CostsField
    """Of that period, at each Rényi order."""

    spent_lifetime: CostsField
    """Of all time."""

    opened: Uint
    """How many updates were opened."""

    reservations: Annotated[tuple[Reservation, ...], Meta(max_length=TASKS_ACTIVE_MAX)]
    """One a round at most; in the order in which they were made."""


class PrivacyAccountName(Record):
    """Which account."""

    organisation: NameField
    data_set: NameField


ACCOUNTS_MAX: Final = 4_096


class PrivacyAccounts(Record):
    """All accounts that there are."""

    names: Annotated[tuple[PrivacyAccountName, ...], Meta(max_length=ACCOUNTS_MAX)]
    """Ascending by organisation and data set."""
