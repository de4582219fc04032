"""`/v1/validators`, `/v1/proposals`, `/v1/evidence`: who decides, who is to decide, and who may not."""

from __future__ import annotations

import re

from aiohttp import web

from fl.governance.records import EVERYTHING, ChangeTask, PauseLearning, ReleaseModel, ResumeLearning
from fl.membership.actions import subject_of
from fl.membership.records import Action, AddMember, OffenceState, ProposalState
from fl.membership.state import (
    OFFENCE_PREFIX,
    PROPOSAL_PREFIX,
    proposal_key,
    proposal_of,
    seat_changes_of,
    suspended_of,
)
from fl.policies.actions import about
from fl.policies.records import AdoptPolicy, RepealPolicy, SetTerms
from fl.privacy.records import SetBudget
from fl.state import decoded
from ledger.reigns import coming_validators_of, reigns_of, validators_at
from ledger.validators import Validator
from node.api.answering import VIEW, integer, json, limit_of, optional_integer
from node.api.budgets import budget_answer
from node.api.membership_answers import (
    ChangesAnswer,
    OffenceItem,
    OffencesAnswer,
    ProposalItem,
    ProposalsAnswer,
    ReignItem,
    ReignsAnswer,
    SeatChangeItem,
    SuspensionItem,
    ValidatorItem,
    ValidatorsAnswer,
)
from node.api.operations import AFTER_OFFENCE, BEFORE, HEIGHT, LIMIT, OFFENCE, get
from node.api.policies import held_by, policy_item, terms_answer
from node.api.problem import Problem
from node.view import NodeView

NUMBER_MAX = 10**12 - 1


async def validators(request: web.Request) -> web.Response:
    """Tell who decides the next height, or `?height=`."""
    view = request.app[VIEW]
    coming = _next_height(view)
    asked = optional_integer(request, "height")
    height = coming if asked is None else asked
    found = validators_at(view.state(), height) if 1 <= height <= coming else None
    if found is None:
        raise Problem(404, "validators.unknown", f"heights 1 to {coming} can be asked for, got {height}")
    return json(
        ValidatorsAnswer(
            height=height,
            validators_hash=found.hash.hex(),
            quorum=found.quorum,
            faulty_max=found.faulty_max,
            items=tuple(_validator(one) for one in found.members),
        )
    )


async def changes(request: web.Request) -> web.Response:
    """Tell who decides the height after the next, which seats change later, and who is suspended."""
    view = request.app[VIEW]
    state = view.state()
    seated = {one.name for one in view.validators().members}
    waiting = (
        SeatChangeItem(name=one.name, validator=None if one.validator is None else _validator(one.validator))
        for one in seat_changes_of(state).waiting
    )
    suspended = (
        SuspensionItem(
            name=one.validator.name, offence=one.offence, height=one.height, sits=one.validator.name in seated
        )
        for one in suspended_of(state)
    )
    return json(
        ChangesAnswer(
            height=_next_height(view) + 1,
            coming=tuple(_validator(one) for one in coming_validators_of(state).members),
            waiting=tuple(waiting),
            suspended=tuple(suspended),
        )
    )


async def reigns(request: web.Request) -> web.Response:
    """Tell which set decides from which height on; `/v1/validators?height=` gives the set."""
    found = reigns_of(request.app[VIEW].state())
    return json(
        ReignsAnswer(
            items=tuple(ReignItem(first=one.first, validators_hash=one.validators_hash.hex()) for one in found)
        )
    )


async def proposals(request: web.Request) -> web.Response:
    """List proposals, newest first; `?before=` a number, `?limit=`."""
    limit, before = limit_of(request), optional_integer(request, "before")
    rows = request.app[VIEW].store.state_items_down(
        PROPOSAL_PREFIX, before=None if before is None else proposal_key(min(before, NUMBER_MAX)), limit=limit
    )
    view = request.app[VIEW]
    items = tuple(_proposal(view, decoded(value, ProposalState)) for _, value in rows)
    more = len(items) == limit and items[-1].number > 1
    return json(ProposalsAnswer(items=items, next=items[-1].number if more else None))


async def proposal(request: web.Request) -> web.Response:
    """Give one proposal by its number."""
    number = integer(request.match_info["number"], "number")
    found = proposal_of(request.app[VIEW].state(), number)
    if found is None:
        raise Problem(404, "proposal.unknown", f"no proposal has number {number}")
    return json(_proposal(request.app[VIEW], found))


async def evidence(request: web.Request) -> web.Response:
    """List proven offences, ascending by validator; `?after=` the last one, `?limit=`."""
    limit, after = limit_of(request), request.query.get("after")
    if after is not None and re.fullmatch(OFFENCE, after) is None:
        raise Problem(400, "request.invalid", "after: `next` of the page before was needed")
    start = b"" if after is None else OFFENCE_PREFIX + after.encode()
    rows = request.app[VIEW].store.state_items(OFFENCE_PREFIX, after=start, limit=limit)
    items = tuple(_offence(decoded(value, OffenceState)) for _, value in rows)
    last = rows[-1][0].removeprefix(OFFENCE_PREFIX).decode() if len(rows) == limit else None
    return json(OffencesAnswer(items=items, next=last))


def _next_height(view: NodeView) -> int:
    tip = view.store.tip()
    return 1 if tip is None else tip.height + 1


def _validator(one: Validator) -> ValidatorItem:
    return ValidatorItem(
        name=one.name, public_key=one.public_key.hex(), transport_key=one.transport_key.hex(), address=one.address
    )


def _proposal(view: NodeView, one: ProposalState) -> ProposalItem:
    action = one.action
    return ProposalItem(
        number=one.number,
        action=str(one.action.__struct_config__.tag),
        subject=_about(one.action),
        digest=one.digest.hex(),
        organisation=one.organisation,
        status=one.status,
        approvals=one.approvals,
        attestations=one.attestations,
        proposed_height=one.proposed_height,
        due_ms=one.due_ms,
        lapses_ms=one.lapses_ms,
        decided_height=one.decided_height,
        reason=one.reason,
        policy=policy_item(action.policy, adopted=0, repealed=0) if isinstance(action, AdoptPolicy) else None,
        terms=terms_answer(action) if isinstance(action, SetTerms) else None,
        budget=budget_answer(action) if isinstance(action, SetBudget) else None,
        held_by=held_by(view, one),
    )


def _about(action: Action) -> str:
    match action:
        case AddMember(card):
            return card.name
        case PauseLearning(task) | ResumeLearning(task):
            return task or EVERYTHING
        case ChangeTask(task):
            return task
        case ReleaseModel(task, version):
            return f"{task}/{version}"
        case AdoptPolicy() | RepealPolicy() | SetTerms():
            return about(action)
        case SetBudget(organisation, data_set):
            return f"{organisation}/{data_set}"
        case _:
            return subject_of(action) or ""


def _offence(one: OffenceState) -> OffenceItem:
    return OffenceItem(
        validator=one.validator,
        kind=one.kind,
        offence_height=one.offence_height,
        view=one.view,
        transaction=one.transaction.hex(),
        height=one.height,
    )


ROUTES = (
    get("/v1/validators", validators, ValidatorsAnswer, query=(HEIGHT,), problems=("validators.unknown",)),
    get("/v1/validators/changes", changes, ChangesAnswer),
    get("/v1/validators/reigns", reigns, ReignsAnswer),
    get("/v1/proposals", proposals, ProposalsAnswer, query=(BEFORE, LIMIT)),
    get("/v1/proposals/{number}", proposal, ProposalItem, problems=("proposal.unknown",)),
    get("/v1/evidence", evidence, OffencesAnswer, query=(AFTER_OFFENCE, LIMIT)),
)
