"""Setting budgets by vote, and tightening them alone. One law: only a quorum raises what a site may lose."""

from __future__ import annotations

import msgspec

from fl.membership.state import roster_of
from fl.privacy.account import opened_account, rebudgeted
from fl.privacy.records import ACCOUNTS_MAX, PrivacyAccountName, PrivacyAccounts, SetBudget, TightenBudget
from fl.privacy.state import ACCOUNTS_KEY, account_of, accounts_of, write_account
from fl.records import Participant
from fl.state import write
from ledger.application import BlockContext, Overlay, RefusalError, StateReader
from ledger.receipt import Event


def changes_nothing(state: StateReader, action: SetBudget) -> bool:
    """Tell whether the site has exactly this budget."""
    account = account_of(state, action.organisation, action.data_set)
    return account is not None and account.budget == action


def require_possible(state: StateReader, action: SetBudget) -> None:
    """Check that a budget can be set.

    Raises:
        RefusalError: `budget.unknown_site` or `budget.too_many`.
    """
    if all(one.organisation != action.organisation for one in roster_of(state).people):
        raise RefusalError("budget.unknown_site", f"nobody is registered for {action.organisation}")
    known = accounts_of(state)
    if PrivacyAccountName(action.organisation, action.data_set) not in known and len(known) >= ACCOUNTS_MAX:
        raise RefusalError("budget.too_many", f"at most {ACCOUNTS_MAX} budgets are kept")


def enact(state: Overlay, context: BlockContext, action: SetBudget) -> None:
    """Set a budget; what was spent stays spent."""
    account = account_of(state, action.organisation, action.data_set)
    if account is None:
        names = {*accounts_of(state), PrivacyAccountName(action.organisation, action.data_set)}
        ordered = sorted(names, key=lambda one: (one.organisation, one.data_set))
        write(state, ACCOUNTS_KEY, PrivacyAccounts(tuple(ordered)))
        write_account(state, opened_account(action))
        return
    write_account(state, rebudgeted(account, action, context.time_ms))


def tighten(state: Overlay, officer: Participant, said: TightenBudget) -> tuple[Event, ...]:
    """Lower limits of the officer's own institution.

    Raises:
        RefusalError: `budget.not_officer`, `budget.unknown` or `budget.not_tighter`.
    """
    house = officer.organisation
    if "officer" not in officer.roles:
        raise RefusalError("budget.not_officer", f"an officer was needed, got {officer.name} of {house}")
    account = account_of(state, house, said.data_set)
    if account is None:
        raise RefusalError("budget.unknown", f"{house} has no budget for {said.data_set}")
    before = account.budget
    period, lifetime = said.period_limit_nanos, said.lifetime_limit_nanos
    if period > before.period_limit_nanos or lifetime > before.lifetime_limit_nanos:
        detail = (
            f"the limits are {before.period_limit_nanos} and {before.lifetime_limit_nanos} billionths, "
            f"a site alone can only lower them, got {period} and {lifetime}"
        )
        raise RefusalError("budget.not_tighter", detail)
    budget = msgspec.structs.replace(before, period_limit_nanos=period, lifetime_limit_nanos=lifetime)
    write_account(state, msgspec.structs.replace(account, budget=budget))
    return (Event("budget.tightened", f"{house}/{said.data_set}", f"by {officer.name}"),)
