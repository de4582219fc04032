"""Where execution asks the budgets. One law: who takes part in a round had it reserved when the round began.

A round begins with its first update. Then, for every enrolled site that has an account for the task's data set, what
the round costs is reserved if it fits. A site's update is accepted on its reservation alone, and charged at once, for
the validators hold its words from then on. When the round takes no more updates, what was not opened is released.
"""

from __future__ import annotations

from fl.membership.state import roster_of
from fl.policies.inputs import BudgetInput
from fl.policies.state import terms_of
from fl.privacy.account import Outlook, commit, fits, outlook, release, reserve, reserved
from fl.privacy.records import Mechanism, PrivacyAccount
from fl.privacy.state import account_of, accounts_of, write_account
from fl.records import RoundState, TaskSpec
from fl.state import present
from ledger.application import BlockContext, Overlay, RefusalError, StateReader
from ledger.receipt import Event


def require_budget(
    state: StateReader, context: BlockContext, spec: TaskSpec, current: RoundState, organisation: str
) -> None:
    """Check that a site's budget holds this round.

    Raises:
        RefusalError: `budget.exceeded` or `budget.not_reserved`.
    """
    found = _charged(state, spec, organisation)
    if found is None:
        return
    account, mechanism = found
    if reserved(account, current.task, current.number) is not None:
        return
    data_set, limits = account.budget.data_set, account.budget
    seen = outlook(account, current.task, current.number, mechanism, context.time_ms)
    if not fits(account, seen):
        detail = (
            f"with this round epsilon of {organisation} and {data_set} would be {seen.period_nanos} billionths in the "
            f"period and {seen.lifetime_nanos} in all; the limits are {limits.period_limit_nanos} and "
            f"{limits.lifetime_limit_nanos}"
        )
        raise RefusalError("budget.exceeded", detail)
    if current.participants:
        task, number = current.task, current.number
        detail = f"round {number} of {task} began without a reservation for {organisation} and {data_set}"
        raise RefusalError("budget.not_reserved", detail)


def begin(state: Overlay, context: BlockContext, spec: TaskSpec, current: RoundState) -> None:
    """Reserve what the round costs for every enrolled site whose budget holds it."""
    terms = terms_of(state, spec.id)
    if terms is None or not terms.data_set:
        return
    enrolled = {
        one.organisation for one in roster_of(state).people if not spec.participants or one.name in spec.participants
    }
    for name in accounts_of(state):
        if name.data_set == terms.data_set and name.organisation in enrolled:
            account = present(account_of(state, name.organisation, name.data_set), "an account that is listed")
            made = reserve(account, current.task, current.number, terms.mechanism, context.time_ms)
            if made is not None:
                write_account(state, made)


def open_update(state: Overlay, current: RoundState, organisation: str) -> tuple[Event, ...]:
    """Charge a site for a round: others can see its update from now on, whatever becomes of the round."""
    events = []
    for account in _holding(state, current):
        if account.budget.organisation == organisation:
            write_account(state, commit(account, current.task, current.number))
            subject = f"{organisation}/{account.budget.data_set}"
            events.append(Event("budget.charged", subject, f"{current.task}/{current.number}"))
    return tuple(events)


def end(state: Overlay, current: RoundState) -> None:
    """Give back what was reserved for a round that takes no more updates, and never opened."""
    for account in _holding(state, current):
        write_account(state, release(account, current.task, current.number))


def budget_input(
    state: StateReader, context: BlockContext, spec: TaskSpec, current: RoundState, organisation: str
) -> BudgetInput:
    """Return what policies see of a site's budget for the task's data set."""
    found = _charged(state, spec, organisation)
    if found is None:
        return BudgetInput(has_account=False)
    account, mechanism = found
    seen: Outlook = outlook(account, current.task, current.number, mechanism, context.time_ms)
    return BudgetInput(
        has_account=True,
        round_nanos=seen.round_nanos,
        period_nanos=seen.period_nanos,
        period_limit_nanos=account.budget.period_limit_nanos,
        lifetime_nanos=seen.lifetime_nanos,
        lifetime_limit_nanos=account.budget.lifetime_limit_nanos,
    )


def _charged(state: StateReader, spec: TaskSpec, organisation: str) -> tuple[PrivacyAccount, Mechanism] | None:
    terms = terms_of(state, spec.id)
    if terms is None or not terms.data_set:
        return None
    account = account_of(state, organisation, terms.data_set)
    return None if account is None else (account, terms.mechanism)


def _holding(state: StateReader, current: RoundState) -> list[PrivacyAccount]:
    """Return the accounts in which something is reserved for a round, whatever the task's terms say by now."""
    found = (account_of(state, name.organisation, name.data_set) for name in accounts_of(state))
    return [one for one in found if one is not None and reserved(one, current.task, current.number) is not None]
