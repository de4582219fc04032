"""Privacy budgets on a chain: nobody takes part beyond one, and what was opened stays charged."""

from __future__ import annotations

from fl.membership.records import AddMember
from fl.policies.records import SetTerms
from fl.privacy.account import costs_of, opened_account
from fl.privacy.epsilon import epsilon_nanos
from fl.privacy.records import (
    ACCOUNTS_MAX,
    Mechanism,
    PrivacyAccount,
    PrivacyAccountName,
    PrivacyAccounts,
    SetBudget,
    TightenBudget,
)
from fl.privacy.renyi import NANO, NOTHING, added
from fl.privacy.state import ACCOUNTS_KEY, account_key, account_of
from fl.state import present
from ledger.codec import encode
from tests.fl.consortium import task_spec
from tests.fl.members import Members
from tests.fl.policies import card_with_trainer, in_force, terms, update

NOISY = Mechanism(1_000_000, 1_000_000, 1)
ONE_ROUND = epsilon_nanos(costs_of(NOISY), 5)
TWO_ROUNDS = epsilon_nanos(added(costs_of(NOISY), costs_of(NOISY)), 5)
DAY_MS = 86_400_000


def begin(mechanism: Mechanism = NOISY) -> Members:
    """Return four sites with a task on the data set `ecg`, on which nobody has a budget yet."""
    members = Members.begin(4, task_spec())
    members.vote(charged("heart", mechanism), "a", "b", "c")
    return members


def charged(task: str, mechanism: Mechanism) -> SetTerms:
    return terms(task, data_set="ecg", mechanism=mechanism)


def budget(name: str, period: int, lifetime: int, *, period_ms: int = 0) -> SetBudget:
    return SetBudget(name, "ecg", period_ms, period, lifetime, 5)


def give(members: Members, name: str, period: int, lifetime: int, *, period_ms: int = 0) -> None:
    number = members.vote(budget(name, period, lifetime, period_ms=period_ms), "a", "b", "c")
    assert members.proposal(number).status == "enacted"


def account(members: Members, name: str) -> PrivacyAccount:
    return present(account_of(members.chain.state, name, "ecg"), "the account")


def over(members: Members, *trainers: str) -> None:
    """Let trainers take part in a round, and the round be over by its deadlines."""
    for name in trainers:
        assert update(members, name) == "ok"
    members.block(after_ms=5_000)
    members.block(after_ms=5_000)


def test_a_site_takes_part_until_its_budget_is_gone_and_then_no_more() -> None:
    members = begin()
    give(members, "a", 100 * NANO, TWO_ROUNDS)
    over(members, "a", "b", "c")
    over(members, "a", "b", "c")

    refused = update(members, "a")

    assert refused.startswith("budget.exceeded: with this round epsilon of a and ecg would be ")
    assert refused.endswith(f"the limits are {100 * NANO} and {TWO_ROUNDS}")
    assert update(members, "b") == "ok", "who has no account is not charged"
    assert epsilon_nanos(account(members, "a").spent_lifetime, 5) == TWO_ROUNDS


def test_two_rounds_cost_less_than_twice_one_round() -> None:
    assert ONE_ROUND < TWO_ROUNDS < 2 * ONE_ROUND


def test_a_round_that_fails_is_charged_to_whoever_was_opened_and_to_nobody_else() -> None:
    members = begin()
    give(members, "a", 100 * NANO, 100 * NANO)
    give(members, "d", 100 * NANO, 100 * NANO)
    assert update(members, "a") == "ok"
    assert [len(account(members, name).reservations) for name in "ad"] == [0, 1]

    members.block(after_ms=5_000)

    assert members.chain.round().number == 2
    assert (account(members, "a").opened, account(members, "a").spent_lifetime) == (1, costs_of(NOISY))
    assert (account(members, "d").spent_lifetime, account(members, "d").reservations) == (NOTHING, ())


def test_a_period_that_begins_leaves_the_lifetime_as_it_is() -> None:
    members = begin()
    give(members, "a", ONE_ROUND, 100 * NANO, period_ms=DAY_MS)
    over(members, "a", "b", "c")
    assert update(members, "a").startswith("budget.exceeded")

    members.block(after_ms=DAY_MS)

    assert update(members, "a") == "ok"
    held = account(members, "a")
    assert held.spent_period == costs_of(NOISY)
    assert held.opened == 2


def test_who_gets_a_budget_after_a_round_began_waits_for_the_next_one() -> None:
    members = begin()
    assert update(members, "b") == "ok"
    give(members, "a", 100 * NANO, 100 * NANO)

    assert update(members, "a").startswith("budget.not_reserved: round 1 of heart began without a reservation for a")
    members.block(after_ms=5_000)

    assert update(members, "a") == "ok"


def test_without_noise_no_budget_is_large_enough() -> None:
    members = begin(Mechanism(0, 1_000_000, 1))
    give(members, "a", 2**62 - 1, 2**62 - 1)

    assert update(members, "a").startswith("budget.exceeded")


def test_terms_that_change_while_a_round_is_open_spare_nobody_what_was_reserved() -> None:
    members = begin()
    give(members, "a", 100 * NANO, 100 * NANO)
    assert update(members, "b") == "ok"
    members.vote(terms("heart"), "a", "b", "c")

    assert update(members, "a") == "ok"

    assert account(members, "a").opened == 1


def test_a_site_lowers_its_own_limits_at_once_and_only_lowers_them() -> None:
    members = begin()
    give(members, "a", 10 * NANO, 20 * NANO)
    members.attest(members.vote(AddMember(card_with_trainer("e")), "a", "b", "c"), "a", "b")
    assert members.say("a", "budget.tighten", TightenBudget("ecg", 10 * NANO, 21 * NANO)).code == "budget.not_tighter"
    assert members.say("b", "budget.tighten", TightenBudget("ecg", 1, 1)).code == "budget.unknown"
    assert members.say("e-trainer", "budget.tighten", TightenBudget("ecg", 1, 1)).code == "budget.not_officer"
    assert members.propose("a", budget("nobody", 1, 1)).code == "budget.unknown_site"

    assert members.say("a", "budget.tighten", TightenBudget("ecg", 1, 20 * NANO)).accepted

    assert update(members, "a").startswith("budget.exceeded")


def test_another_budget_by_vote_forgets_nothing_even_with_shorter_periods() -> None:
    members = begin()
    give(members, "a", ONE_ROUND, 100 * NANO)
    over(members, "a", "b", "c")

    give(members, "a", ONE_ROUND, 100 * NANO, period_ms=1_000)

    held = account(members, "a")
    assert held.spent_period == held.spent_lifetime == costs_of(NOISY)


def test_a_policy_sees_what_a_round_would_make_of_the_budget() -> None:
    members = begin()
    in_force(members, "epsilon", "update", "budget.has_account && budget.lifetime_nanos <= 6000000000")
    assert update(members, "b").startswith("policy.denied: policy epsilon, clause 1: budget.has_account")
    give(members, "a", 100 * NANO, 100 * NANO)
    over(members, "a")
    denied = update(members, "a")

    assert denied.startswith("policy.denied: policy epsilon, clause 2: budget.lifetime_nanos <= 6000000000")
    assert denied.endswith(f"budget.lifetime_nanos = {TWO_ROUNDS}")


def test_without_a_budget_the_state_has_no_account() -> None:
    members = begin()
    over(members, "a", "b", "c")

    assert not [key for key, _ in members.chain.state.items() if key.startswith(b"fl/privacy")]


def test_so_many_budgets_are_kept_at_most() -> None:
    members = begin()
    full = PrivacyAccounts(tuple(PrivacyAccountName("a", f"set-{number:04d}") for number in range(ACCOUNTS_MAX)))
    held = {account_key("a", one.data_set): encode(opened_account(_of(one.data_set))) for one in full.names}
    members.chain.state = members.chain.state.update({ACCOUNTS_KEY: encode(full), **held})

    assert members.propose("a", budget("a", 1, 1)).code == "budget.too_many"


def _of(data_set: str) -> SetBudget:
    return SetBudget("a", data_set, 0, 1, 1, 5)
