"""Where execution asks the policies. One law: all of an occasion must allow it; the first that does not is told.

Policies are asked in the order of their names, after everything else has been found in order: what a policy judges is
otherwise sound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fl.governance.changes import changed_spec
from fl.governance.records import ChangeTask, ReleaseModel
from fl.membership.records import ProposalState
from fl.policies import facts
from fl.policies.actions import about
from fl.policies.inputs import APPROVERS_MAX, RoundInput, SiteInput, TaskInput
from fl.policies.occasions import (
    OCCASIONS,
    CloseOccasion,
    Occasion,
    ProposalOccasion,
    ReleaseOccasion,
    RoundOccasion,
    TaskOccasion,
    UpdateOccasion,
)
from fl.policies.program import compile_policy, judge
from fl.policies.records import Approver, Approvers, Pace, SetTerms
from fl.policies.state import approvers_key, approvers_of, in_force, pace_key, pace_of, policy_of
from fl.policies.types import Input
from fl.privacy.charging import budget_input
from fl.privacy.records import SetBudget
from fl.records import Participant, RoundState, TaskSpec, TaskState, UpdateSubmission
from fl.state import present, task_of, write
from ledger.application import BlockContext, Overlay, RefusalError, StateReader

JUDGED: Final = (SetTerms, SetBudget, ReleaseModel)
"""Actions on which policies are asked."""


def require_task(state: StateReader, context: BlockContext, spec: TaskSpec, officer: Participant) -> None:
    """Ask whether a task may be proposed, or become active.

    Raises:
        RefusalError: `policy.denied`.
    """

    def seen() -> Input:
        site = facts.site_input(state, officer.organisation, {})
        return TaskOccasion(context.height, context.time_ms, facts.task_input(state, spec), site)

    _require(state, "task", seen)


def require_update(
    state: StateReader,
    context: BlockContext,
    task: TaskState,
    current: RoundState,
    trainer: Participant,
    submission: UpdateSubmission,
) -> None:
    """Ask whether an update may come in and, when it is the first, whether its round may begin.

    Raises:
        RefusalError: `policy.denied`.
    """
    if not in_force(state):
        return

    def parts() -> tuple[TaskInput, RoundInput, SiteInput]:
        site = facts.site_input(state, trainer.organisation, facts.uses_of(state, task))
        return facts.task_input(state, task.spec), facts.round_input(state, context, task, current), site

    def begins() -> Input:
        return RoundOccasion(context.height, context.time_ms, *parts())

    def comes_in() -> Input:
        seen_task, seen_round, site = parts()
        update, budget = (
            facts.update_input(trainer, submission),
            budget_input(state, context, task.spec, current, trainer.organisation),
        )
        return UpdateOccasion(context.height, context.time_ms, seen_task, seen_round, update, site, budget)

    if not current.participants:
        _require(state, "round", begins)
    _require(state, "update", comes_in)


def note_beginning(state: Overlay, context: BlockContext, task: str) -> None:
    """Count a round that begins, when there are policies that might want to know."""
    if in_force(state):
        day, pace = context.time_ms // facts.DAY_MS, pace_of(state, task)
        write(state, pace_key(task), Pace(day, pace.rounds + 1 if pace.day == day else 1))


def closing_denial(state: StateReader, context: BlockContext, task: TaskState, current: RoundState) -> str:
    """Return why a round may not close; empty when it may."""

    def seen() -> Input:
        uses = facts.uses_of(state, task)
        return CloseOccasion(
            context.height,
            context.time_ms,
            facts.task_input(state, task.spec),
            facts.round_input(state, context, task, current),
            tuple(facts.site_input(state, name, uses) for name in current.organisations),
        )

    return _denial(state, "close", seen)


def enactment_denial(state: StateReader, context: BlockContext, proposal: ProposalState) -> str:
    """Return why a proposal that has its votes may not be enacted yet; empty when it may."""
    action = proposal.action
    if isinstance(action, ChangeTask):
        return _change_denial(state, context, action, proposal.organisation)
    if not isinstance(action, JUDGED):
        return ""
    match action:
        case SetBudget(organisation, data_set):
            subject = f"{organisation}/{data_set}"
        case ReleaseModel(name, version):
            subject = f"{name}/{version}"
        case _:
            subject = about(action)
    told = facts.proposal_input(state, proposal, subject)
    denied = _denial(state, "proposal", lambda: ProposalOccasion(context.height, context.time_ms, told))
    if denied or not isinstance(action, ReleaseModel):
        return denied

    def seen() -> Input:
        task = present(task_of(state, action.task), "the task of a possible release")
        release = facts.release_input(state, action.task, action.version)
        seen_task = facts.task_input(state, task.spec)
        return ReleaseOccasion(context.height, context.time_ms, seen_task, told, release)

    return _denial(state, "release", seen)


def _change_denial(state: StateReader, context: BlockContext, action: ChangeTask, organisation: str) -> str:
    """Return why a task may not become what a change would make of it; empty when it may."""
    task = task_of(state, action.task)
    if task is None or task.status != "active":
        return ""

    def seen() -> Input:
        spec, site = changed_spec(task.spec, action), facts.site_input(state, organisation, {})
        return TaskOccasion(context.height, context.time_ms, facts.task_input(state, spec), site)

    return _denial(state, "task", seen)


def note_approval(state: Overlay, officer: Participant, proposal: ProposalState) -> bool:
    """Keep which officer approved a proposal that policies judge; tell whether that is new."""
    before, own = approvers_of(state, proposal.number).items, Approver(officer.organisation, officer.name)
    if not isinstance(proposal.action, JUDGED) or own in before or len(before) >= APPROVERS_MAX:
        return False
    ordered = sorted((*before, own), key=lambda one: (one.organisation, one.officer))
    write(state, approvers_key(proposal.number), Approvers(tuple(ordered)))
    return True


def _require(state: StateReader, occasion: Occasion, seen: Callable[[], Input]) -> None:
    denied = _denial(state, occasion, seen)
    if denied:
        raise RefusalError("policy.denied", denied)


def _denial(state: StateReader, occasion: Occasion, seen: Callable[[], Input]) -> str:
    names = [one.name for one in in_force(state) if one.occasion == occasion]
    if not names:
        return ""
    inputs = seen()
    for name in names:
        held = present(policy_of(state, name), "a policy in force").policy
        verdict = judge(compile_policy(held.source, OCCASIONS[occasion]), inputs)
        if not verdict.allows:
            return f"policy {name}, clause {verdict.clause}: {verdict.detail}"
    return ""
