"""Section 13.13 of docs/protocol.md: what rounds cost, and who may still take part. One law: no rooms."""

from __future__ import annotations

import decimal
from functools import cache
from math import comb
from typing import TYPE_CHECKING, Any, Final

from tests.project.protocol_records import Rec, Value, make

if TYPE_CHECKING:
    from tests.project.protocol_learning import Book

ORDERS: Final = [*range(2, 33), 36, 40, 48, 56, 64, 80, 96, 128, 192, 256, 512]
MOST: Final = 2**62
ACCOUNTS: Final = b"fl/privacy-accounts"
Costs = list[int]


@cache
def figures(noise: int, sampling: int, steps: int) -> tuple[int, ...]:
    """Return the cost of a mechanism."""
    if not sampling or not steps:
        return (0,) * len(ORDERS)
    if not noise:
        return (MOST,) * len(ORDERS)
    if sampling == 10**6:
        exact = (divmod(10**9 * steps * a * 10**12, 2 * noise**2) for a in ORDERS)
        return tuple(min(MOST, whole + (rest > 0) + 1) for whole, rest in exact)
    with decimal.localcontext() as here:
        here.prec, here.Emax, here.Emin = 60, decimal.MAX_EMAX, decimal.MIN_EMIN
        here.traps[decimal.Overflow] = False
        half = 1 / (2 * (decimal.Decimal(noise) / 10**6) ** 2)
        growth = [(j * (j - 1) * half).exp() for j in range(ORDERS[-1] + 1)]
        q = decimal.Decimal(sampling) / 10**6
        return tuple(sampled(a, q, growth, steps) for a in ORDERS)


def sampled(a: int, q: decimal.Decimal, growth: list[decimal.Decimal], steps: int) -> int:
    total = sum(comb(a, j) * (1 - q) ** (a - j) * q**j * growth[j] for j in range(a + 1))
    assert isinstance(total, decimal.Decimal)
    if not total.is_finite():
        return MOST
    x = 10**9 * steps * total.ln() / (a - 1)
    return min(MOST, int(x.to_integral_value(decimal.ROUND_CEILING)) + 1) if x < MOST else MOST


@cache
def surcharge(a: int, digits: int) -> int:
    with decimal.localcontext() as here:
        here.prec = 60
        order = decimal.Decimal(a)
        x = ((order - 1) / order).ln() + (digits * decimal.Decimal(10).ln() - order.ln()) / (order - 1)
        return int((10**9 * x).to_integral_value(decimal.ROUND_CEILING))


def epsilon(costs: Costs, digits: int) -> int:
    if not any(costs):
        return 0
    found = [cost if cost == MOST else cost + surcharge(a, digits) for a, cost in zip(ORDERS, costs, strict=True)]
    return max(0, min([*found, MOST]))


def cost(mechanism: Rec) -> Costs:
    return [*figures(mechanism.number("noise_micros"), mechanism.number("sampling_micros"), mechanism.number("steps"))]


def together(*several: Costs) -> Costs:
    return [min(MOST, sum(column)) for column in zip(*several, strict=True)]


# Accounts


def key(house: str, data: str) -> bytes:
    return b"fl/privacy-account/" + house.encode() + b"/" + data.encode()


def accounts(book: Book) -> list[Rec]:
    found = book.read("PrivacyAccounts", ACCOUNTS)
    names = [] if found is None else found.recs("names")
    return [book.sure("PrivacyAccount", key(one.text("organisation"), one.text("data_set"))) for one in names]


def account(book: Book, house: str, data: str) -> Rec | None:
    return book.read("PrivacyAccount", key(house, data))


def write(book: Book, one: Rec) -> None:
    book.write(key(one.rec("budget").text("organisation"), one.rec("budget").text("data_set")), one)


def period_of(budget: Rec, time_ms: int) -> int:
    return time_ms // budget.number("period_ms") if budget.number("period_ms") else 0


def held_for(one: Rec, current: Rec) -> Rec | None:
    wanted = (current.text("task"), current.number("number"))
    return next((r for r in one.recs("reservations") if (r.text("task"), r.number("round")) == wanted), None)


def without(one: Rec, current: Rec) -> list[Value]:
    gone = held_for(one, current)
    return [r for r in one.recs("reservations") if r != gone]


def outlook(book: Book, one: Rec, current: Rec, mechanism: Rec) -> dict[str, int]:
    budget, own = one.rec("budget"), cost(mechanism)
    now, digits = period_of(budget, book.time_ms), budget.number("delta_digits")
    others = [r for r in without(one, current) if isinstance(r, Rec)]
    spent = [one.numbers("spent_period")] if one.number("period") == now else []
    in_period = [cost(r.rec("mechanism")) for r in others if r.number("period") == now]
    in_all = [cost(r.rec("mechanism")) for r in others]
    return {
        "round_nanos": epsilon(own, digits),
        "period_nanos": epsilon(together(own, *spent, *in_period), digits),
        "lifetime_nanos": epsilon(together(own, one.numbers("spent_lifetime"), *in_all), digits),
    }


def fits(one: Rec, seen: dict[str, int]) -> bool:
    budget = one.rec("budget")
    return all(seen[f"{span}_nanos"] <= budget.number(f"{span}_limit_nanos") for span in ("period", "lifetime"))


# Actions


def changes_nothing(book: Book, action: Rec) -> bool:
    found = account(book, action.text("organisation"), action.text("data_set"))
    return found is not None and found.rec("budget") == action


def fault(book: Book, action: Rec) -> tuple[str, str] | None:
    house = action.text("organisation")
    known = [person.text("organisation") for person in book.sure("Roster", b"fl/roster").recs("people")]
    if house not in known:
        return "budget.unknown_site", f"nobody is registered for {house}"
    if account(book, house, action.text("data_set")) is None and len(accounts(book)) >= 4_096:
        return "budget.too_many", "at most 4096 budgets are kept"
    return None


def enact(book: Book, action: Rec) -> None:
    house, data = action.text("organisation"), action.text("data_set")
    found = account(book, house, data)
    if found is None:
        listed = book.read("PrivacyAccounts", ACCOUNTS)
        names = [] if listed is None else listed.recs("names")
        names.append(make("PrivacyAccountName", organisation=house, data_set=data))
        items: list[Value] = [*sorted(names, key=lambda one: (one.text("organisation"), one.text("data_set")))]
        book.write(ACCOUNTS, make("PrivacyAccounts", names=items))
        nothing: list[Value] = [0] * len(ORDERS)
        spent: dict[str, Value] = {"spent_period": nothing, "spent_lifetime": nothing}
        write(book, make("PrivacyAccount", budget=action, period=0, **spent, opened=0, reservations=[]))
        return
    if action.number("period_ms") != found.rec("budget").number("period_ms"):
        now = period_of(action, book.time_ms)
        moved: list[Value] = [one.changed(period=now) for one in found.recs("reservations")]
        found = found.changed(period=now, reservations=moved, spent_period=found.items("spent_lifetime"))
    write(book, found.changed(budget=action))


def tighten(book: Book, who: Rec, said: Rec) -> tuple[str, str] | None:
    house, data = who.text("organisation"), said.text("data_set")
    if "officer" not in who.texts("roles"):
        return "budget.not_officer", f"an officer was needed, got {who.text('name')} of {house}"
    found = account(book, house, data)
    if found is None:
        return "budget.unknown", f"{house} has no budget for {data}"
    names = ("period_limit_nanos", "lifetime_limit_nanos")
    (once, ever), (new_once, new_ever) = ([one.number(name) for name in names] for one in (found.rec("budget"), said))
    if new_once > once or new_ever > ever:
        detail = f"the limits are {once} and {ever} billionths, a site alone can only lower them, "
        detail += f"got {new_once} and {new_ever}"
        return "budget.not_tighter", detail
    write(
        book,
        found.changed(budget=found.rec("budget").changed(period_limit_nanos=new_once, lifetime_limit_nanos=new_ever)),
    )
    book.say("budget.tightened", f"{house}/{data}", f"by {who.text('name')}")
    return None


# Rounds


def charged(book: Book, terms: Rec | None, house: str) -> tuple[Rec, Rec] | None:
    """Return the account that a task's rounds charge a site's loss to, and the mechanism."""
    found = account(book, house, terms.text("data_set")) if terms is not None and terms.text("data_set") else None
    return (found, terms.rec("mechanism")) if found is not None and terms is not None else None


def update_fault(book: Book, terms: Rec | None, current: Rec, house: str) -> tuple[str, str] | None:
    found = charged(book, terms, house)
    if found is None or held_for(found[0], current) is not None:
        return None
    one, mechanism = found
    budget, seen = one.rec("budget"), outlook(book, one, current, mechanism)
    name = f"{house} and {budget.text('data_set')}"
    if not fits(one, seen):
        detail = f"with this round epsilon of {name} would be {seen['period_nanos']} billionths in the period and "
        detail += f"{seen['lifetime_nanos']} in all; the limits are {budget.number('period_limit_nanos')} and "
        return "budget.exceeded", detail + str(budget.number("lifetime_limit_nanos"))
    if current.items("participants"):
        detail = f"round {current.number('number')} of {current.text('task')} began without a reservation for {name}"
        return "budget.not_reserved", detail
    return None


def begin(book: Book, spec: Rec, terms: Rec | None, current: Rec) -> None:
    people = book.sure("Roster", b"fl/roster").recs("people")
    named = spec.texts("participants")
    houses = {one.text("organisation") for one in people if not named or one.text("name") in named}
    for one in accounts(book):
        budget = one.rec("budget")
        if terms is None or budget.text("data_set") != terms.text("data_set"):
            continue
        if budget.text("organisation") not in houses or held_for(one, current) is not None:
            continue
        if fits(one, outlook(book, one, current, terms.rec("mechanism"))):
            made = make(
                "Reservation",
                task=current.text("task"),
                round=current.number("number"),
                period=period_of(budget, book.time_ms),
                mechanism=terms.rec("mechanism"),
            )
            write(book, one.changed(reservations=[*one.items("reservations"), made]))


def open_update(book: Book, current: Rec, house: str) -> None:
    for one in accounts(book):
        made, budget = held_for(one, current), one.rec("budget")
        if made is None or budget.text("organisation") != house:
            continue
        own, period, spent = cost(made.rec("mechanism")), one.number("period"), one.numbers("spent_period")
        if made.number("period") > period:
            period, spent = made.number("period"), [0] * len(ORDERS)
        if made.number("period") == period:
            spent = together(spent, own)
        in_period: list[Value] = [*spent]
        in_all: list[Value] = [*together(one.numbers("spent_lifetime"), own)]
        left = one.changed(reservations=without(one, current), opened=one.number("opened") + 1)
        write(book, left.changed(period=period, spent_period=in_period, spent_lifetime=in_all))
        subject = f"{house}/{budget.text('data_set')}"
        book.say("budget.charged", subject, f"{current.text('task')}/{current.number('number')}")


def end(book: Book, current: Rec) -> None:
    for one in accounts(book):
        if held_for(one, current) is not None:
            write(book, one.changed(reservations=without(one, current)))


def seen_budget(book: Book, terms: Rec | None, current: Rec, house: str) -> dict[str, Any]:
    found = charged(book, terms, house)
    names = ("round_nanos", "period_nanos", "period_limit_nanos", "lifetime_nanos", "lifetime_limit_nanos")
    if found is None:
        return {"has_account": False, **dict.fromkeys(names, 0)}
    limits = {name: found[0].rec("budget").number(name) for name in names if "limit" in name}
    seen = outlook(book, found[0], current, found[1]) | limits
    return {"has_account": True, **{name: seen[name] for name in names}}
