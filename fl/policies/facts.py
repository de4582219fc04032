"""From the state to the inputs of policies. One law: what is not on the chain is empty, 0 or false, never guessed."""

from __future__ import annotations

from typing import Final

from fl.membership.records import ProposalState
from fl.membership.state import roster_of, standing_of
from fl.policies import inputs
from fl.policies.records import SiteDeclaration
from fl.policies.state import approvers_of, pace_of, site_of, terms_of
from fl.records import PARTICIPANTS_MAX, Metrics, Participant, RoundState, TaskSpec, TaskState, UpdateSubmission
from fl.state import evaluation_of, model_of, present, result_of, round_of, update_of
from ledger.application import BlockContext, StateReader
from ledger.fields import Height

DAY_MS: Final = 86_400_000
JUDGED_ROUNDS_MAX: Final = 16
_SILENT: Final = SiteDeclaration("", (), 0, "", Height(0), "given", ())

Uses = dict[str, tuple[int, int]]
"""Organisation: updates in recent certified rounds, and how many of these the rule did without."""


def task_input(state: StateReader, spec: TaskSpec) -> inputs.TaskInput:
    """Return what policies see of a task."""
    terms = terms_of(state, spec.id)
    return inputs.TaskInput(
        id=spec.id,
        specification=spec.digest.hex(),
        rule=spec.rule.rule,
        steps=spec.rule.pre,
        attackers=spec.rule.f,
        clip_norm_micros=spec.clip_norm_micros,
        updates_min=spec.updates_min,
        updates_max=spec.updates_max,
        rounds=spec.rounds,
        parameters=spec.schema.size,
        participants=spec.participants,
        has_terms=terms is not None,
        purpose="" if terms is None else terms.purpose,
        data_set="" if terms is None else terms.data_set,
        architecture="" if terms is None else terms.architecture,
        code_hash="" if terms is None else terms.code_hash,
        privacy_tier=0 if terms is None else terms.privacy_tier,
        retention_heights=0 if terms is None else terms.retention_heights,
        reward_share_permille=0 if terms is None else terms.reward_share_permille,
    )


def uses_of(state: StateReader, task: TaskState | None) -> Uses:
    """Return how often the updates of each institution were used lately."""
    found: Uses = {}
    if task is None:
        return found
    for version in range(task.version, max(0, task.version - JUDGED_ROUNDS_MAX), -1):
        number = present(model_of(state, task.spec.id, version), "a version up to the latest").round
        result = present(result_of(state, task.spec.id, number), "the result of a certified round")
        for part in result.contributions:
            update = present(update_of(state, task.spec.id, number, part.participant), "an update in a round")
            judged, left_out = found.get(update.organisation, (0, 0))
            found[update.organisation] = (judged + 1, left_out + part.left_out)
    return found


def site_input(state: StateReader, organisation: str, uses: Uses) -> inputs.SiteInput:
    """Return what policies see of an institution."""
    told = site_of(state, organisation)
    said = _SILENT if told is None else told.declaration
    judged, left_out = uses.get(organisation, (0, 0))
    return inputs.SiteInput(
        name=organisation,
        has_declared=told is not None,
        region=said.region,
        purposes=said.purposes,
        privacy_tier=said.privacy_tier,
        ethics_id=said.ethics_id,
        ethics_expiry_height=said.ethics_expiry_height,
        consent_withdrawn=said.consent == "withdrawn",
        reviews=said.reviews,
        offences=standing_of(state, organisation).offences,
        judged=judged,
        left_out=left_out,
    )


def round_input(state: StateReader, context: BlockContext, task: TaskState, current: RoundState) -> inputs.RoundInput:
    """Return what policies see of a round."""
    members = []
    for name in current.participants:
        update = present(update_of(state, current.task, current.number, name), "an update in a round")
        members.append(inputs.MemberInput(update.participant, update.organisation, update.samples))
    pace = pace_of(state, current.task)
    return inputs.RoundInput(
        number=current.number,
        base_version=current.base_version,
        opened_height=current.opened_height,
        begun_today=pace.rounds if pace.day == context.time_ms // DAY_MS else 0,
        samples=sum(one.samples for one in members),
        members=tuple(members),
        organisations=current.organisations,
        previous=_previous(state, task),
    )


def update_input(trainer: Participant, submission: UpdateSubmission) -> inputs.UpdateInput:
    """Return what policies see of an update."""
    return inputs.UpdateInput(
        participant=trainer.name,
        organisation=trainer.organisation,
        samples=submission.samples,
        saturated=submission.saturated,
        metrics=_metrics(submission.metrics),
    )


def proposal_input(state: StateReader, proposal: ProposalState, subject: str) -> inputs.ProposalInput:
    """Return what policies see of a proposal."""
    approvals = []
    for one in approvers_of(state, proposal.number).items:
        told = site_of(state, one.organisation)
        reviews = () if told is None else told.declaration.reviews
        approvals.append(inputs.ApprovalInput(one.officer, one.organisation, reviews))
    return inputs.ProposalInput(
        action=str(proposal.action.__struct_config__.tag),
        subject=subject,
        organisation=proposal.organisation,
        approvals=tuple(approvals),
    )


def release_input(state: StateReader, task: str, version: int) -> inputs.ReleaseInput:
    """Return what policies see of a model that is to be released."""
    number = present(model_of(state, task, version), "the model of a possible release").round
    made = round_of(state, task, number)
    evaluations = []
    for person in roster_of(state).people:
        report = evaluation_of(state, task, version, person.name)
        if report is not None:
            figures = _metrics(report.metrics)
            evaluations.append(inputs.EvaluationInput(person.name, person.organisation, report.samples, figures))
    return inputs.ReleaseInput(
        version=version,
        round=number,
        contributors=() if made is None else made.organisations,
        evaluators=tuple(sorted({one.organisation for one in evaluations})[:PARTICIPANTS_MAX]),
        evaluations=tuple(evaluations[:PARTICIPANTS_MAX]),
    )


def _previous(state: StateReader, task: TaskState) -> tuple[str, ...]:
    if task.version == 0:
        return ()
    number = present(model_of(state, task.spec.id, task.version), "the latest model").round
    return present(round_of(state, task.spec.id, number), "the round that made a model").organisations


def _metrics(metrics: Metrics) -> tuple[inputs.MetricInput, ...]:
    return tuple(inputs.MetricInput(name, value) for name, value in metrics)
