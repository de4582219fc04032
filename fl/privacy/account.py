"""The arithmetic of one account. One law: spent and reserved together stay within both limits.

Functions of values: an account goes in, another comes out, and nothing else is read. A limit that a vote or the site
itself lowers below what is spent already leaves that as it is; then nothing more can be reserved.
"""

from __future__ import annotations

from functools import reduce
from typing import Final, NamedTuple

import msgspec

from fl.privacy.epsilon import epsilon_nanos
from fl.privacy.records import Mechanism, PrivacyAccount, Reservation, SetBudget
from fl.privacy.renyi import NOTHING, Costs, added, gaussian_costs

_ALWAYS: Final = 0


class Outlook(NamedTuple):
    """What a site's losses would be at most, with all that is reserved and one round more; billionths."""

    round_nanos: int
    """Of that round alone."""

    period_nanos: int
    lifetime_nanos: int


def opened_account(budget: SetBudget) -> PrivacyAccount:
    """Return an account of which nothing is spent."""
    return PrivacyAccount(budget, 0, NOTHING, NOTHING, 0, ())


def costs_of(mechanism: Mechanism) -> Costs:
    """Return what a round by this mechanism costs at each order."""
    return gaussian_costs(mechanism.noise_micros, mechanism.sampling_micros, mechanism.steps)


def period_at(budget: SetBudget, time_ms: int) -> int:
    """Return the number of the period that a time is in."""
    return time_ms // budget.period_ms if budget.period_ms else _ALWAYS


def outlook(account: PrivacyAccount, task: str, number: int, mechanism: Mechanism, time_ms: int) -> Outlook:
    """Return what the losses would be if this round were charged and all others that are reserved as well."""
    period, digits, own = period_at(account.budget, time_ms), account.budget.delta_digits, costs_of(mechanism)
    others = [one for one in account.reservations if (one.task, one.round) != (task, number)]
    spent = account.spent_period if account.period == period else NOTHING
    in_period = [costs_of(one.mechanism) for one in others if one.period == period]
    in_all = [costs_of(one.mechanism) for one in others]
    return Outlook(
        epsilon_nanos(own, digits),
        epsilon_nanos(reduce(added, in_period, added(spent, own)), digits),
        epsilon_nanos(reduce(added, in_all, added(account.spent_lifetime, own)), digits),
    )


def fits(account: PrivacyAccount, seen: Outlook) -> bool:
    """Tell whether losses are within both limits."""
    budget = account.budget
    return seen.period_nanos <= budget.period_limit_nanos and seen.lifetime_nanos <= budget.lifetime_limit_nanos


def reserved(account: PrivacyAccount, task: str, number: int) -> Reservation | None:
    """Return what is reserved for a round."""
    return next((one for one in account.reservations if (one.task, one.round) == (task, number)), None)


def reserve(
    account: PrivacyAccount, task: str, number: int, mechanism: Mechanism, time_ms: int
) -> PrivacyAccount | None:
    """Set aside what a round may cost; None when it does not fit; nothing changes when it is set aside already."""
    if reserved(account, task, number) is not None:
        return account
    if not fits(account, outlook(account, task, number, mechanism, time_ms)):
        return None
    made = Reservation(task, number, period_at(account.budget, time_ms), mechanism)
    return msgspec.structs.replace(account, reservations=(*account.reservations, made))


def commit(account: PrivacyAccount, task: str, number: int) -> PrivacyAccount:
    """Charge what was reserved for a round: the site's update is opened, for good."""
    made = reserved(account, task, number)
    assert made is not None, "what is opened was reserved"
    costs = costs_of(made.mechanism)
    period, spent = account.period, account.spent_period
    if made.period > period:
        period, spent = made.period, NOTHING
    return msgspec.structs.replace(
        release(account, task, number),
        period=period,
        spent_period=added(spent, costs) if made.period == period else spent,
        spent_lifetime=added(account.spent_lifetime, costs),
        opened=account.opened + 1,
    )


def release(account: PrivacyAccount, task: str, number: int) -> PrivacyAccount:
    """Give back what was reserved for a round and never opened; nothing is given back once it was."""
    left = tuple(one for one in account.reservations if (one.task, one.round) != (task, number))
    return msgspec.structs.replace(account, reservations=left)


def rebudgeted(account: PrivacyAccount, budget: SetBudget, time_ms: int) -> PrivacyAccount:
    """Return the account with other limits.

    With periods of another length the present one begins with all that was ever spent, and holds all that is reserved:
    numbers of periods of different lengths cannot be compared, and a vote on a length is no vote to forget.
    """
    if budget.period_ms == account.budget.period_ms:
        return msgspec.structs.replace(account, budget=budget)
    period = period_at(budget, time_ms)
    moved = tuple(msgspec.structs.replace(one, period=period) for one in account.reservations)
    return msgspec.structs.replace(
        account, budget=budget, period=period, spent_period=account.spent_lifetime, reservations=moved
    )
