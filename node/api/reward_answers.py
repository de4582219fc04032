"""What the API answers about credits. One law: amounts are integers, exact in JSON."""

from __future__ import annotations

from node.api.answers import Answer


class TreasuryAnswer(Answer, frozen=True):
    """All credits, by where they are: minted - burned = balances + escrow + treasury."""

    minted: int
    burned: int
    treasury: int
    escrow: int
    """In pots and open stakes."""

    balances: int
    """Of all organisations together."""

    accounts: int


class AccountAnswer(Answer, frozen=True):
    """An organisation's credits."""

    organisation: str
    balance: int
    earned: int
    """Ever, by contributions."""

    reputation: int
    """0..1000000; moves a sixteenth of the way to the score of each paid round."""

    entries: int
    """Of its statement."""


class AccountsAnswer(Answer, frozen=True):
    """Accounts, ascending by organisation."""

    items: tuple[AccountAnswer, ...]
    next: str | None = None


class StatementEntryAnswer(Answer, frozen=True):
    """One movement of an organisation's credits."""

    number: int
    height: int
    kind: str
    """`issued`, `granted`, `earned`, `received` come in; `sent`, `funded`, `redeemed`, `slashed` go out."""

    amount: int
    subject: str
    memo: str
    balance: int
    """After it."""


class StatementAnswer(Answer, frozen=True):
    """A statement, newest first."""

    items: tuple[StatementEntryAnswer, ...]
    next: int | None = None


class PotAnswer(Answer, frozen=True):
    """What a task's rounds are paid from."""

    task: str
    escrow: int
    """Not staked yet; spread over the certified rounds to come."""

    funded: int
    paid: int
    returned: int
    """To the treasury."""


class EarningAnswer(Answer, frozen=True):
    """What one update earned, and why."""

    participant: str
    organisation: str
    cluster: str
    cluster_size: int
    information_micros: int
    """How many times as alike to the others as random directions what is new in it is; 1000000 is noise."""

    passed: bool
    score: int
    amount: int


class SettlementAnswer(Answer, frozen=True):
    """How a certified round's stake was divided."""

    task: str
    round: int
    stake: int
    paid: int
    returned: int
    earnings: tuple[EarningAnswer, ...]
    """One an update, ascending by participant."""
