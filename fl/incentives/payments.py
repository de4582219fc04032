"""Transactions that move credits. One law: only an officer moves its organisation's credits, and only those it has."""

from __future__ import annotations

import msgspec

from fl.incentives import accounts
from fl.incentives.matrix import PAID_UPDATES_MAX
from fl.incentives.pots import empty_pot
from fl.incentives.records import RewardFunding, RewardRedemption, RewardTransfer
from fl.incentives.state import pot_key, pot_of
from fl.membership.state import roster_of
from fl.records import Participant
from fl.state import task_of, write
from ledger.application import BlockContext, Overlay, RefusalError, StateReader
from ledger.receipt import Event


def fund(state: Overlay, context: BlockContext, officer: Participant, funding: RewardFunding) -> tuple[Event, ...]:
    """Put credits into a task's pot.

    Raises:
        RefusalError: `reward.not_officer`, `reward.unknown_task`, `reward.not_active`, `reward.too_many_updates` or
            `reward.balance`.
    """
    _require_officer(officer)
    task = task_of(state, funding.task)
    if task is None:
        raise RefusalError("reward.unknown_task", f"there is no task named {funding.task}")
    if task.status != "active":
        raise RefusalError("reward.not_active", f"task {funding.task} is {task.status}")
    if task.spec.updates_max > PAID_UPDATES_MAX:
        most = task.spec.updates_max
        detail = f"rounds of {most} updates cannot be paid for, of {PAID_UPDATES_MAX} at most"
        raise RefusalError("reward.too_many_updates", detail)
    accounts.require_balance(state, officer.organisation, funding.amount)
    accounts.take(state, context, officer.organisation, funding.amount, "funded", funding.task)
    accounts.lock(state, funding.amount)
    pot = pot_of(state, funding.task) or empty_pot(funding.task)
    grown = msgspec.structs.replace(pot, escrow=pot.escrow + funding.amount, funded=pot.funded + funding.amount)
    write(state, pot_key(funding.task), grown)
    return (Event("reward.funded", funding.task, f"{funding.amount} credits by {officer.organisation}"),)


def transfer(state: Overlay, context: BlockContext, officer: Participant, said: RewardTransfer) -> tuple[Event, ...]:
    """Hand credits to another organisation.

    Raises:
        RefusalError: `reward.not_officer`, `reward.self`, `reward.unknown_organisation`, `reward.balance` or
            `reward.accounts_full`.
    """
    _require_officer(officer)
    sender = officer.organisation
    if said.to == sender:
        raise RefusalError("reward.self", f"{sender} cannot hand credits to itself")
    require_organisation(state, said.to)
    accounts.require_balance(state, sender, said.amount)
    accounts.require_account(state, said.to)
    accounts.take(state, context, sender, said.amount, "sent", said.to, said.memo)
    accounts.pay(state, context, said.to, said.amount, "received", sender, said.memo)
    return (Event("reward.transferred", said.to, f"{said.amount} credits from {sender}"),)


def redeem(state: Overlay, context: BlockContext, officer: Participant, said: RewardRedemption) -> tuple[Event, ...]:
    """Take credits off the chain.

    Raises:
        RefusalError: `reward.not_officer` or `reward.balance`.
    """
    _require_officer(officer)
    accounts.require_balance(state, officer.organisation, said.amount)
    accounts.take(state, context, officer.organisation, said.amount, "redeemed", "", said.memo)
    accounts.burn(state, said.amount)
    return (Event("reward.redeemed", officer.organisation, f"{said.amount} credits"),)


def require_organisation(state: StateReader, name: str) -> None:
    """Check that somebody is registered for an organisation.

    Raises:
        RefusalError: `reward.unknown_organisation`.
    """
    if not any(person.organisation == name for person in roster_of(state).people):
        raise RefusalError("reward.unknown_organisation", f"nobody is registered for {name}")


def _require_officer(officer: Participant) -> None:
    if "officer" not in officer.roles:
        raise RefusalError("reward.not_officer", f"an officer was needed, got {officer.name} of {officer.organisation}")
