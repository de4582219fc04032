"""However rounds begin, open, fail and crash: a budget is never overrun, and nothing opened is ever given back."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fl.privacy.account import (
    commit,
    costs_of,
    opened_account,
    period_at,
    rebudgeted,
    release,
    reserve,
    reserved,
)
from fl.privacy.epsilon import epsilon_nanos
from fl.privacy.records import Mechanism, PrivacyAccount, SetBudget
from fl.privacy.renyi import NANO, NOTHING, added

MECHANISMS = (
    Mechanism(1_000_000, 1_000_000, 1),
    Mechanism(3_000_000, 1_000_000, 1),
    Mechanism(1_100_000, 20_000, 200),
    Mechanism(0, 1_000_000, 1),
)
PERIOD_MS = 1_000


def limits(period: int, lifetime: int, *, period_ms: int = PERIOD_MS) -> SetBudget:
    return SetBudget("a", "ecg", period_ms, period, lifetime, 5)


@dataclass
class Book:
    """What somebody beside the chain writes down: every round that was opened, with period and mechanism."""

    budget: SetBudget = field(default_factory=lambda: limits(12 * NANO, 20 * NANO))
    time_ms: int = 0
    opened: list[tuple[int, Mechanism]] = field(default_factory=list)
    pending: dict[tuple[str, int], tuple[int, Mechanism]] = field(default_factory=dict)

    def copy(self) -> Book:
        return Book(self.budget, self.time_ms, list(self.opened), dict(self.pending))

    def may(self, mechanism: Mechanism) -> bool:
        now = period_at(self.budget, self.time_ms)
        held = [*self.opened, *self.pending.values(), (now, mechanism)]
        in_period = [costs_of(one) for period, one in held if period == now]
        in_all = [costs_of(one) for _, one in held]
        return (
            epsilon_nanos(reduce(added, in_period, NOTHING), 5) <= self.budget.period_limit_nanos
            and epsilon_nanos(reduce(added, in_all, NOTHING), 5) <= self.budget.lifetime_limit_nanos
        )


class Site:
    """An account as execution changes it, beside the book; `durable` is what the last block left on disk."""

    def __init__(self) -> None:
        self.book = Book()
        self.account = opened_account(self.book.budget)
        self.durable: tuple[PrivacyAccount, Book] = (self.account, self.book.copy())
        self.rounds = 0

    def begin(self, mechanism: Mechanism) -> None:
        self.rounds += 1
        name = ("heart", self.rounds)
        made = reserve(self.account, *name, mechanism, self.book.time_ms)
        assert (made is not None) == self.book.may(mechanism)
        if made is not None:
            self.account = made
            self.book.pending[name] = (period_at(self.book.budget, self.book.time_ms), mechanism)
            assert reserve(made, *name, mechanism, self.book.time_ms) == made, "once is enough"

    def open(self, name: tuple[str, int]) -> None:
        before = self.account.spent_lifetime
        self.account = commit(self.account, *name)
        self.book.opened.append(self.book.pending.pop(name))
        assert all(now >= then for now, then in zip(self.account.spent_lifetime, before, strict=True))
        assert release(self.account, *name) == self.account, "what was opened is not given back"

    def end(self, name: tuple[str, int]) -> None:
        self.account = release(self.account, *name)
        self.book.pending.pop(name)

    def pass_time(self, by_ms: int) -> None:
        self.book.time_ms += by_ms

    def block(self) -> None:
        self.durable = (self.account, self.book.copy())

    def crash(self) -> None:
        """Lose what no block holds."""
        self.account, self.book = self.durable[0], self.durable[1].copy()

    def tighten(self, share: int) -> None:
        old = self.book.budget
        self.set(limits(old.period_limit_nanos * share // 100, old.lifetime_limit_nanos * share // 100))

    def set(self, budget: SetBudget) -> None:
        self.account, self.book.budget = rebudgeted(self.account, budget, self.book.time_ms), budget

    def check(self) -> None:
        book, account = self.book, self.account
        assert account.spent_lifetime == reduce(added, (costs_of(one) for _, one in book.opened), NOTHING)
        in_period = [costs_of(one) for period, one in book.opened if period == account.period]
        assert account.spent_period == reduce(added, in_period, NOTHING)
        assert account.opened == len(book.opened)
        assert {(one.task, one.round) for one in account.reservations} == set(book.pending)
        assert all(reserved(account, *name) is not None for name in book.pending)

    def check_limits(self) -> None:
        """Only when no limit was ever lowered."""
        held = [*self.book.opened, *self.book.pending.values()]
        for period in {period for period, _ in held}:
            costs = reduce(added, (costs_of(one) for at, one in held if at == period), NOTHING)
            assert epsilon_nanos(costs, 5) <= self.book.budget.period_limit_nanos
        costs = reduce(added, (costs_of(one) for _, one in held), NOTHING)
        assert epsilon_nanos(costs, 5) <= self.book.budget.lifetime_limit_nanos


def interleave(lots: Random, steps: int) -> None:
    """Let rounds begin, open, end, and machines crash, in any order."""
    site, lowered = Site(), False
    for _ in range(steps):
        pending = list(site.book.pending)
        match lots.randrange(9):
            case 0 | 1 | 2:
                if len(pending) < 6:
                    site.begin(lots.choice(MECHANISMS))
            case 3 | 4 if pending:
                site.open(lots.choice(pending))
            case 5 if pending:
                site.end(lots.choice(pending))
            case 6:
                site.pass_time(lots.choice((1, 400, PERIOD_MS)))
            case 7:
                site.block()
            case 8 if lots.random() < 0.3:
                site.tighten(90)
                lowered = True
            case _:
                site.crash()
        site.check()
        if not lowered:
            site.check_limits()


def test_a_thousand_interleavings_overrun_nothing_and_refund_nothing() -> None:
    lots = Random(11)
    for _ in range(1_000):
        interleave(lots, 12)


@pytest.mark.soak
def test_a_hundred_thousand_interleavings_overrun_nothing_and_refund_nothing() -> None:
    lots = Random(12)
    for _ in range(100_000):
        interleave(lots, 12)


class Interleavings(RuleBasedStateMachine):
    """The same, with the shortest failing history found by Hypothesis."""

    def __init__(self) -> None:
        super().__init__()
        self.site = Site()

    @precondition(lambda self: len(self.site.book.pending) < 6)
    @rule(mechanism=st.sampled_from(MECHANISMS))
    def begin(self, mechanism: Mechanism) -> None:
        self.site.begin(mechanism)

    @precondition(lambda self: self.site.book.pending)
    @rule(data=st.data())
    def open(self, data: st.DataObject) -> None:
        self.site.open(data.draw(st.sampled_from(sorted(self.site.book.pending))))

    @precondition(lambda self: self.site.book.pending)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.site.end(data.draw(st.sampled_from(sorted(self.site.book.pending))))

    @rule(by_ms=st.sampled_from([1, 400, PERIOD_MS, 5 * PERIOD_MS]))
    def pass_time(self, by_ms: int) -> None:
        self.site.pass_time(by_ms)

    @rule()
    def block(self) -> None:
        self.site.block()

    @rule()
    def crash(self) -> None:
        self.site.crash()

    @invariant()
    def adds_up(self) -> None:
        self.site.check()
        self.site.check_limits()


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_shorter_periods_by_vote_forget_nothing() -> None:
    site = Site()
    site.begin(MECHANISMS[0])
    site.open(("heart", 1))
    site.pass_time(10 * PERIOD_MS)

    site.set(limits(5 * NANO, 20 * NANO, period_ms=10))

    assert site.account.spent_period == site.account.spent_lifetime == costs_of(MECHANISMS[0])
    assert reserve(site.account, "heart", 2, MECHANISMS[0], site.book.time_ms) is None
