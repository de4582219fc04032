"""What is said about credits, and what the state keeps of them. One law: amounts are integers of at least 0.

A credit is a claim of an organisation on the consortium; what it is worth is agreed outside. All credits together are
at most `SUPPLY_MAX`, so that no sum overflows anywhere and every figure is exact in JSON.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from fl.incentives.matrix import PAID_UPDATES_MAX
from ledger.codec import Record
from ledger.fields import HeightField, NameField, Uint

SUPPLY_MAX: Final = 2**53 - 1
ACCOUNTS_MAX: Final = 1_024
MEMO_CHARACTERS_MAX: Final = 128

Amount = Annotated[int, Meta(ge=1, le=SUPPLY_MAX)]
Credits = Annotated[int, Meta(ge=0, le=SUPPLY_MAX)]
Memo = Annotated[str, Meta(max_length=MEMO_CHARACTERS_MAX)]

# Payloads of transactions


class RewardFunding(Record):
    """`reward.fund`: an officer puts its organisation's credits into a task's pot."""

    task: NameField
    amount: Amount


class RewardTransfer(Record):
    """`reward.transfer`: an officer hands its organisation's credits to another one."""

    to: NameField
    amount: Amount
    memo: Memo
    """What it is for, for both statements."""


class RewardRedemption(Record):
    """`reward.redeem`: an officer takes its organisation's credits off the chain: they were settled elsewhere."""

    amount: Amount
    memo: Memo


# Actions that are voted on


class IssueCredits(Record, frozen=True, tag="issue-credits"):
    """New credits for an organisation, such as for a budget that it has paid in."""

    organisation: NameField
    amount: Amount
    memo: Memo


class GrantCredits(Record, frozen=True, tag="grant-credits"):
    """Credits of the treasury for an organisation."""

    organisation: NameField
    amount: Amount
    memo: Memo


# Facts of the state


class Treasury(Record):
    """All credits that there are, by where they are."""

    minted: Uint
    """Ever issued."""

    burned: Uint
    """Ever redeemed."""

    treasury: Credits
    """What belongs to nobody: stakes for which nobody scored, what was slashed."""

    escrow: Credits
    """In all pots together, and staked in rounds that are not certified."""

    accounts: Annotated[tuple[NameField, ...], Meta(max_length=ACCOUNTS_MAX)]
    """Organisations that ever had credits, ascending."""


class Account(Record):
    """An organisation's credits."""

    organisation: NameField
    balance: Credits
    earned: Uint
    """Ever paid to it for contributions."""

    reputation: Uint
    """Moves a sixteenth of the way to the score of each paid round in which it takes part; at most 1,000,000."""

    entries: Uint
    """How many entries its statement has."""


EntryKind = Literal["issued", "granted", "earned", "received", "sent", "funded", "redeemed", "slashed"]


class StatementEntry(Record):
    """One movement of an organisation's credits."""

    number: Uint
    """1, 2, 3, ... for each organisation."""

    height: HeightField
    kind: EntryKind
    amount: Amount
    subject: Annotated[str, Meta(max_length=160)]
    """The other organisation, the task, or task/round."""

    memo: Memo
    balance: Credits
    """After it."""


class Pot(Record):
    """What a task's rounds are paid from."""

    task: NameField
    escrow: Credits
    """Not staked yet."""

    funded: Uint
    """Ever put in."""

    paid: Uint
    """Ever paid to organisations."""

    returned: Uint
    """Ever gone to the treasury."""


class RoundStake(Record):
    """What a closed round is paid with; fixed when it closes, and stays on record."""

    task: NameField
    round: Uint
    amount: Amount
    past: Annotated[int, Meta(ge=0, le=3)]
    """How many global updates its updates are held against."""


class Earning(Record):
    """What one update earned, and why."""

    participant: NameField
    organisation: NameField
    cluster: NameField
    """First participant of those with almost the same update; itself when nobody has."""

    cluster_size: Annotated[int, Meta(ge=1, le=PAID_UPDATES_MAX)]
    information_micros: Uint
    """How many times as alike to the others as random directions what is new in it is: 1,000,000 is noise, more
    than 4,000,000 passes."""

    score: Uint
    """At most 1,000,000."""

    amount: Credits


class Settlement(Record):
    """How a certified round's stake was divided."""

    task: NameField
    round: Uint
    stake: Amount
    paid: Credits
    returned: Credits
    """To the treasury: all of it when nobody scored."""

    earnings: Annotated[tuple[Earning, ...], Meta(max_length=PAID_UPDATES_MAX)]
    """One an update, ascending by participant."""
