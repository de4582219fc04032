"""`/v1/rewards`, `/v1/tasks/{task}/pot` and `.../rewards`: who has how many credits, and what for."""

from __future__ import annotations

import re

from aiohttp import web

from fl.incentives.accounts import supply
from fl.incentives.records import Account, Earning, StatementEntry
from fl.incentives.scores import INFORMATION_MIN_MICROS
from fl.incentives.state import (
    ACCOUNT_PREFIX,
    account_key,
    entries_prefix,
    entry_key,
    pot_of,
    settlement_of,
    treasury_of,
)
from fl.state import decoded
from node.api.answering import VIEW, integer, json, limit_of, optional_integer, optional_name
from node.api.operations import AFTER_NAME, BEFORE, LIMIT, NAME, get
from node.api.problem import Problem
from node.api.reward_answers import (
    AccountAnswer,
    AccountsAnswer,
    EarningAnswer,
    PotAnswer,
    SettlementAnswer,
    StatementAnswer,
    StatementEntryAnswer,
    TreasuryAnswer,
)
from node.api.rounds import ROUND_MAX
from node.api.tasks import require_task


async def treasury(request: web.Request) -> web.Response:
    """Tell how many credits there are, and where."""
    state = request.app[VIEW].state()
    found = treasury_of(state)
    if found is None:
        return json(TreasuryAnswer(minted=0, burned=0, treasury=0, escrow=0, balances=0, accounts=0))
    return json(
        TreasuryAnswer(
            minted=found.minted,
            burned=found.burned,
            treasury=found.treasury,
            escrow=found.escrow,
            balances=supply(state) - found.escrow - found.treasury,
            accounts=len(found.accounts),
        )
    )


async def accounts(request: web.Request) -> web.Response:
    """List accounts, ascending by organisation; `?after=` one, `?limit=`."""
    limit, after = limit_of(request), optional_name(request, "after")
    rows = request.app[VIEW].store.state_items(
        ACCOUNT_PREFIX, after=b"" if after is None else account_key(after), limit=limit
    )
    items = tuple(_account(decoded(value, Account)) for _, value in rows)
    return json(AccountsAnswer(items=items, next=items[-1].organisation if len(items) == limit else None))


async def account(request: web.Request) -> web.Response:
    """Give one organisation's account."""
    return json(_account(_require_account(request)))


async def statement(request: web.Request) -> web.Response:
    """List what moved an organisation's credits, newest first; `?before=` a number, `?limit=`."""
    limit, before = limit_of(request), optional_integer(request, "before")
    name = _require_account(request).organisation
    key = None if before is None else entry_key(name, min(before, ROUND_MAX))
    rows = request.app[VIEW].store.state_items_down(entries_prefix(name), before=key, limit=limit)
    items = tuple(_entry(decoded(value, StatementEntry)) for _, value in rows)
    more = len(items) == limit and items[-1].number > 1
    return json(StatementAnswer(items=items, next=items[-1].number if more else None))


async def pot(request: web.Request) -> web.Response:
    """Give a task's pot."""
    view, name = request.app[VIEW], request.match_info["task"]
    require_task(view, name)
    found = pot_of(view.state(), name)
    if found is None:
        raise Problem(404, "pot.unknown", f"nobody has funded {name}: its rounds are not paid for")
    return json(
        PotAnswer(task=found.task, escrow=found.escrow, funded=found.funded, paid=found.paid, returned=found.returned)
    )


async def round_rewards(request: web.Request) -> web.Response:
    """Tell how a certified round's stake was divided, and why; `latest` is the latest that was."""
    view, name, text = request.app[VIEW], request.match_info["task"], request.match_info["round"]
    task = require_task(view, name)
    numbers = range(task.round, max(0, task.round - 2), -1) if text == "latest" else (_number(text),)
    found = next((one for one in (settlement_of(view.state(), name, number) for number in numbers) if one), None)
    if found is None:
        raise Problem(404, "settlement.unknown", f"no stake of round {text} of {name} was divided")
    earnings = tuple(_earning(one) for one in found.earnings)
    return json(
        SettlementAnswer(
            task=found.task,
            round=found.round,
            stake=found.stake,
            paid=found.paid,
            returned=found.returned,
            earnings=earnings,
        )
    )


def _number(text: str) -> int:
    return integer(text, "round", high=ROUND_MAX)


def _require_account(request: web.Request) -> Account:
    name = request.match_info["organisation"]
    value = request.app[VIEW].state().get(account_key(name)) if re.fullmatch(NAME, name) else None
    if value is None:
        raise Problem(404, "account.unknown", f"{name[:80]} never had credits")
    found: Account = decoded(value, Account)
    return found


def _account(one: Account) -> AccountAnswer:
    return AccountAnswer(
        organisation=one.organisation,
        balance=one.balance,
        earned=one.earned,
        reputation=one.reputation,
        entries=one.entries,
    )


def _entry(one: StatementEntry) -> StatementEntryAnswer:
    return StatementEntryAnswer(
        number=one.number,
        height=one.height,
        kind=one.kind,
        amount=one.amount,
        subject=one.subject,
        memo=one.memo,
        balance=one.balance,
    )


def _earning(one: Earning) -> EarningAnswer:
    return EarningAnswer(
        participant=one.participant,
        organisation=one.organisation,
        cluster=one.cluster,
        cluster_size=one.cluster_size,
        information_micros=one.information_micros,
        passed=one.information_micros > INFORMATION_MIN_MICROS,
        score=one.score,
        amount=one.amount,
    )


ROUTES = (
    get("/v1/rewards", treasury, TreasuryAnswer),
    get("/v1/rewards/accounts", accounts, AccountsAnswer, query=(AFTER_NAME, LIMIT)),
    get("/v1/rewards/accounts/{organisation}", account, AccountAnswer, problems=("account.unknown",)),
    get(
        "/v1/rewards/accounts/{organisation}/statement",
        statement,
        StatementAnswer,
        query=(BEFORE, LIMIT),
        problems=("account.unknown",),
    ),
    get("/v1/tasks/{task}/pot", pot, PotAnswer, problems=("task.unknown", "pot.unknown")),
    get(
        "/v1/tasks/{task}/rounds/{round}/rewards",
        round_rewards,
        SettlementAnswer,
        problems=("task.unknown", "settlement.unknown"),
    ),
)
