"""Keys of the state of credits and typed access to it. One law: a key is made here and nowhere else."""

from __future__ import annotations

from typing import Final

from fl.incentives.records import Account, Pot, RoundStake, Settlement, StatementEntry, Treasury
from fl.state import decoded, numbered
from ledger.application import StateReader

TREASURY_KEY: Final = b"fl/reward/treasury"
ACCOUNT_PREFIX: Final = b"fl/reward/account/"
POT_PREFIX: Final = b"fl/reward/pot/"


def account_key(organisation: str) -> bytes:
    """State key of an organisation's account."""
    return ACCOUNT_PREFIX + organisation.encode()


def entries_prefix(organisation: str) -> bytes:
    """What the state keys of an organisation's statement begin with."""
    return b"fl/reward/entry/" + organisation.encode() + b"/"


def entry_key(organisation: str, number: int) -> bytes:
    """State key of an entry of an organisation's statement."""
    return entries_prefix(organisation) + numbered(number)


def pot_key(task: str) -> bytes:
    """State key of a task's pot."""
    return POT_PREFIX + task.encode()


def stake_key(task: str, number: int) -> bytes:
    """State key of what a round is paid with."""
    return b"fl/reward/stake/" + task.encode() + b"/" + numbered(number)


def settlements_prefix(task: str) -> bytes:
    """What the state keys of a task's settlements begin with."""
    return b"fl/reward/settlement/" + task.encode() + b"/"


def settlement_key(task: str, number: int) -> bytes:
    """State key of how a round's stake was divided."""
    return settlements_prefix(task) + numbered(number)


def treasury_of(state: StateReader) -> Treasury | None:
    """Return all credits; None while none were ever issued."""
    value = state.get(TREASURY_KEY)
    return None if value is None else decoded(value, Treasury)


def account_of(state: StateReader, organisation: str) -> Account:
    """Return an organisation's account; an empty one when it never had credits."""
    value = state.get(account_key(organisation))
    return Account(organisation, 0, 0, 0, 0) if value is None else decoded(value, Account)


def entry_of(state: StateReader, organisation: str, number: int) -> StatementEntry | None:
    """Return an entry of an organisation's statement."""
    value = state.get(entry_key(organisation, number))
    return None if value is None else decoded(value, StatementEntry)


def pot_of(state: StateReader, task: str) -> Pot | None:
    """Return a task's pot; None when nobody ever funded it."""
    value = state.get(pot_key(task))
    return None if value is None else decoded(value, Pot)


def stake_of(state: StateReader, task: str, number: int) -> RoundStake | None:
    """Return what a round is paid with; None when it is not paid for."""
    value = state.get(stake_key(task, number))
    return None if value is None else decoded(value, RoundStake)


def settlement_of(state: StateReader, task: str, number: int) -> Settlement | None:
    """Return how a round's stake was divided; None when it was not."""
    value = state.get(settlement_key(task, number))
    return None if value is None else decoded(value, Settlement)
