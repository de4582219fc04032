"""From proposal to enactment. One law: one organisation, one vote, and whatever was decided is decided once.

::

    open --(Q approvals)--> waiting --(its time has come, its newcomer is in sync)--> enacted
      |                        |----(it cannot be done any more)--> failed
      `------------------------`----(LIFE_MS after the proposal, or after the vote)--> lapsed

A vote is counted with the organisations of the set that decides the block: the approvals of those who left do not count
any more. Who is the subject of an action has no vote on it, nor has who proposes a release, and Q stays the same:
against its subject a consortium needs as many as for anything else. A pause needs f + 1 alone.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fl.membership import actions
from fl.membership.records import (
    OPEN_PER_ORGANISATION_MAX,
    Approval,
    Docket,
    Proposal,
    ProposalState,
    ProposalStatus,
    SyncAttestation,
    action_digest,
)
from fl.membership.state import DOCKET_KEY, docket_of, proposal_key, proposal_of, undecided
from fl.policies import enforcement
from fl.records import REASON_CHARACTERS_MAX, Participant
from fl.state import write
from ledger.application import BlockContext, Overlay, RefusalError, StateReader
from ledger.fields import Height
from ledger.receipt import Event

LIFE_MS: Final = 30 * 86_400_000
"""How long a proposal can be voted on, and how long what was voted for can wait."""


def propose(state: Overlay, context: BlockContext, officer: Participant, proposal: Proposal) -> tuple[Event, ...]:
    """Put an action to the vote, with the proposer's organisation in favour; the same again is an approval.

    Raises:
        RefusalError: `governance.not_officer`, `governance.too_many`, or why the action is not possible
            (`actions.require_possible`).
    """
    _require_officer(context, officer)
    action = proposal.action
    if actions.changes_nothing(state, action):
        return (Event("governance.nothing_to_do", action_digest(action).hex(), ""),)
    same = next((one for one in undecided(state) if one.action == action), None)
    if same is not None:
        return _agree(state, officer, same)
    organisation = officer.organisation
    if sum(one.organisation == organisation for one in undecided(state)) >= OPEN_PER_ORGANISATION_MAX:
        detail = f"{organisation} has {OPEN_PER_ORGANISATION_MAX} undecided proposals, as many as it may"
        raise RefusalError("governance.too_many", detail)
    actions.require_possible(state, context, action)
    docket = docket_of(state)
    opened = ProposalState(
        number=docket.next,
        action=action,
        organisation=organisation,
        status="open",
        approvals=(),
        attestations=(),
        proposed_height=context.height,
        due_ms=0,
        lapses_ms=context.time_ms + LIFE_MS,
        decided_height=Height(0),
        reason="",
    )
    write(state, DOCKET_KEY, Docket(docket.next + 1, (*docket.undecided, docket.next)))
    write(state, proposal_key(opened.number), opened)
    event = Event("governance.proposed", str(opened.number), f"by {organisation}")
    return (event, *_agree(state, officer, opened))


def approve(state: Overlay, context: BlockContext, officer: Participant, approval: Approval) -> tuple[Event, ...]:
    """Add an organisation's consent; again, or after the decision, it changes nothing.

    Raises:
        RefusalError: `governance.not_officer`, `governance.unknown`, `governance.other_action`, `governance.subject`.
    """
    _require_officer(context, officer)
    proposal = _known(state, approval.number)
    if approval.action != proposal.digest:
        detail = f"proposal {proposal.number} is {proposal.digest.hex()}, the approval names {approval.action.hex()}"
        raise RefusalError("governance.other_action", detail)
    if officer.organisation == actions.has_no_vote(proposal.action, proposal.organisation):
        detail = f"{officer.organisation} has no vote on proposal {proposal.number}, which is about itself or its own"
        raise RefusalError("governance.subject", detail)
    return _agree(state, officer, proposal)


def attest(state: Overlay, context: BlockContext, sender: bytes, attestation: SyncAttestation) -> tuple[Event, ...]:
    """Note that a validator saw a newcomer in sync; again, or when nobody waits for it, it changes nothing.

    Raises:
        RefusalError: `governance.not_validator` or `governance.unknown`.
    """
    index = context.validators.index_of(sender)
    if index is None:
        raise RefusalError("governance.not_validator", f"only validators attest, got {sender.hex()}")
    proposal, name = _known(state, attestation.number), context.validators.members[index].name
    if proposal.status != "waiting" or actions.newcomer(state, proposal.action) is None:
        return ()
    if name in proposal.attestations:
        return ()
    _write(state, proposal, attestations=tuple(sorted((*proposal.attestations, name))))
    return (Event("governance.attested", str(proposal.number), f"by {name}"),)


def end_block(state: Overlay, context: BlockContext) -> tuple[Event, ...]:
    """Count votes, enact what has all it needs, and let lapse what is too old; in the order of numbers."""
    events: list[Event] = []
    for proposal in undecided(state):
        events += _advance(state, context, proposal)
    return tuple(events)


def due_ms(state: StateReader) -> int | None:
    """Return when the next proposal has waited long enough, None when none waits for time alone."""
    waiting = [one for one in undecided(state) if one.status == "waiting" and one.due_ms]
    return min((one.due_ms for one in waiting), default=None)


def _agree(state: Overlay, officer: Participant, proposal: ProposalState) -> tuple[Event, ...]:
    organisation = officer.organisation
    is_voter = organisation != actions.has_no_vote(proposal.action, proposal.organisation)
    is_undecided = proposal.status in {"open", "waiting"}
    is_new = is_voter and is_undecided and enforcement.note_approval(state, officer, proposal)
    if proposal.status != "open" or organisation in proposal.approvals or not is_voter:
        seconded = Event("governance.seconded", str(proposal.number), f"by {officer.name} of {organisation}")
        return (seconded,) if is_new else ()
    _write(state, proposal, approvals=tuple(sorted((*proposal.approvals, organisation))))
    return (Event("governance.approved", str(proposal.number), f"by {organisation}"),)


def _advance(state: Overlay, context: BlockContext, proposal: ProposalState) -> tuple[Event, ...]:
    events: tuple[Event, ...] = ()
    if proposal.status == "open" and _has_passed(context, proposal):
        delay = actions.delay_ms(proposal.action)
        proposal = _write(
            state,
            proposal,
            status="waiting",
            due_ms=context.time_ms + delay if delay else 0,
            lapses_ms=context.time_ms + delay + LIFE_MS,
        )
        events = (Event("governance.passed", str(proposal.number), ""),)
    if actions.changes_nothing(state, proposal.action):
        return (*events, _fail(state, context, proposal, "there is nothing left to do"))
    if proposal.status == "waiting" and proposal.due_ms <= context.time_ms and _is_ready(state, context, proposal):
        return (*events, _enact(state, context, proposal))
    if proposal.lapses_ms <= context.time_ms:
        reason = enforcement.enactment_denial(state, context, proposal) if proposal.status == "waiting" else ""
        _decide(state, context, proposal, "lapsed", reason[:REASON_CHARACTERS_MAX])
        return (*events, Event("governance.lapsed", str(proposal.number), ""))
    return events


def _enact(state: Overlay, context: BlockContext, proposal: ProposalState) -> Event:
    try:
        actions.require_possible(state, context, proposal.action)
    except RefusalError as refusal:
        return _fail(state, context, proposal, refusal.code)
    actions.enact(state, context, proposal)
    _decide(state, context, proposal, "enacted", "")
    return Event("governance.enacted", str(proposal.number), "")


def _fail(state: Overlay, context: BlockContext, proposal: ProposalState, reason: str) -> Event:
    _decide(state, context, proposal, "failed", reason)
    return Event("governance.failed", str(proposal.number), reason)


def _decide(
    state: Overlay, context: BlockContext, proposal: ProposalState, status: ProposalStatus, reason: str
) -> None:
    _write(state, proposal, status=status, due_ms=0, decided_height=context.height, reason=reason)
    docket = docket_of(state)
    left = tuple(number for number in docket.undecided if number != proposal.number)
    write(state, DOCKET_KEY, Docket(docket.next, left))


def _has_passed(context: BlockContext, proposal: ProposalState) -> bool:
    voters = {member.name for member in context.validators.members}
    voters.discard(actions.has_no_vote(proposal.action, proposal.organisation) or "")
    needed = actions.votes_needed(proposal.action, context.validators)
    return len(voters.intersection(proposal.approvals)) >= needed


def _is_ready(state: StateReader, context: BlockContext, proposal: ProposalState) -> bool:
    if actions.newcomer(state, proposal.action) is None:
        return not enforcement.enactment_denial(state, context, proposal)
    present = {member.name for member in context.validators.members}
    return len(present.intersection(proposal.attestations)) > context.validators.faulty_max


def _known(state: StateReader, number: int) -> ProposalState:
    proposal = proposal_of(state, number)
    if proposal is None:
        raise RefusalError("governance.unknown", f"no proposal has number {number}")
    return proposal


def _require_officer(context: BlockContext, officer: Participant) -> None:
    voters = {member.name for member in context.validators.members}
    if "officer" not in officer.roles or officer.organisation not in voters:
        detail = f"an officer of a validator's organisation was needed, got {officer.name} of {officer.organisation}"
        raise RefusalError("governance.not_officer", detail)


def _write(state: Overlay, proposal: ProposalState, **changes: object) -> ProposalState:
    changed = msgspec.structs.replace(proposal, **changes)
    write(state, proposal_key(proposal.number), changed)
    return changed
