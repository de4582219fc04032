"""`/v1/policies`, `/v1/sites`, terms: what the consortium demands, what institutions say of themselves."""

from __future__ import annotations

from aiohttp import web

from fl.membership.records import ProposalState
from fl.policies.enforcement import enactment_denial
from fl.policies.occasions import OCCASIONS
from fl.policies.program import compile_policy
from fl.policies.records import Policy, PolicyState, SetTerms, SiteState
from fl.policies.state import POLICY_PREFIX, SITE_PREFIX, policy_key, policy_of, site_key, site_of, terms_of
from fl.policies.syntax import text_of
from fl.state import decoded
from ledger.application import BlockContext
from ledger.fields import Height
from node.api.answering import VIEW, json, limit_of, optional_name
from node.api.operations import AFTER_NAME, LIMIT, get
from node.api.policy_answers import (
    PoliciesAnswer,
    PolicyItem,
    SiteItem,
    SitesAnswer,
    TermsAnswer,
)
from node.api.problem import Problem
from node.view import NodeView


async def policies(request: web.Request) -> web.Response:
    """List policies that are or were in force, ascending by name; `?after=` a name, `?limit=`."""
    limit, after = limit_of(request), optional_name(request, "after")
    start = b"" if after is None else policy_key(after)
    rows = request.app[VIEW].store.state_items(POLICY_PREFIX, after=start, limit=limit)
    items = tuple(_policy(decoded(value, PolicyState)) for _, value in rows)
    return json(PoliciesAnswer(items=items, next=items[-1].name if len(items) == limit else None))


async def policy(request: web.Request) -> web.Response:
    """Give one policy by its name."""
    name = request.match_info["name"]
    found = policy_of(request.app[VIEW].state(), name)
    if found is None:
        raise Problem(404, "policy.unknown", f"no policy named {name[:64]!r} is or was in force: see /v1/policies")
    return json(_policy(found))


async def sites(request: web.Request) -> web.Response:
    """List what institutions declare of themselves, ascending by name; `?after=` a name, `?limit=`."""
    limit, after = limit_of(request), optional_name(request, "after")
    start = b"" if after is None else site_key(after)
    rows = request.app[VIEW].store.state_items(SITE_PREFIX, after=start, limit=limit)
    items = tuple(_site(decoded(value, SiteState)) for _, value in rows)
    return json(SitesAnswer(items=items, next=items[-1].organisation if len(items) == limit else None))


async def site(request: web.Request) -> web.Response:
    """Give what one institution declares."""
    name = request.match_info["organisation"]
    found = site_of(request.app[VIEW].state(), name)
    if found is None:
        raise Problem(404, "site.unknown", f"{name[:64]!r} has declared nothing: see /v1/sites")
    return json(_site(found))


async def terms(request: web.Request) -> web.Response:
    """Give what a quorum agreed about a task beside its specification."""
    name = request.match_info["task"]
    found = terms_of(request.app[VIEW].state(), name)
    if found is None:
        raise Problem(404, "terms.unknown", f"no terms were agreed for a task {name[:64]!r}")
    return json(terms_answer(found))


def policy_item(one: Policy, *, adopted: int, repealed: int) -> PolicyItem:
    """Return a policy as the API shows it."""
    program = compile_policy(one.source, OCCASIONS[one.occasion])
    return PolicyItem(
        name=one.name,
        occasion=one.occasion,
        description=one.description,
        source=one.source,
        tree=one.tree.hex(),
        clauses=tuple(text_of(clause.node) for clause in program.clauses),
        cost_max=program.cost_max,
        adopted_height=adopted,
        repealed_height=repealed,
    )


def terms_answer(one: SetTerms) -> TermsAnswer:
    """Return terms as the API shows them."""
    return TermsAnswer(
        task=one.task,
        purpose=one.purpose,
        data_set=one.data_set,
        architecture=one.architecture,
        code_hash=one.code_hash,
        privacy_tier=one.privacy_tier,
        retention_heights=one.retention_heights,
        reward_share_permille=one.reward_share_permille,
        noise_micros=one.mechanism.noise_micros,
        sampling_micros=one.mechanism.sampling_micros,
        steps=one.mechanism.steps,
    )


def held_by(view: NodeView, proposal: ProposalState) -> str:
    """Return which policy keeps a proposal from being enacted now that it has its votes; empty when none does."""
    tip = view.store.tip()
    if proposal.status != "waiting" or tip is None:
        return ""
    context = BlockContext(view.chain_id, Height(tip.height + 1), tip.time_ms + 1, tip.block_id, view.validators(), 0)
    return enactment_denial(view.state(), context, proposal)


def _policy(one: PolicyState) -> PolicyItem:
    return policy_item(one.policy, adopted=one.adopted_height, repealed=one.repealed_height)


def _site(one: SiteState) -> SiteItem:
    said = one.declaration
    return SiteItem(
        organisation=one.organisation,
        region=said.region,
        purposes=said.purposes,
        privacy_tier=said.privacy_tier,
        ethics_id=said.ethics_id,
        ethics_expiry_height=said.ethics_expiry_height,
        consent=said.consent,
        reviews=said.reviews,
        officer=one.officer,
        height=one.height,
    )


ROUTES = (
    get("/v1/policies", policies, PoliciesAnswer, query=(AFTER_NAME, LIMIT)),
    get("/v1/policies/{name}", policy, PolicyItem, problems=("policy.unknown",)),
    get("/v1/sites", sites, SitesAnswer, query=(AFTER_NAME, LIMIT)),
    get("/v1/sites/{organisation}", site, SiteItem, problems=("site.unknown",)),
    get("/v1/tasks/{task}/terms", terms, TermsAnswer, problems=("terms.unknown",)),
)
