"""Tasks: proposed by one organisation, active once a quorum agreed. One law: nobody starts one alone."""

from __future__ import annotations

import msgspec

from fl.availability import require_available
from fl.policies import enforcement
from fl.records import TASKS_ACTIVE_MAX, Participant, TaskApproval, TaskProposal, TaskState
from fl.rounds import activate
from fl.soundness import require_sound
from fl.state import active_tasks, task_key, task_of, write
from ledger.application import BlockContext, Overlay, RefusalError, StateReader
from ledger.certificate import CertificateError
from ledger.receipt import Event


def propose(state: Overlay, context: BlockContext, officer: Participant, proposal: TaskProposal) -> tuple[Event, ...]:
    """Put a task to the vote, with the proposer's organisation in favour.

    Raises:
        RefusalError: see `check_proposal`.
    """
    check_proposal(state, context, officer, proposal)
    task = TaskState(proposal.task, "proposed", (), round=0, version=0, certified=0)
    write(state, task_key(proposal.task.id), task)
    event = Event("task.proposed", proposal.task.id, f"by {officer.organisation}")
    return (event, *_agree(state, context, officer, task))


def approve(state: Overlay, context: BlockContext, officer: Participant, approval: TaskApproval) -> tuple[Event, ...]:
    """Add an organisation's consent; the task becomes active when a quorum of the validators' organisations agreed.

    Raises:
        RefusalError: see `check_approval`.
    """
    return _agree(state, context, officer, check_approval(state, context, officer, approval))


def check_proposal(state: StateReader, context: BlockContext, officer: Participant, proposal: TaskProposal) -> None:
    """Check that a task can be put to the vote.

    Raises:
        RefusalError: `task.not_officer`, `task.exists`, `task.too_many`, `task.unavailable`, `task.unsound`, or
            `policy.denied`.
    """
    _require_officer(context, officer)
    task = proposal.task
    if task_of(state, task.id) is not None:
        raise RefusalError("task.exists", f"a task named {task.id} is on the chain already: choose another name")
    require_room(state)
    require_sound(task)
    _require_initial_model(state, context, proposal)
    enforcement.require_task(state, context, task, officer)


def _require_initial_model(state: StateReader, context: BlockContext, proposal: TaskProposal) -> None:
    task = proposal.task
    if task.initial_model is None:
        return
    if proposal.availability is None or proposal.availability.acknowledgement.payload != task.initial_model:
        raise RefusalError("task.unavailable", "an initial model needs the availability certificate of its payload")
    try:
        require_available(state, context, proposal.availability)
    except CertificateError as error:
        raise RefusalError("task.unavailable", str(error)) from error


def check_approval(
    state: StateReader, context: BlockContext, officer: Participant, approval: TaskApproval
) -> TaskState:
    """Check that an organisation may agree to a task, and return the task.

    Raises:
        RefusalError: `task.not_officer`, `task.unknown`, `task.decided`, `task.other_specification`,
            or `task.approved_already`.
    """
    _require_officer(context, officer)
    task = task_of(state, approval.task)
    if task is None:
        raise RefusalError("task.unknown", f"no task named {approval.task} has been proposed")
    if task.status != "proposed":
        raise RefusalError("task.decided", f"task {approval.task} is {task.status}, not up for a vote")
    if approval.specification != task.spec.digest:
        detail = f"the proposal's digest is {task.spec.digest.hex()}, the approval names {approval.specification.hex()}"
        raise RefusalError("task.other_specification", detail)
    if officer.organisation in task.approvals:
        raise RefusalError("task.approved_already", f"{officer.organisation} has approved {approval.task} before")
    return task


def require_room(state: StateReader) -> None:
    """Check that one more task may become active.

    Raises:
        RefusalError: `task.too_many`.
    """
    if len(active_tasks(state)) >= TASKS_ACTIVE_MAX:
        raise RefusalError("task.too_many", f"at most {TASKS_ACTIVE_MAX} tasks are active at once")


def _agree(state: Overlay, context: BlockContext, officer: Participant, task: TaskState) -> tuple[Event, ...]:
    approvals = tuple(sorted({*task.approvals, officer.organisation}))
    event = Event("task.approved", task.spec.id, f"by {officer.organisation}")
    if len(approvals) < context.validators.quorum:
        write(state, task_key(task.spec.id), msgspec.structs.replace(task, approvals=approvals))
        return (event,)
    require_room(state)
    enforcement.require_task(state, context, task.spec, officer)
    return (event, *activate(state, context, task.spec, approvals))


def _require_officer(context: BlockContext, officer: Participant) -> None:
    voters = {member.name for member in context.validators.members}
    if "officer" not in officer.roles or officer.organisation not in voters:
        detail = f"an officer of a validator's organisation was needed, got {officer.name} of {officer.organisation}"
        raise RefusalError("task.not_officer", detail)
