"""State keys of privacy budgets and typed access to them. One law: where no budget was set, there is nothing here."""

from __future__ import annotations

from typing import Final

from fl.privacy.records import PrivacyAccount, PrivacyAccountName, PrivacyAccounts
from fl.state import decoded, write
from ledger.application import Overlay, StateReader

ACCOUNTS_KEY: Final = b"fl/privacy-accounts"
ACCOUNT_PREFIX: Final = b"fl/privacy-account/"


def account_key(organisation: str, data_set: str) -> bytes:
    """State key of a site's account for a data set."""
    return ACCOUNT_PREFIX + organisation.encode() + b"/" + data_set.encode()


def account_of(state: StateReader, organisation: str, data_set: str) -> PrivacyAccount | None:
    """Return a site's account for a data set."""
    value = state.get(account_key(organisation, data_set))
    return None if value is None else decoded(value, PrivacyAccount)


def accounts_of(state: StateReader) -> tuple[PrivacyAccountName, ...]:
    """Return which accounts there are, ascending."""
    value = state.get(ACCOUNTS_KEY)
    return () if value is None else decoded(value, PrivacyAccounts).names


def write_account(state: Overlay, account: PrivacyAccount) -> None:
    """Store an account."""
    write(state, account_key(account.budget.organisation, account.budget.data_set), account)
