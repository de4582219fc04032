"""What a proven lie costs. One law: only what an organisation's own signatures prove, never for not being selected."""

from __future__ import annotations

from typing import Final

from fl.incentives import accounts
from fl.incentives.state import account_of, treasury_of
from ledger.application import BlockContext, Overlay
from ledger.receipt import Event

SLASHED_PERMILLE: Final = 100
"""Part of an organisation's balance that goes to the treasury when its validator is suspended for an offence."""


def slash(state: Overlay, context: BlockContext, organisation: str, offence: str) -> tuple[Event, ...]:
    """Take a tenth of an organisation's credits and all of its reputation; nothing when it never had any."""
    found = treasury_of(state)
    if found is None or organisation not in found.accounts:
        return ()
    amount = account_of(state, organisation).balance * SLASHED_PERMILLE // 1_000
    if amount:
        accounts.take(state, context, organisation, amount, "slashed", offence)
    accounts.set_reputation(state, organisation, 0)
    return (Event("reward.slashed", organisation, f"{amount} credits: {offence}"),)
