"""Sections 13.11, 14.7 and 14.8 of docs/protocol.md, written from the page alone. One law: no rooms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement, permutations
from math import isqrt, lcm, prod
from typing import TYPE_CHECKING

from tests.project import protocol_arithmetic as arithmetic
from tests.project import protocol_learning as learning
from tests.project.protocol_reader import digest
from tests.project.protocol_records import Rec, Value, make

if TYPE_CHECKING:
    from tests.project.protocol_learning import Book

Matrix = list[list[int]]
LIMIT = 2**53 - 1


def treasury(book: Book) -> Rec:
    found = book.read("Treasury", b"fl/reward/treasury")
    return found or make("Treasury", minted=0, burned=0, treasury=0, escrow=0, accounts=[])


def account(book: Book, name: str) -> Rec:
    found = book.read("Account", b"fl/reward/account/" + name.encode())
    return found or make("Account", organisation=name, balance=0, earned=0, reputation=0, entries=0)


def shift(book: Book, **changes: int) -> None:
    now = treasury(book)
    book.write(b"fl/reward/treasury", now.changed(**{name: now.number(name) + by for name, by in changes.items()}))


def know(book: Book, name: str) -> None:
    names = treasury(book).texts("accounts")
    if name not in names:
        book.write(b"fl/reward/treasury", treasury(book).changed(accounts=[*sorted([*names, name])]))


def write_account(book: Book, one: Rec) -> None:
    book.write(b"fl/reward/account/" + one.text("organisation").encode(), one)


def move(book: Book, name: str, amount: int, kind: str, subject: str, memo: str) -> None:
    """Pay an organisation, or take from it when the amount is negative."""
    shift(book, treasury=-amount)
    know(book, name)
    before = account(book, name)
    balance, count = before.number("balance") + amount, before.number("entries") + 1
    entry = make(
        "StatementEntry",
        number=count,
        height=book.height,
        kind=kind,
        amount=abs(amount),
        subject=subject,
        memo=memo,
        balance=balance,
    )
    book.write(b"fl/reward/entry/" + name.encode() + b"/" + learning.number(count), entry)
    earned = before.number("earned") + (amount if kind == "earned" else 0)
    write_account(book, before.changed(balance=balance, entries=count, earned=earned))


def pot_of(book: Book, task: str) -> Rec | None:
    return book.read("Pot", b"fl/reward/pot/" + task.encode())


def change_pot(book: Book, task: str, **changes: int) -> None:
    pot = pot_of(book, task) or make("Pot", task=task, escrow=0, funded=0, paid=0, returned=0)
    changed = pot.changed(**{name: pot.number(name) + by for name, by in changes.items()})
    book.write(b"fl/reward/pot/" + task.encode(), changed)


# Transactions


def carry_out(book: Book, who: Rec, kind: str, said: Rec) -> None:
    {"reward.fund": fund, "reward.transfer": transfer, "reward.redeem": redeem}[kind](book, who, said)


def officer(who: Rec) -> str:
    name = who.text("organisation")
    detail = f"an officer was needed, got {who.text('name')} of {name}"
    learning.need("officer" in who.texts("roles"), "reward.not_officer", detail)
    return name


def require_balance(book: Book, name: str, amount: int) -> None:
    held = account(book, name).number("balance")
    learning.need(held >= amount, "reward.balance", f"{name} has {held} credits, {amount} are needed")


def require_people(book: Book, name: str) -> None:
    people = book.sure("Roster", b"fl/roster").recs("people")
    registered = name in [one.text("organisation") for one in people]
    learning.need(registered, "reward.unknown_organisation", f"nobody is registered for {name}")


def has_room(book: Book, name: str) -> bool:
    names = treasury(book).texts("accounts")
    return name in names or len(names) < 1024


def require_room(book: Book, name: str) -> None:
    detail = "1024 organisations have accounts, as many as there can be"
    learning.need(has_room(book, name), "reward.accounts_full", detail)


def fund(book: Book, who: Rec, said: Rec) -> None:
    name, task, amount = officer(who), said.text("task"), said.number("amount")
    found = book.task(task)
    learning.need(found is not None, "reward.unknown_task", f"there is no task named {task}")
    assert found is not None
    status, most = found.text("status"), found.rec("spec").number("updates_max")
    learning.need(status == "active", "reward.not_active", f"task {task} is {status}")
    detail = f"rounds of {most} updates cannot be paid for, of 64 at most"
    learning.need(most <= 64, "reward.too_many_updates", detail)
    require_balance(book, name, amount)
    move(book, name, -amount, "funded", task, "")
    shift(book, treasury=-amount, escrow=amount)
    change_pot(book, task, escrow=amount, funded=amount)
    book.say("reward.funded", task, f"{amount} credits by {name}")


def transfer(book: Book, who: Rec, said: Rec) -> None:
    name, to, amount, memo = officer(who), said.text("to"), said.number("amount"), said.text("memo")
    learning.need(to != name, "reward.self", f"{name} cannot hand credits to itself")
    require_people(book, to)
    require_balance(book, name, amount)
    require_room(book, to)
    move(book, name, -amount, "sent", to, memo)
    move(book, to, amount, "received", name, memo)
    book.say("reward.transferred", to, f"{amount} credits from {name}")


def redeem(book: Book, who: Rec, said: Rec) -> None:
    name, amount = officer(who), said.number("amount")
    require_balance(book, name, amount)
    move(book, name, -amount, "redeemed", "", said.text("memo"))
    shift(book, treasury=-amount, burned=amount)
    book.say("reward.redeemed", name, f"{amount} credits")


def require_grant(book: Book, action: Rec) -> None:
    name, amount, now = action.text("organisation"), action.number("amount"), treasury(book)
    require_people(book, name)
    require_room(book, name)
    if action.kind == "IssueCredits":
        there = now.number("minted") - now.number("burned")
        detail = f"there are {there} credits of at most {LIMIT}, {amount} more do not fit"
        learning.need(there + amount <= LIMIT, "reward.supply", detail)
    else:
        held = now.number("treasury")
        detail = f"the treasury has {held} credits, {amount} are needed"
        learning.need(held >= amount, "reward.treasury", detail)


def grant(book: Book, action: Rec) -> None:
    amount = action.number("amount")
    if action.kind == "IssueCredits":
        shift(book, minted=amount, treasury=amount)
    kind = "issued" if action.kind == "IssueCredits" else "granted"
    move(book, action.text("organisation"), amount, kind, "", action.text("memo"))


def slash(book: Book, name: str, offence: str) -> None:
    if name not in treasury(book).texts("accounts"):
        return
    amount = account(book, name).number("balance") * 100 // 1000
    if amount:
        move(book, name, -amount, "slashed", offence, "")
    write_account(book, account(book, name).changed(reputation=0))
    book.say("reward.slashed", name, f"{amount} credits: {offence}")


# Rounds


def round_key(part: bytes, name: str, count: int) -> bytes:
    return b"fl/reward/" + part + b"/" + name.encode() + b"/" + learning.number(count)


def stake_of(book: Book, current: Rec) -> Rec | None:
    return book.read("RoundStake", round_key(b"stake", current.text("task"), current.number("number")))


def stake(book: Book, task: Rec, closed: Rec) -> None:
    name, count = closed.text("task"), closed.number("number")
    pot = pot_of(book, name)
    left = max(1, task.rec("spec").number("rounds") - task.number("certified"))
    amount = 0 if pot is None else pot.number("escrow") // left
    if amount and len(closed.items("participants")) <= 64:
        past = min(3, closed.number("base_version"))
        written = make("RoundStake", task=name, round=count, amount=amount, past=past)
        book.write(round_key(b"stake", name, count), written)
        change_pot(book, name, escrow=-amount)
        book.say("reward.staked", f"{name}/{count}", f"{amount} credits")


def give_back(book: Book, failed: Rec) -> None:
    held = stake_of(book, failed)
    if held is not None:
        change_pot(book, failed.text("task"), escrow=held.number("amount"))


def close(book: Book, task: str) -> None:
    pot = pot_of(book, task)
    left = 0 if pot is None else pot.number("escrow")
    if left:
        shift(book, escrow=-left, treasury=left)
        change_pot(book, task, escrow=-left, returned=left)
        book.say("reward.returned", task, f"{left} credits to the treasury")


def require_matrix(book: Book, closed: Rec, result: Rec) -> None:
    held, given, n = stake_of(book, closed), result.fields["matrix"], len(closed.items("participants"))
    needed = "no Gram matrix"
    fits = given is None
    if held is not None:
        past = held.number("past")
        needed = f"the Gram matrix of {n} updates and {past} global ones"
        fits = isinstance(given, Rec) and (given.number("updates"), given.number("past")) == (n, past)
        fits = fits and isinstance(given, Rec) and len(given.items("entries")) == (n + past) * (n + past + 1) // 2
    detail = f"{closed.text('task')}/{closed.number('number')} needs a result with {needed}"
    learning.need(fits, "aggregate.wrong_input", detail)


def settle(book: Book, task: Rec, closed: Rec, result: Rec) -> None:
    held, name, count = stake_of(book, closed), closed.text("task"), closed.number("number")
    if held is None:
        return
    amount, people = held.number("amount"), closed.texts("participants")
    place = b"fl/update/" + name.encode() + b"/" + learning.number(count) + b"/"
    houses = [book.sure("UpdateState", place + who.encode()).text("organisation") for who in people]
    found = score(task.rec("spec"), closed, result)
    shares = divide(amount, found, people, closed.data("seed"))
    shift(book, escrow=-amount, treasury=amount)
    earnings: list[Value] = []
    for who, house, one, share in zip(people, houses, found, shares, strict=True):
        given = share if has_room(book, house) else 0
        if has_room(book, house):
            if given:
                move(book, house, given, "earned", f"{name}/{count}", "")
            know(book, house)
            before = account(book, house)
            p = before.number("reputation")
            write_account(book, before.changed(reputation=p - p // 16 + one["score"] // 16))
        earnings.append(
            make(
                "Earning",
                participant=who,
                organisation=house,
                cluster=people[one["first"]],
                cluster_size=one["size"],
                information_micros=one["information"],
                score=one["score"],
                amount=given,
            )
        )
    paid = sum(one.number("amount") for one in earnings if isinstance(one, Rec))
    written = make(
        "Settlement", task=name, round=count, stake=amount, paid=paid, returned=amount - paid, earnings=earnings
    )
    book.write(round_key(b"settlement", name, count), written)
    change_pot(book, name, paid=paid, returned=amount - paid)
    book.say("reward.settled", f"{name}/{count}", f"{paid} of {amount} credits")


# 14.7


def matrix(
    book: Book,
    current: Rec,
    tensors: Sequence[arithmetic.Tensor],
    rows: Sequence[list[int]],
    words_of: Callable[[Rec], list[int]],
) -> Rec | None:
    held = stake_of(book, current)
    if held is None:
        return None
    name, v, past = current.text("task").encode(), current.number("base_version"), held.number("past")
    models = [
        words_of(book.sure("ModelState", b"fl/model/" + name + b"/" + learning.number(v - back)))
        for back in range(past + 1)
    ]
    everything = [*rows, *(difference(models[a], models[a + 1], tensors) for a in range(past))]
    pairs = combinations_with_replacement(range(len(everything)), 2)
    entries: list[Value] = [bytes_of(arithmetic.inner(everything[i], everything[j], tensors)) for i, j in pairs]
    return make("GramMatrix", updates=len(rows), past=past, entries=entries)


def difference(newer: list[int], older: list[int], tensors: Sequence[arithmetic.Tensor]) -> list[int]:
    shifts = [one.e - one.x + 11 for one in tensors for _ in range(one.size)]
    exact = [
        arithmetic.half_even(m - n, 2**s) if s >= 0 else (m - n) * 2**-s
        for m, n, s in zip(newer, older, shifts, strict=True)
    ]
    return [min(max(word, -8191), 8191) for word in exact]


def bytes_of(value: int) -> bytes:
    length = next(size for size in range(1, 65) if -(2 ** (8 * size - 1)) <= value < 2 ** (8 * size - 1))
    return value.to_bytes(length, "big", signed=True)


# 14.8


def score(spec: Rec, closed: Rec, result: Rec) -> list[dict[str, int]]:
    given = result.rec("matrix")
    n, h = given.number("updates"), given.number("past")
    whole = [[0] * (n + h) for _ in range(n + h)]
    entries = [one for one in given.items("entries") if isinstance(one, bytes)]
    for (i, j), entry in zip(combinations_with_replacement(range(n + h), 2), entries, strict=True):
        whole[i][j] = whole[j][i] = int.from_bytes(entry, "big", signed=True)
    groups = clusters(whole, n)
    rest, w = residual(whole, n, h), weights(spec, closed, result, whole)
    d = learning.words_of(spec.rec("schema"))
    found = []
    for i in range(n):
        outside = [j for j in range(n) if j not in groups[i]]
        used = [j for j in outside if w[j] > 0]
        t = sum(10**6 * rest[i][j] ** 2 // max(1, rest[i][i] * rest[j][j]) for j in used if rest[i][i] * rest[j][j] > 0)
        information = min(d * t // len(used), LIMIT) if used else 0
        along = sum(w[j] * whole[i][j] for j in outside)
        square = whole[i][i] * sum(w[j] * w[k] * whole[j][k] for j in outside for k in outside)
        earns = information > 4_000_000 and w[i] > 0 and along > 0 and square > 0
        points = min(10**6, 10**6 * along // isqrt(square)) // len(groups[i]) if earns else 0
        found.append({"first": min(groups[i]), "size": len(groups[i]), "information": information, "score": points})
    return found


def clusters(g: Matrix, n: int) -> list[set[int]]:
    groups = [{i} for i in range(n)]
    for i in range(n):
        for j in range(n):
            if i != j and g[i][j] > 0 and 10_000 * g[i][j] ** 2 > 9_801 * g[i][i] * g[j][j]:
                joined = groups[i] | groups[j]
                for k in joined:
                    groups[k] = joined
    return groups


def determinant(m: Matrix) -> int:
    """Leibniz' sum over permutations."""
    total = 0
    for order in permutations(range(len(m))):
        swaps = sum(order[a] > order[b] for a in range(len(m)) for b in range(a + 1, len(m)))
        total += (-1) ** swaps * prod(m[row][column] for row, column in enumerate(order))
    return total


def residual(g: Matrix, n: int, h: int) -> Matrix:
    for k in range(h, 0, -1):
        inner = [[g[n + a][n + b] for b in range(k)] for a in range(k)]
        if determinant(inner) > 0:
            return [[bordered(g, inner, n, k, i, j) for j in range(n)] for i in range(n)]
    return [row[:n] for row in g[:n]]


def bordered(g: Matrix, inner: Matrix, n: int, k: int, i: int, j: int) -> int:
    """det(K) G_ij - H_i adj(K) H_j' is the determinant of K bordered by H and G_ij."""
    right = [[*inner[a], g[j][n + a]] for a in range(k)]
    return determinant([*right, [*(g[i][n + a] for a in range(k)), g[i][j]]])


def weights(spec: Rec, closed: Rec, result: Rec, g: Matrix) -> list[int]:
    parts = result.recs("contributions")
    clip = arithmetic.clip_units(spec.number("clip_norm_micros"), min(closed.numbers("exponents")))
    norms = [max(0, g[i][i]) for i in range(len(parts))]
    factors = arithmetic.clip_factors(learning.rule_of(spec), norms, clip)
    most = max(p for _, p in factors)
    common = lcm(*(part.number("retained_of") for part in parts))
    plain = all(part.number("weight") == 0 for part in parts)
    found = []
    for part, (a, p) in zip(parts, factors, strict=True):
        kept, of = part.number("retained"), part.number("retained_of")
        unit = 1 if plain else part.number("weight")
        found.append(0 if 2 * kept < of else unit * kept * (common // of) * a * 2 ** (most - p))
    return found


def divide(stake: int, found: list[dict[str, int]], people: list[str], seed: bytes) -> list[int]:
    points = [one["score"] for one in found]
    if not any(points):
        return [0] * len(found)
    common = lcm(*(one["size"] for one in found))
    faith = [common // one["size"] if one["information"] > 4_000_000 else 0 for one in found]
    order = [digest("reward-tie", seed, who.encode()) for who in people]
    equal = stake * 250 // 1000
    pairs = zip(portion(equal, faith, order), portion(stake - equal, points, order), strict=True)
    return [a + b for a, b in pairs]


def portion(total: int, g: list[int], order: list[bytes]) -> list[int]:
    parts = [total * one // sum(g) for one in g]
    by_rest = sorted(range(len(g)), key=lambda i: (-(total * g[i] % sum(g)), order[i]))
    for i in by_rest[: total - sum(parts)]:
        parts[i] += 1
    return parts
