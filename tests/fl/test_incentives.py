"""Credits on the chain: who may move them, what a round pays, and that none is ever lost."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from fl.incentives.accounts import is_conserved
from fl.incentives.records import (
    SUPPLY_MAX,
    GrantCredits,
    IssueCredits,
    RewardFunding,
    RewardRedemption,
    RewardTransfer,
)
from fl.incentives.slashing import slash
from fl.incentives.state import TREASURY_KEY, entry_of, stake_of, treasury_of
from fl.membership.records import Approval, Proposal
from fl.membership.state import proposal_of
from fl.results import InputError, closed_jobs, compute
from fl.state import model_of, present, result_of
from ledger.application import BlockContext, Overlay
from ledger.codec import encode
from ledger.digest import Digest
from tests.fl.consortium import NAMES, Consortium, task_spec
from tests.fl.paying import (
    account,
    decide,
    everything,
    funded,
    issue,
    learn,
    pot,
    rows_like,
    settlement,
)

replace = msgspec.structs.replace
FIRST, SECOND, THIRD, _ = NAMES


def begun(**changes: object) -> Consortium:
    return Consortium.begin(task_spec(**changes))


def test_without_a_pot_a_round_leaves_no_trace_of_credits_in_state_or_result() -> None:
    chain = begun()
    learn(chain, rows_like())

    assert not [key for key, _ in chain.state.items() if key.startswith(b"fl/reward/")]
    assert present(result_of(chain.state, "heart", 1), "the result").matrix is None


def test_a_round_stakes_its_part_of_the_pot_and_pays_it_whole() -> None:
    chain = begun(rounds=4)
    assert funded(chain, 1_003).code == "ok"
    assert (account(chain, FIRST).balance, pot(chain).escrow) == (0, 1_003)

    assert learn(chain, rows_like()).code == "ok"

    paid = settlement(chain, 1)
    assert (paid.stake, paid.paid, paid.returned, pot(chain).escrow) == (250, 250, 0, 753)
    assert sum(one.amount for one in paid.earnings) == 250
    for one in paid.earnings:
        own = account(chain, one.organisation)
        assert (own.balance, own.earned, own.reputation) == (one.amount, one.amount, one.score // 16)
        entry = present(entry_of(chain.state, one.organisation, own.entries), "the latest entry")
        assert (entry.kind, entry.subject, entry.amount) == ("earned", "heart/1", one.amount)


def test_a_pot_is_empty_when_its_task_is_over_and_what_came_too_late_goes_to_the_treasury() -> None:
    chain = begun(rounds=2)
    funded(chain, 101)
    learn(chain, rows_like())
    assert pot(chain).escrow == 51
    assert issue(chain, SECOND, 7) == "enacted"
    chain.fill_round(rows_like()[:, ::-1].copy())  # in another direction than the first round's
    assert chain.say(SECOND, "reward.fund", RewardFunding("heart", 7)).code == "ok"
    receipt = chain.certify(chain.claim(chain.compute()))

    assert [event.kind for event in receipt.events] == [
        "round.certified",
        "reward.settled",
        "task.finished",
        "reward.returned",
    ]
    assert (pot(chain).escrow, pot(chain).returned) == (0, 7)
    assert present(treasury_of(chain.state), "the treasury").treasury == 7
    assert chain.say(SECOND, "reward.fund", RewardFunding("heart", 1)).code == "reward.not_active"


def test_a_failed_round_gives_its_stake_back() -> None:
    chain = begun(rounds=2)
    funded(chain, 100)
    chain.fill_round(rows_like())
    assert (pot(chain).escrow, present(stake_of(chain.state, "heart", 1), "the stake").amount) == (50, 50)
    assert everything(chain, [chain.round()]) == (100, 100)

    chain.block(after_ms=5_000)

    assert pot(chain).escrow == 100
    assert everything(chain, [chain.round()]) == (100, 100)


def test_when_nobody_scores_the_stake_goes_to_the_treasury_and_can_be_granted_by_vote() -> None:
    chain = begun(rounds=1)
    funded(chain, 80)
    rows = np.zeros((4, 8), np.int16)
    rows[np.arange(4), np.arange(4) * 2] = 500  # nothing in common
    learn(chain, rows)

    assert (settlement(chain, 1).paid, settlement(chain, 1).returned) == (0, 80)
    assert decide(chain, GrantCredits(THIRD, 81, "")) == "reward.treasury"
    assert decide(chain, GrantCredits(THIRD, 80, "back to school")) == "enacted"
    assert account(chain, THIRD).balance == 80


def test_a_result_without_its_matrix_or_with_another_rounds_is_refused() -> None:
    chain = begun()
    funded(chain, 1_000)
    chain.fill_round(rows_like())
    computed = chain.compute()
    matrix = computed.result.matrix
    assert matrix is not None
    bent = [None, replace(matrix, entries=matrix.entries[1:]), replace(matrix, past=1), replace(matrix, updates=3)]
    for one in bent:
        wrong = msgspec.structs.replace(computed.result, matrix=one)
        claim = chain.claim(type(computed)(wrong, computed.model_payload))
        assert chain.certify(claim).code == "aggregate.wrong_input"
    assert chain.certify(chain.claim(computed)).code == "ok"


def test_a_changed_byte_of_an_update_changes_the_matrix_that_validators_sign() -> None:
    chain = begun()
    funded(chain, 1_000)
    chain.fill_round(rows_like())
    job = next(closed_jobs(chain.state))
    payloads = [chain.payloads[update.payload.id] for update in job.updates]
    honest = compute(job, None, payloads).result
    seen = set()
    for place in (32, 33, 40, 47):
        bent = bytearray(payloads[2])
        bent[place] ^= 1
        seen.add(compute(job, None, [*payloads[:2], bytes(bent), payloads[3]]).result.matrix)
    assert len(seen | {honest.matrix}) == 5


def test_the_matrix_holds_the_last_three_global_updates_as_anybody_could_submit_them() -> None:
    chain = begun(rounds=20)
    funded(chain, 100_000)
    for scale in (8, 6, 4):
        learn(chain, rows_like((0, scale)) // 2)
    chain.fill_round(rows_like())
    matrix = chain.compute().result.matrix
    assert matrix is not None
    assert (matrix.updates, matrix.past, matrix.is_complete) == (4, 3, True)
    chain.certify(chain.claim(chain.compute()))
    chain.fill_round(rows_like())
    job = next(closed_jobs(chain.state))
    base = chain.payloads[present(job.base.payload, "the base").id]
    updates = [chain.payloads[update.payload.id] for update in job.updates]
    with pytest.raises(InputError, match="needs 3 models before the base, got 0"):
        compute(job, base, updates)


def test_only_an_officer_moves_credits_and_only_those_that_are_there() -> None:
    chain = begun()
    assert issue(chain, FIRST, 100) == "enacted"

    assert chain.say(FIRST, "reward.transfer", RewardTransfer(FIRST, 1, "")).code == "reward.self"
    assert chain.say(FIRST, "reward.transfer", RewardTransfer("nobody", 1, "")).code == "reward.unknown_organisation"
    assert chain.say(FIRST, "reward.transfer", RewardTransfer(SECOND, 101, "")).code == "reward.balance"
    assert chain.say(SECOND, "reward.redeem", RewardRedemption(1, "")).code == "reward.balance"
    assert chain.say(FIRST, "reward.fund", RewardFunding("lung", 1)).code == "reward.unknown_task"
    assert chain.say(FIRST, "reward.transfer", RewardTransfer(SECOND, 40, "for labels")).code == "ok"
    assert chain.say(SECOND, "reward.redeem", RewardRedemption(15, "invoice 7")).code == "ok"

    found = present(treasury_of(chain.state), "the treasury")
    assert (account(chain, FIRST).balance, account(chain, SECOND).balance) == (60, 25)
    assert (found.minted, found.burned, found.treasury, found.escrow) == (100, 15, 0, 0)
    kinds = [present(entry_of(chain.state, SECOND, number), "an entry").kind for number in (1, 2)]
    assert kinds == ["received", "redeemed"]


def test_no_more_is_issued_than_can_be_counted_exactly() -> None:
    chain = begun()
    assert issue(chain, FIRST, SUPPLY_MAX) == "enacted"
    assert issue(chain, FIRST, 1) == "reward.supply"
    assert chain.say(FIRST, "reward.redeem", RewardRedemption(2, "")).code == "ok"
    assert issue(chain, SECOND, 2) == "enacted"
    assert issue(chain, "nobody", 1) == "reward.unknown_organisation"


def test_fewer_than_a_quorum_issue_nothing() -> None:
    chain = begun()
    chain.say(FIRST, "governance.propose", Proposal(IssueCredits(FIRST, 100, "")))
    proposal = present(proposal_of(chain.state, 1), "the proposal")
    chain.say(SECOND, "governance.approve", Approval(1, proposal.digest))
    chain.say(SECOND, "governance.approve", Approval(1, proposal.digest))

    assert treasury_of(chain.state) is None


def test_a_block_after_which_credits_are_missing_is_a_broken_invariant() -> None:
    chain = begun()
    issue(chain, FIRST, 100)
    found = present(treasury_of(chain.state), "the treasury")
    for changes in ({"treasury": 1}, {"minted": 101}, {"accounts": ()}):
        bent = chain.state.update({TREASURY_KEY: encode(replace(found, **changes))})
        assert not is_conserved(bent)
    chain.state = chain.state.update({TREASURY_KEY: encode(replace(found, treasury=1))})
    with pytest.raises(AssertionError, match="credits only move"):
        chain.block()


def test_whoever_submits_the_last_global_update_again_earns_nothing() -> None:
    chain = begun(rounds=30, updates_min=4)
    funded(chain, 1_000_000)
    for scale in (3, 2, 2, 1):
        learn(chain, rows_like((1, scale)))
    rows = rows_like()
    before, after = (chain.payloads[_model(chain, back)] for back in (1, 0))
    old, new = (np.frombuffer(one[32:], "<i4").astype(np.int64) for one in (before, after))
    grid = np.array(chain.round().exponents)
    shifts = np.repeat(grid + 11, [6, 2])  # x_t = 0
    rows[3] = np.clip(np.round((new - old) / 2.0**shifts), -8191, 8191)
    learn(chain, rows)

    last = settlement(chain, chain.task().version)
    assert last.paid == last.stake
    assert (last.earnings[3].score, last.earnings[3].amount, last.earnings[3].information_micros) == (0, 0, 0)


def _model(chain: Consortium, back: int) -> Digest:
    state = present(model_of(chain.state, "heart", chain.task().version - back), "a model")
    return present(state.payload, "its payload").id


def test_two_copies_share_what_one_would_get() -> None:
    chain = begun(rounds=1)
    funded(chain, 900_000)
    rows = rows_like()
    rows[3] = rows[2]
    learn(chain, rows)
    pair = settlement(chain, 1).earnings

    alone = begun(rounds=1, updates_max=3)
    funded(alone, 900_000)
    names = NAMES[:3]
    alone.block(
        *(alone.transaction(name, "update", alone.update(name, row)) for name, row in zip(names, rows, strict=False))
    )
    alone.certify(alone.claim(alone.compute()))
    single = settlement(alone, 1).earnings

    assert [one.cluster_size for one in pair] == [1, 1, 2, 2]
    assert pair[2].amount + pair[3].amount <= 1.1 * single[2].amount


def test_a_proven_lie_costs_a_tenth_and_the_reputation_but_being_left_out_costs_nothing() -> None:
    chain = begun(rounds=3)
    funded(chain, 90_000)
    learn(chain, rows_like((2, -9)))
    left_out = settlement(chain, 1).earnings[2]
    assert (left_out.score, account(chain, THIRD).balance >= 0) == (0, True)
    balance, reputation = account(chain, SECOND).balance, account(chain, SECOND).reputation
    assert balance > 0 < reputation

    context = BlockContext(chain.parent_id, chain.height, chain.time_ms, chain.parent_id, chain.validators, 0)
    state = Overlay(chain.state)
    events = slash(state, context, SECOND, "conflicting-votes")
    chain.state = chain.state.update(state.changes)

    assert [event.kind for event in events] == ["reward.slashed"]
    assert account(chain, SECOND).balance == balance - balance // 10
    assert account(chain, SECOND).reputation == 0
    assert everything(chain, [chain.round()]) == (90_000, 90_000)
    assert slash(Overlay(chain.state), context, "nobody", "conflicting-votes") == ()
