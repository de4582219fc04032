"""The only place where credits move. One law: minted - burned = all balances + all escrow + the treasury, always.

A move takes from one place and puts into another; `mint` and `burn` are the only ones that change the supply. Each move
of an organisation's credits is an entry of its statement.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fl.incentives.records import ACCOUNTS_MAX, SUPPLY_MAX, Account, EntryKind, StatementEntry, Treasury
from fl.incentives.state import TREASURY_KEY, account_key, account_of, entry_key, treasury_of
from fl.state import write
from ledger.application import BlockContext, Overlay, RefusalError, StateReader

_NOTHING: Final = Treasury(0, 0, 0, 0, ())


def supply(state: StateReader) -> int:
    """Return how many credits there are."""
    found = treasury_of(state) or _NOTHING
    return found.minted - found.burned


def require_balance(state: StateReader, organisation: str, amount: int) -> None:
    """Check that an organisation has so many credits.

    Raises:
        RefusalError: `reward.balance`.
    """
    balance = account_of(state, organisation).balance
    if balance < amount:
        raise RefusalError("reward.balance", f"{organisation} has {balance} credits, {amount} are needed")


def require_account(state: StateReader, organisation: str) -> None:
    """Check that an organisation has an account or can get one.

    Raises:
        RefusalError: `reward.accounts_full`.
    """
    if not may_have_account(state, organisation):
        raise RefusalError(
            "reward.accounts_full", f"{ACCOUNTS_MAX} organisations have accounts, as many as there can be"
        )


def may_have_account(state: StateReader, organisation: str) -> bool:
    """Tell whether an organisation has an account or can get one."""
    known = (treasury_of(state) or _NOTHING).accounts
    return organisation in known or len(known) < ACCOUNTS_MAX


def mint(state: Overlay, amount: int) -> None:
    """Make credits in the treasury; there is room for them."""
    assert supply(state) + amount <= SUPPLY_MAX, "that was required"
    _change(state, minted=amount, treasury=amount)


def burn(state: Overlay, amount: int) -> None:
    """Take credits of the treasury out of the world."""
    _change(state, burned=amount, treasury=-amount)


def pay(
    state: Overlay, context: BlockContext, organisation: str, amount: int, kind: EntryKind, subject: str, memo: str = ""
) -> None:
    """Move credits from the treasury to an organisation."""
    _change(state, treasury=-amount)
    account = account_of(state, organisation)
    earned = account.earned + (amount if kind == "earned" else 0)
    _enter(state, context, account, account.balance + amount, kind, subject, memo, earned=earned)


def take(
    state: Overlay, context: BlockContext, organisation: str, amount: int, kind: EntryKind, subject: str, memo: str = ""
) -> None:
    """Move credits from an organisation, which has them, to the treasury."""
    account = account_of(state, organisation)
    assert account.balance >= amount, "that was required"
    _enter(state, context, account, account.balance - amount, kind, subject, memo, earned=account.earned)
    _change(state, treasury=amount)


def lock(state: Overlay, amount: int) -> None:
    """Move credits from the treasury into escrow."""
    _change(state, treasury=-amount, escrow=amount)


def release(state: Overlay, amount: int) -> None:
    """Move credits out of escrow into the treasury."""
    _change(state, treasury=amount, escrow=-amount)


def set_reputation(state: Overlay, organisation: str, reputation: int) -> None:
    """Write an organisation's reputation; it gets an account if it has none."""
    account = account_of(state, organisation)
    _know(state, organisation)
    write(state, account_key(organisation), msgspec.structs.replace(account, reputation=reputation))


def is_conserved(state: StateReader) -> bool:
    """Tell whether all credits are somewhere, once, and nobody has less than none."""
    found = treasury_of(state) or _NOTHING
    balances = [account_of(state, name).balance for name in found.accounts]
    everything = sum(balances) + found.escrow + found.treasury
    return found.minted - found.burned == everything and min((*balances, found.escrow, found.treasury)) >= 0


def _enter(
    state: Overlay,
    context: BlockContext,
    account: Account,
    balance: int,
    kind: EntryKind,
    subject: str,
    memo: str,
    *,
    earned: int,
) -> None:
    name, number, amount = account.organisation, account.entries + 1, abs(balance - account.balance)
    _know(state, name)
    entry = StatementEntry(number, context.height, kind, amount, subject, memo, balance)
    write(state, entry_key(name, number), entry)
    write(state, account_key(name), msgspec.structs.replace(account, balance=balance, earned=earned, entries=number))


def _know(state: Overlay, organisation: str) -> None:
    found = treasury_of(state) or _NOTHING
    if organisation not in found.accounts:
        known = tuple(sorted((*found.accounts, organisation)))
        write(state, TREASURY_KEY, msgspec.structs.replace(found, accounts=known))


def _change(state: Overlay, *, minted: int = 0, burned: int = 0, treasury: int = 0, escrow: int = 0) -> None:
    found = treasury_of(state) or _NOTHING
    changed = Treasury(
        found.minted + minted,
        found.burned + burned,
        found.treasury + treasury,
        found.escrow + escrow,
        found.accounts,
    )
    assert min(changed.treasury, changed.escrow) >= 0, "nobody takes what is not there"
    write(state, TREASURY_KEY, changed)
