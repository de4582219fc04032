"""`/v1/budgets`: how much a site's data may have told, and how much of that is gone."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from fl.privacy.account import costs_of, period_at
from fl.privacy.epsilon import epsilon_nanos
from fl.privacy.records import PrivacyAccount, SetBudget
from fl.privacy.renyi import NOTHING
from fl.privacy.state import ACCOUNT_PREFIX, account_of
from fl.state import decoded
from node.api.answering import VIEW, json, limit_of
from node.api.budget_answers import BudgetAnswer, BudgetItem, BudgetsAnswer, ReservationItem
from node.api.operations import ACCOUNT, AFTER_ACCOUNT, LIMIT, get
from node.api.problem import Problem
from node.view import NodeView

_SLASH: Final = "/"


async def budgets(request: web.Request) -> web.Response:
    """List privacy budgets, ascending by organisation and data set; `?after=` the last one, `?limit=`."""
    view, limit, after = request.app[VIEW], limit_of(request), request.query.get("after")
    if after is not None and re.fullmatch(ACCOUNT, after) is None:
        raise Problem(400, "request.invalid", "after: `next` of the page before was needed")
    start = b"" if after is None else ACCOUNT_PREFIX + after.encode()
    rows = view.store.state_items(ACCOUNT_PREFIX, after=start, limit=limit)
    items = tuple(_item(view, decoded(value, PrivacyAccount)) for _, value in rows)
    last = f"{items[-1].organisation}{_SLASH}{items[-1].data_set}" if len(items) == limit else None
    return json(BudgetsAnswer(items=items, next=last))


async def budget(request: web.Request) -> web.Response:
    """Give one site's privacy budget for a data set."""
    view, house, data_set = request.app[VIEW], request.match_info["organisation"], request.match_info["data_set"]
    found = account_of(view.state(), house, data_set)
    if found is None:
        raise Problem(404, "budget.unknown", f"{house[:64]!r} has no budget for {data_set[:64]!r}: see /v1/budgets")
    return json(_item(view, found))


def budget_answer(one: SetBudget) -> BudgetAnswer:
    """Return limits as the API shows them."""
    return BudgetAnswer(
        organisation=one.organisation,
        data_set=one.data_set,
        delta_digits=one.delta_digits,
        period_ms=one.period_ms,
        period_limit_nanos=one.period_limit_nanos,
        lifetime_limit_nanos=one.lifetime_limit_nanos,
    )


def _item(view: NodeView, one: PrivacyAccount) -> BudgetItem:
    limits, tip = one.budget, view.store.tip()
    period = period_at(limits, 0 if tip is None else tip.time_ms)
    spent = one.spent_period if one.period == period else NOTHING
    return BudgetItem(
        organisation=limits.organisation,
        data_set=limits.data_set,
        delta_digits=limits.delta_digits,
        period_ms=limits.period_ms,
        period=period,
        period_nanos=epsilon_nanos(spent, limits.delta_digits),
        period_limit_nanos=limits.period_limit_nanos,
        lifetime_nanos=epsilon_nanos(one.spent_lifetime, limits.delta_digits),
        lifetime_limit_nanos=limits.lifetime_limit_nanos,
        opened=one.opened,
        reservations=tuple(
            ReservationItem(
                task=held.task,
                round=held.round,
                epsilon_nanos=epsilon_nanos(costs_of(held.mechanism), limits.delta_digits),
            )
            for held in one.reservations
        ),
    )


ROUTES = (
    get("/v1/budgets", budgets, BudgetsAnswer, query=(AFTER_ACCOUNT, LIMIT)),
    get("/v1/budgets/{organisation}/{data_set}", budget, BudgetItem, problems=("budget.unknown",)),
)
