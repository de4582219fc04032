"""A consortium with credits: who issues, funds and learns. One law: everything goes through blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fl.incentives.accounts import is_conserved
from fl.incentives.records import Account, GrantCredits, IssueCredits, Pot, RewardFunding, Settlement
from fl.incentives.state import account_of, pot_of, settlement_of, stake_of, treasury_of
from fl.membership.records import Approval, Proposal
from fl.membership.state import docket_of, proposal_of
from fl.records import RoundState
from fl.state import present
from ledger.receipt import Receipt
from tests.fl.consortium import NAMES, Consortium

ALIKE = np.array([900, 800, -700, 10, 20, 30, 40, 50], np.int16)


def decide(chain: Consortium, action: IssueCredits | GrantCredits) -> str:
    """Let a quorum vote for an action; return what became of it."""
    number = docket_of(chain.state).next
    receipt = chain.say(NAMES[0], "governance.propose", Proposal(action))
    if receipt.code != "ok":
        return receipt.code
    digest = present(proposal_of(chain.state, number), "a proposal").digest
    for name in NAMES[1:3]:
        chain.say(name, "governance.approve", Approval(number, digest))
    return present(proposal_of(chain.state, number), "a proposal").status


def issue(chain: Consortium, organisation: str, amount: int) -> str:
    """Let a quorum issue credits."""
    return decide(chain, IssueCredits(organisation, amount, "a budget"))


def funded(chain: Consortium, amount: int, organisation: str = NAMES[0]) -> Receipt:
    """Issue credits to an organisation, which puts them all into the pot."""
    assert issue(chain, organisation, amount) == "enacted"
    return chain.say(organisation, "reward.fund", RewardFunding("heart", amount))


def rows_like(*changes: tuple[int, int]) -> NDArray[np.int16]:
    """Return four updates that say about the same, each with something of its own."""
    random = np.random.default_rng(3)
    rows = np.stack([ALIKE + random.integers(-300, 300, len(ALIKE)) for _ in NAMES]).astype(np.int16)
    for row, factor in changes:
        rows[row] = np.clip(rows[row].astype(np.int32) * factor, -8191, 8191)
    return rows


def learn(chain: Consortium, rows: NDArray[np.int16]) -> Receipt:
    """Let everybody submit, and certify the result."""
    chain.fill_round(rows)
    return chain.certify(chain.claim(chain.compute()))


def account(chain: Consortium, organisation: str) -> Account:
    """Return an organisation's account."""
    return account_of(chain.state, organisation)


def pot(chain: Consortium) -> Pot:
    """Return the task's pot."""
    return present(pot_of(chain.state, "heart"), "the pot")


def settlement(chain: Consortium, number: int) -> Settlement:
    """Return how a round was paid."""
    return present(settlement_of(chain.state, "heart", number), "a settlement")


def everything(chain: Consortium, rounds: list[RoundState]) -> tuple[int, int]:
    """Return (minted - burned, what is found everywhere) by adding up pots and open stakes."""
    found = present(treasury_of(chain.state), "the treasury")
    assert is_conserved(chain.state)
    staked = [stake_of(chain.state, one.task, one.number) for one in rounds if one.status == "closed"]
    escrow = pot(chain).escrow + sum(one.amount for one in staked if one is not None)
    balances = sum(account_of(chain.state, name).balance for name in found.accounts)
    assert escrow == found.escrow
    return found.minted - found.burned, balances + escrow + found.treasury
