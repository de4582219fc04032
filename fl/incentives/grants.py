"""Credits by vote: new ones, and those of the treasury. One law: what a quorum decided is limited by what there is."""

from __future__ import annotations

from fl.incentives import accounts
from fl.incentives.payments import require_organisation
from fl.incentives.records import SUPPLY_MAX, GrantCredits, IssueCredits
from fl.incentives.state import treasury_of
from ledger.application import BlockContext, Overlay, RefusalError, StateReader


def require_possible(state: StateReader, action: IssueCredits | GrantCredits) -> None:
    """Check that credits could be issued or granted as the state is.

    Raises:
        RefusalError: `reward.unknown_organisation`, `reward.accounts_full`, `reward.supply` or `reward.treasury`.
    """
    require_organisation(state, action.organisation)
    accounts.require_account(state, action.organisation)
    if isinstance(action, IssueCredits) and accounts.supply(state) + action.amount > SUPPLY_MAX:
        detail = f"there are {accounts.supply(state)} credits of at most {SUPPLY_MAX}, {action.amount} more do not fit"
        raise RefusalError("reward.supply", detail)
    found = treasury_of(state)
    held = 0 if found is None else found.treasury
    if isinstance(action, GrantCredits) and held < action.amount:
        raise RefusalError("reward.treasury", f"the treasury has {held} credits, {action.amount} are needed")


def enact(state: Overlay, context: BlockContext, action: IssueCredits | GrantCredits) -> None:
    """Issue or grant credits; it is possible."""
    if isinstance(action, IssueCredits):
        accounts.mint(state, action.amount)
        accounts.pay(state, context, action.organisation, action.amount, "issued", "", action.memo)
    else:
        accounts.pay(state, context, action.organisation, action.amount, "granted", "", action.memo)
