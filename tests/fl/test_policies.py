"""Policies on a chain: what a quorum agreed to binds the next transaction, and a refusal says which clause it was."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from fl.aggregators import RuleSpec
from fl.governance.changes import change_between
from fl.governance.records import ReleaseModel
from fl.governance.state import change_of, release_of
from fl.membership.proposals import LIFE_MS
from fl.membership.records import AddMember
from fl.policies.records import POLICIES_MAX, AdoptPolicy, Policy, RepealPolicy
from fl.policies.state import in_force as policies_in_force
from fl.policies.state import policy_of
from fl.records import EvaluationReport, TaskApproval, TaskProposal
from fl.state import model_of, present, round_of
from ledger.digest import ZERO_DIGEST
from tests.fl.consortium import task_spec
from tests.fl.members import Members
from tests.fl.policies import adopt, card_with_trainer, declaration, in_force, terms, update

DAY_MS = 86_400_000
ENOUGH = "update.samples >= 50"


def begin() -> Members:
    return Members.begin(4, task_spec())


def certified(members: Members, *trainers: str) -> None:
    """Let trainers fill a round and have it certified."""
    for name in trainers:
        assert update(members, name) == "ok"
    members.block(after_ms=5_000)
    assert members.chain.round().status == "closed"
    members.chain.certify(members.chain.claim(members.chain.compute()))


def test_an_update_that_a_policy_denies_is_refused_with_policy_clause_and_values() -> None:
    members = begin()
    assert update(members, "a", samples=30) == "ok"

    in_force(members, "minimum-samples", "update", f"true && {ENOUGH}")

    denied = "policy.denied: policy minimum-samples, clause 2: update.samples >= 50; update.samples = 30"
    assert update(members, "b", samples=30) == denied
    assert update(members, "b", samples=50) == "ok"


def test_f_organisations_can_neither_adopt_nor_keep_out_a_policy() -> None:
    members = begin()
    number = members.vote(adopt("p", "update", "false"), "a", "b")
    assert (members.proposal(number).status, update(members, "a")) == ("open", "ok")

    members.approve("c", number)

    assert members.proposal(number).status == "enacted"
    assert update(members, "b") == "policy.denied: policy p, clause 1: false"


def test_a_policy_waits_for_its_delay_and_one_of_the_same_name_replaces_it() -> None:
    members = begin()
    number = members.vote(adopt("p", "update", "false", delay_ms=10_000), "a", "b", "c")
    assert (members.proposal(number).status, update(members, "a")) == ("waiting", "ok")
    members.block(after_ms=10_000)
    assert members.proposal(number).status == "enacted"

    in_force(members, "p", "update", ENOUGH)

    assert [one.name for one in policies_in_force(members.chain.state)] == ["p"]


def test_the_strictest_policy_can_be_repealed_since_none_judges_policies() -> None:
    members = begin()
    for occasion in ("task", "round", "update", "close", "proposal", "release"):
        in_force(members, f"no-{occasion}", occasion, "false")

    members.vote(RepealPolicy("no-update", 0), "a", "b", "c")
    members.vote(RepealPolicy("no-round", 0), "a", "b", "c")

    state = policy_of(members.chain.state, "no-update")
    assert state is not None
    assert 0 < state.adopted_height < state.repealed_height
    assert update(members, "a") == "ok"


@pytest.mark.parametrize(
    "source, code",
    [
        ("{1: true}[1]", "policy.unsound"),
        ("update.samples > 1.5", "policy.unsound"),
        ("update.participant.matches('a.*')", "policy.unsound"),
        ("timestamp('2026-01-01T00:00:00Z') > time_ms", "policy.unsound"),
        ("dyn(update.samples) > 3", "policy.unsound"),
        ("update.weight > 3", "policy.unsound"),
        ("update.samples", "policy.unsound"),
        ("sites.size() > 1", "policy.unsound"),
        ("update.samples > 1", "policy.other_tree"),
    ],
)
def test_what_could_not_be_decided_the_same_way_everywhere_is_refused_when_it_is_proposed(
    source: str, code: str
) -> None:
    members = begin()

    receipt = members.propose("a", AdoptPolicy(Policy("p", "update", "", source, ZERO_DIGEST), 0))

    assert receipt.code == code


def test_so_many_policies_are_in_force_at_most() -> None:
    members = begin()
    for number in range(POLICIES_MAX):
        members.vote(adopt(f"p{number}", "task", "true"), "a", "b", "c")

    assert members.propose("a", adopt("more", "task", "true")).code == "policy.too_many"
    assert members.propose("a", adopt("p0", "update", "true")).accepted


def test_a_round_that_may_not_close_fails_with_the_denial_as_its_reason() -> None:
    members = begin()
    in_force(members, "everybody", "close", "round.organisations.size() >= 4")
    for name in "abc":
        assert update(members, name) == "ok"

    members.block(after_ms=5_000)

    failed = round_of(members.chain.state, "heart", 1)
    assert failed is not None
    assert failed.status == "failed"
    assert failed.reason == (
        'policy everybody, clause 1: size(round.organisations) >= 4; round.organisations = ["a", "b", "c"]'
    )
    assert members.chain.round().number == 2


def test_a_round_begins_only_when_its_policies_allow_it_and_days_are_counted() -> None:
    members = begin()
    in_force(members, "one-a-day", "round", "round.begun_today < 1")
    certified(members, "a", "b", "c")

    assert update(members, "a").startswith("policy.denied: policy one-a-day, clause 1: round.begun_today < 1")
    members.block(after_ms=DAY_MS)

    assert [update(members, name) for name in "ab"] == ["ok", "ok"]


def test_a_cohort_that_differs_from_the_last_by_one_site_does_not_close() -> None:
    members = begin()
    in_force(
        members,
        "cohorts",
        "close",
        "round.previous.size() == 0 || size(round.organisations.filter(o, !(o in round.previous))) + "
        "size(round.previous.filter(o, !(o in round.organisations))) != 1",
    )
    certified(members, "a", "b", "c")
    for name in "abcd":
        update(members, name)
    assert "policy cohorts" in round_of(members.chain.state, "heart", 2).reason  # type: ignore[union-attr]

    certified(members, "a", "b", "c")


def test_terms_and_declarations_are_what_policies_on_tasks_and_sites_see() -> None:
    members = Members.begin()
    spec = task_spec()
    in_force(members, "purposes", "task", 'task.purpose in ["research"]')
    in_force(members, "ethics", "update", "height < site.ethics_expiry_height && !site.consent_withdrawn")
    assert members.say("a", "task.propose", TaskProposal(spec, None)).detail == (
        'policy purposes, clause 1: task.purpose in ["research"]; task.purpose = ""'
    )

    members.vote(terms(spec.id, purpose="research"), "a", "b", "c")
    assert members.say("a", "task.propose", TaskProposal(spec, None)).accepted
    in_force(members, "not-c", "task", 'site.name != "c"')
    members.say("b", "task.approve", TaskApproval("heart", spec.digest))
    assert members.say("c", "task.approve", TaskApproval("heart", spec.digest)).code == "policy.denied"
    assert members.say("d", "task.approve", TaskApproval("heart", spec.digest)).accepted

    assert update(members, "a").startswith("policy.denied: policy ethics, clause 1")
    members.say("a", "site.declare", declaration(ethics_id="E-1", ethics_expiry_height=1_000))
    assert update(members, "a") == "ok"
    members.say("b", "site.declare", declaration(ethics_expiry_height=1_000, consent="withdrawn"))
    assert update(members, "b").startswith("policy.denied: policy ethics, clause 2: !site.consent_withdrawn")


def released(members: Members) -> ReleaseModel:
    model = present(model_of(members.chain.state, "heart", 1), "the model").payload
    return ReleaseModel("heart", 1, present(model, "its payload"))


def test_a_release_waits_for_the_reviewers_that_a_policy_names_and_then_stands() -> None:
    members = Members.begin(7, task_spec(updates_max=7))
    for action in (
        adopt("reviewers", "release", 'proposal.approvals.exists(a, "clinical" in a.reviews)'),
        adopt("floor", "release", "release.evaluations.exists(e, e.metrics.all(m, m.value >= 700000))"),
    ):
        members.vote(action, "a", "b", "c", "d", "e")
    certified(members, "a", "b", "c")
    number = members.vote(released(members), "a", "b", "c", "d", "e", "f")
    assert members.proposal(number).status == "waiting"

    members.say("g", "site.declare", declaration(reviews=("clinical",)))
    events = members.approve("g", number).events
    assert [(event.kind, event.detail) for event in events] == [("governance.seconded", "by g of g")]
    assert members.proposal(number).status == "waiting"
    members.say("b", "evaluation", EvaluationReport("heart", 1, 10, (("auc", 800_000),)))

    assert members.proposal(number).status == "enacted"
    assert release_of(members.chain.state, "heart", 1) is not None


def test_a_release_that_is_never_reviewed_lapses_with_the_denial() -> None:
    members = begin()
    in_force(members, "never", "proposal", 'proposal.action != "release-model"')
    certified(members, "a", "b", "c")
    number = members.vote(released(members), "a", "b", "c", "d")

    members.block(after_ms=LIFE_MS)

    assert members.proposal(number).status == "lapsed"
    assert members.proposal(number).reason.startswith('policy never, clause 1: proposal.action != "release-model"')


def test_a_task_is_not_changed_into_what_policies_on_tasks_deny() -> None:
    members = begin()
    in_force(members, "liars", "task", "task.attackers >= 1")
    spec = members.chain.task().spec
    lax = msgspec.structs.replace(spec, rule=RuleSpec("weighted-mean/1", 0))

    number = members.vote(change_between(spec, lax), "a", "b", "c")

    assert members.proposal(number).status == "waiting"
    assert change_of(members.chain.state, "heart") is None
    members.vote(RepealPolicy("liars", 0), "a", "b", "c")
    members.block()
    assert members.proposal(number).status == "enacted"


def test_without_a_policy_the_state_has_no_entry_of_policies() -> None:
    members = begin()
    certified(members, "a", "b", "c")

    kinds = {bytes(key).split(b"/")[1] for key, _ in members.chain.state.items() if key.startswith(b"fl/")}
    assert not kinds & {b"policies", b"policy", b"pace", b"site", b"terms", b"approvers", b"release"}


def test_policies_see_how_often_the_rule_did_without_a_site() -> None:
    members = begin()
    in_force(members, "quarantine", "update", "site.judged < 2 || site.left_out * 2 <= site.judged")
    for _ in range(2):
        for name in "abc":
            assert update(members, name) == "ok"
        wild = members.chain.update("d", np.full(8, 8_000, np.int16))
        members.say("d", "update", wild)
        members.chain.certify(members.chain.claim(members.chain.compute()))

    wild = members.chain.update("d", np.full(8, 8_000, np.int16))
    receipt = members.say("d", "update", wild)

    assert receipt.code == "policy.denied"
    assert receipt.detail.endswith("site.judged = 2, site.left_out = 2")


def test_only_officers_declare_for_their_own_site_and_lists_ascend() -> None:
    members = begin()

    assert members.say("a", "site.declare", declaration(reviews=("b", "a"))).code == "site.unsound"
    assert members.say("a", "site.declare", declaration(purposes=("a", "a"))).code == "site.unsound"
    members.attest(members.vote(AddMember(card_with_trainer("e")), "a", "b", "c"), "a", "b")
    assert members.say("e-trainer", "site.declare", declaration()).code == "site.not_officer"
    assert members.say("e", "site.declare", declaration(region="eu")).accepted


def test_the_same_chain_has_the_same_root_with_and_without_a_cache() -> None:
    from fl.policies.program import compile_policy

    roots = []
    for _ in range(2):
        compile_policy.cache_clear()
        members = begin()
        in_force(members, "minimum-samples", "update", ENOUGH)
        update(members, "a", samples=30)
        roots.append(members.chain.state.root)
    assert roots[0] == roots[1]


def test_the_first_policy_by_name_that_denies_is_the_one_that_is_named() -> None:
    members = begin()
    in_force(members, "z-last", "update", "1 / 0 == 1")
    assert update(members, "a") == "policy.denied: policy z-last, clause 1: 1 / 0 == 1; division by zero"

    in_force(members, "a-first", "update", "false")

    assert update(members, "b") == "policy.denied: policy a-first, clause 1: false"
