"""The page's second implementation counts credits, scores and shares as the first does, block by block."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from fl.aggregators import RuleSpec
from fl.incentives.matrix import shortest
from fl.incentives.records import (
    SUPPLY_MAX,
    GrantCredits,
    IssueCredits,
    RewardFunding,
    RewardRedemption,
    RewardTransfer,
)
from fl.incentives.state import TREASURY_KEY, account_of, settlement_of, treasury_of
from fl.membership.records import EvidenceReport, Proposal
from fl.membership.state import register
from fl.records import Participant
from fl.state import present
from ledger.application import Overlay
from ledger.codec import Record, encode
from ledger.execution import Execution
from ledger.transaction import decode_transaction
from tests.fl.consortium import NAMES, Consortium, key_of, task_spec
from tests.fl.paying import decide, funded, issue, learn, rows_like
from tests.project.protocol_execution import execute, recompute
from tests.project.protocol_incentives import bytes_of
from tests.project.protocol_records import decode
from tests.project.protocol_records import encode as their_encode
from tests.project.test_protocol_membership import watched
from tests.project.test_protocol_page import refusals
from tests.project.test_protocol_refusals import REWARDS

FIRST, SECOND, THIRD, LAST = NAMES


class Compared(Consortium):
    """Every block is executed by the reader too, and every result computed again by it."""

    codes: set[str] = set()  # noqa: RUF012 - of all of them together

    def block(self, *raws: bytes, after_ms: int = 1, proposer: int = 0) -> Execution:
        before = dict(self.state.items())
        execution = super().block(*raws, after_ms=after_ms, proposer=proposer)
        theirs = execute(decode("Header", encode(execution.header), 1 << 16), list(raws), before)
        assert [their_encode(one) for one in theirs.receipts] == [encode(one) for one in execution.receipts]
        assert theirs.state == dict(execution.state.items())
        for raw, receipt in zip(raws, execution.receipts, strict=False):
            self.codes.add(receipt.code)
            if receipt.accepted and decode_transaction(raw).kind == "aggregate":
                claim = decode("AggregateClaim", decode_transaction(raw).payload, 1 << 18)
                result = claim.rec("result")
                payloads = {bytes(name): payload for name, payload in self.payloads.items()}
                assert recompute(before, result.text("task"), result.number("round"), payloads) == result
        return execution


def compared(**changes: object) -> Compared:
    begun = Consortium.begin(task_spec(**changes))
    return Compared(begun.state, begun.validators)


RULES = [
    RuleSpec("weighted-mean/1", 0),
    RuleSpec("trimmed-mean/1", 1, ("arc/1", "nnm/1")),
    RuleSpec("median/1", 1, ("arc/1",)),
    RuleSpec("geometric-median/1", 1),
    RuleSpec("weighted-trimmed-mean/1", 1, ("arc/1",), weight_cap_permille=300),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{'+'.join(rule.pre)}+{rule.rule}")
def test_paid_rounds_are_settled_as_the_page_says(rule: RuleSpec) -> None:
    chain = compared(rule=rule, rounds=5, clip_norm_micros=400_000, updates_min=4)
    funded(chain, 1_000_003)
    random = np.random.default_rng(8)
    paid = 0
    for number in range(1, 6):
        rows = np.roll(rows_like(), int(random.integers(8)), axis=1)
        if number == 3:
            rows[1] = rows[0]  # copies
        if number == 4:
            rows[2] = random.integers(-8191, 8192, 8)
        assert learn(chain, rows.astype(np.int16)).code == "ok"
        paid += present(settlement_of(chain.state, "heart", number), "a settlement").paid
    assert paid > 0


def test_stakes_of_failed_rounds_and_late_funding_are_counted_as_the_page_says() -> None:
    chain = compared(rounds=2)
    funded(chain, 100)
    chain.fill_round(rows_like())
    chain.block(after_ms=5_000)
    learn(chain, rows_like())
    issue(chain, SECOND, 9)
    chain.fill_round(rows_like((0, 3)))
    chain.say(SECOND, "reward.fund", RewardFunding("heart", 9))
    chain.certify(chain.claim(chain.compute()))
    found = present(treasury_of(chain.state), "the treasury")
    assert found.escrow == 0


def test_every_refusal_about_credits_is_met_and_worded_as_the_page_says() -> None:
    chain = compared(updates_max=65)
    person = Participant("clerk", FIRST, key_of("clerk", "participant").public_key, ("trainer",))
    state = Overlay(chain.state)
    register(state, (person,))
    chain.state = chain.state.update(state.changes)
    assert issue(chain, "nobody", 1) == "reward.unknown_organisation"
    assert issue(chain, FIRST, SUPPLY_MAX) == "enacted"
    said: list[tuple[str, str, Record]] = [
        ("clerk", "reward.redeem", RewardRedemption(1, "")),
        ("clerk", "reward.fund", RewardFunding("heart", 1)),
        ("clerk", "reward.transfer", RewardTransfer(SECOND, 1, "")),
        (FIRST, "reward.transfer", RewardTransfer(FIRST, 1, "")),
        (FIRST, "reward.transfer", RewardTransfer("nobody", 1, "")),
        (SECOND, "reward.transfer", RewardTransfer(FIRST, 1, "")),
        (SECOND, "reward.redeem", RewardRedemption(1, "")),
        (FIRST, "reward.fund", RewardFunding("lung", 1)),
        (FIRST, "reward.fund", RewardFunding("heart", 1)),
        (FIRST, "reward.transfer", RewardTransfer(LAST, 5, "thanks")),
        (LAST, "reward.redeem", RewardRedemption(4, "paid")),
    ]
    for name, kind, payload in said:
        chain.say(name, kind, payload)
    issue(chain, SECOND, 5)
    decide(chain, GrantCredits(SECOND, 1, ""))
    full = compared()
    issue(full, FIRST, 10)
    found = present(treasury_of(full.state), "the treasury")
    names = tuple(sorted([FIRST, *(f"x{place}" for place in range(1_023))]))
    full.state = full.state.update({TREASURY_KEY: encode(msgspec.structs.replace(found, accounts=names))})
    full.say(FIRST, "reward.transfer", RewardTransfer(SECOND, 1, ""))
    learned = compared(rounds=1)
    funded(learned, 10)
    learn(learned, rows_like())
    learned.say(FIRST, "reward.fund", RewardFunding("heart", 1))

    known = {code for code, _ in refusals("RefusalError", "fl")}
    assert {one for one in known if one.startswith(REWARDS)} <= Compared.codes


def test_who_lies_loses_credits_as_the_page_says() -> None:
    members = watched(4)
    for officer, kind, said in (
        ("a", "governance.propose", Proposal(IssueCredits("d", 1_005, "a budget"))),
        ("d", "reward.transfer", RewardTransfer("a", 5, "")),
    ):
        members.say(officer, kind, said)
        if kind == "governance.propose":
            members.approve("b", 1)
            members.approve("c", 1)
    receipt = members.say("a", "evidence", EvidenceReport(members.double_vote("d", 2)))

    assert [event.kind for event in receipt.events] == ["evidence.recorded", "validator.suspended", "reward.slashed"]
    assert account_of(members.chain.state, "d").balance == 900


@pytest.mark.parametrize("value", [0, 1, -1, 127, 128, -128, -129, 255, 256, 2**63, -(2**63), 2**374 - 1, -(2**374)])
def test_entries_take_as_few_bytes_as_hold_the_sign(value: int) -> None:
    assert shortest(value) == bytes_of(value)
    assert int.from_bytes(shortest(value), "big", signed=True) == value
