"""What can be voted on, and what each action needs and does. One law: an action that changes nothing is no error.

| action | who votes | waits for | what happens |
|---|---|---|---|
| `AddMember` | all | f + 1 validators that saw its node in sync | its participants are registered, its node gets a seat |
| `RemoveMember` | all but the subject | nothing | its seat is taken, its participants are no longer registered |
| `ReplaceKeys` | all but the subject | `REPLACEMENT_DELAY_MS`, in which the old key can object by rotating | its seat goes to the new keys |
| `ReinstateMember` | all but the subject | f + 1 validators that saw its node in sync | it gets its seat back, and its past is forgiven |
| `PauseLearning` | all; f + 1 suffice | nothing | no updates and no results are taken until its end |
| `ResumeLearning` | all | nothing | a pause is over |
| `ChangeTask` | all | nothing; it takes effect `TIMELOCK_BLOCKS` later | the task's next round is held under the changed specification |
| `ReleaseModel` | all but the proposer | nothing | the model is on record as released |

Actions on policies and budgets are told in `fl.policies.actions` and `fl.privacy.actions`. `proposals` knows none of
them: whatever else a consortium decides by vote goes through the same steps.
"""  # noqa: E501 - a table

from __future__ import annotations

from typing import Final, assert_never

import msgspec

from fl.governance import changes, pauses, releases
from fl.governance.records import ChangeTask, PauseLearning, ReleaseModel, ResumeLearning
from fl.membership import seats
from fl.membership.cards import are_proven, card_faults
from fl.membership.records import (
    Action,
    AddMember,
    LearningAction,
    ProposalState,
    ReinstateMember,
    RemoveMember,
    ReplaceKeys,
    Standing,
)
from fl.membership.state import (
    deregister,
    end_suspension,
    register,
    require_new_people,
    roster_of,
    standing_key,
    standing_of,
    suspended_of,
    suspension_of,
    write_suspended,
)
from fl.policies import actions as policy_actions
from fl.policies.records import AdoptPolicy, RepealPolicy, SetTerms
from fl.privacy import actions as budget_actions
from fl.privacy.records import SetBudget
from fl.state import write
from ledger.application import BlockContext, Overlay, RefusalError, StateReader
from ledger.codec import encode
from ledger.digest import Digest
from ledger.validators import Validator, ValidatorSet, address_fault

ROTATION_DOMAIN: Final = "key-rotation"
REPLACEMENT_DELAY_MS: Final = 3_600_000
"""How long a validator whose keys are to be replaced can say with its old key that it is not lost."""


def subject_of(action: Action) -> str | None:
    """Return the organisation that has no vote on it, since it is about itself; None when all vote."""
    match action:
        case RemoveMember(name) | ReinstateMember(name):
            return name
        case ReplaceKeys(validator):
            return validator.name
        case AddMember() | PauseLearning() | ResumeLearning() | ChangeTask() | ReleaseModel():
            return None
        case AdoptPolicy() | RepealPolicy() | SetTerms() | SetBudget():
            return None
        case _:
            assert_never(action)


def has_no_vote(action: Action, proposer: str) -> str | None:
    """Return the organisation that does not decide on an action: its subject, or who proposes a release."""
    return proposer if isinstance(action, ReleaseModel) else subject_of(action)


def votes_needed(action: Action, validators: ValidatorSet) -> int:
    """Return how many organisations have to agree: a quorum, or for the brake one that is honest at least."""
    return validators.faulty_max + 1 if isinstance(action, PauseLearning) else validators.quorum


def delay_ms(action: Action) -> int:
    """Return how long an action waits after its vote."""
    if isinstance(action, (AdoptPolicy, RepealPolicy, SetTerms)):
        return policy_actions.delay_ms(action)
    return REPLACEMENT_DELAY_MS if isinstance(action, ReplaceKeys) else 0


def newcomer(state: StateReader, action: Action) -> Validator | None:
    """Return whose node must be in sync before the action is enacted; None when nobody's."""
    match action:
        case AddMember(card):
            return card.membership.validator
        case ReinstateMember(name):
            suspension = suspension_of(state, name)
            return None if suspension is None or seats.still_sits(state, suspension) else suspension.validator
        case RemoveMember() | ReplaceKeys() | PauseLearning() | ResumeLearning() | ChangeTask() | ReleaseModel():
            return None
        case AdoptPolicy() | RepealPolicy() | SetTerms() | SetBudget():
            return None
        case _:
            assert_never(action)


def changes_nothing(state: StateReader, action: Action) -> bool:
    """Tell whether everything is already as the action would have it."""
    match action:
        case AddMember(card):
            said = card.membership
            known = {one.public_key for one in roster_of(state).people}
            return seats.seat_of(state, said.name) == said.validator and all(
                one.public_key in known for one in said.participants
            )
        case RemoveMember(name):
            registered = any(one.organisation == name for one in roster_of(state).people)
            return seats.seat_of(state, name) is None and suspension_of(state, name) is None and not registered
        case ReplaceKeys(validator):
            return _sits_or_sat(state, validator.name) == validator
        case ReinstateMember(name):
            return suspension_of(state, name) is None
        case PauseLearning() | ResumeLearning() | ChangeTask() | ReleaseModel():
            return _learning_goes_on(state, action)
        case AdoptPolicy() | RepealPolicy() | SetTerms():
            return policy_actions.changes_nothing(state, action)
        case SetBudget():
            return budget_actions.changes_nothing(state, action)
        case _:
            assert_never(action)


def require_possible(state: StateReader, context: BlockContext, action: Action) -> None:
    """Check that an action that changes something could be enacted as the state is.

    Raises:
        RefusalError: `member.card`, `member.exists`, `member.known`, `member.unknown`, `member.proof` or `member.fit`;
            for learning see `pauses`, `changes` and `releases`, for policies and budgets their `actions`.
    """
    match action:
        case AddMember():
            _require_addable(state, context.chain_id, action)
        case RemoveMember(name):
            if seats.seat_of(state, name) is not None:
                _require_fit(state, name, None)
        case ReplaceKeys(validator):
            before = _sits_or_sat(state, validator.name)
            if before is None:
                raise RefusalError("member.unknown", f"no validator is named {validator.name}")
            require_new_keys(state, context.chain_id, before, action)
        case ReinstateMember(name):
            suspension = suspension_of(state, name)
            assert suspension is not None, "else it would change nothing"
            _require_fit(state, name, suspension.validator)
        case PauseLearning():
            pauses.require_pausable(state, action)
        case ResumeLearning():
            pass  # there is a pause, else it would change nothing
        case ChangeTask():
            changes.require_possible(state, action)
        case ReleaseModel():
            releases.require_possible(state, action)
        case AdoptPolicy() | RepealPolicy() | SetTerms():
            policy_actions.require_possible(state, action)
        case SetBudget():
            budget_actions.require_possible(state, action)
        case _:
            assert_never(action)


def enact(state: Overlay, context: BlockContext, proposal: ProposalState) -> None:
    """Bring about what was decided, and is possible."""
    match action := proposal.action:
        case PauseLearning():
            pauses.pause(state, context, action)
        case ResumeLearning():
            pauses.resume(state, context, action)
        case ChangeTask():
            changes.decide(state, context, action)
        case ReleaseModel():
            releases.release(state, context, action, proposal.number, proposal.approvals)
        case AddMember(card):
            said = card.membership
            assert said.validator is not None, "that was required"
            register(state, said.participants)
            seats.change_seat(state, said.name, said.validator)
        case RemoveMember(name):
            end_suspension(state, name)
            deregister(state, name)
            seats.change_seat(state, name, None)
        case ReplaceKeys(validator):
            _replace(state, validator)
        case ReinstateMember(name):
            suspension = suspension_of(state, name)
            assert suspension is not None, "that was required"
            end_suspension(state, name)
            forgiven = Standing(standing_of(state, name).offences, context.height)
            write(state, standing_key(name), forgiven)
            seats.change_seat(state, name, suspension.validator)
        case AdoptPolicy() | RepealPolicy() | SetTerms():
            policy_actions.enact(state, context, action)
        case SetBudget():
            budget_actions.enact(state, context, action)
        case _:
            assert_never(action)


def rotation_message(before: Validator, after: Validator) -> bytes:
    """Return what old and new keys sign when a validator's record changes."""
    return encode((before, after))


def require_new_keys(state: StateReader, chain_id: Digest, before: Validator, change: ReplaceKeys) -> None:
    """Check that a validator's new record is sound and that whoever brings new keys holds them.

    Raises:
        RefusalError: `member.proof`, `member.known` or `member.fit`.
    """
    after = change.validator
    new = sorted({after.public_key, after.transport_key} - {before.public_key, before.transport_key})
    message = rotation_message(before, after)
    if not are_proven(ROTATION_DOMAIN, chain_id, message, new, change.proofs) or _is_bad_address(after):
        raise RefusalError("member.proof", f"the new record of {after.name} lacks a proof that holds, or its address")
    if set(new) & {one.public_key for one in roster_of(state).people}:
        raise RefusalError("member.known", f"a new key of {after.name} is registered already")
    _require_fit(state, after.name, after)


def _require_addable(state: StateReader, chain_id: Digest, action: AddMember) -> None:
    said = action.card.membership
    if said.validator is None or card_faults(action.card, chain_id):
        detail = f"the card of {said.name} brings no node, contradicts itself, or lacks a proof for this chain"
        raise RefusalError("member.card", detail)
    if seats.seat_of(state, said.name) is not None or suspension_of(state, said.name) is not None:
        detail = f"{said.name} is a member already: rotate or replace its keys, or reinstate it"
        raise RefusalError("member.exists", detail)
    require_new_people(state, said.participants)
    people = {one.public_key for one in roster_of(state).people}
    if people & {said.validator.public_key, said.validator.transport_key}:
        raise RefusalError("member.known", f"a key of {said.name} is registered already")
    _require_fit(state, said.name, said.validator)


def _learning_goes_on(state: StateReader, action: LearningAction) -> bool:
    match action:
        case PauseLearning():
            return False  # it would last longer
        case ResumeLearning(task):
            return not pauses.is_paused(state, task)
        case ChangeTask():
            return changes.changes_nothing(state, action)
        case ReleaseModel():
            return releases.changes_nothing(state, action)
        case _:
            assert_never(action)


def _require_fit(state: StateReader, name: str, validator: Validator | None) -> None:
    if not seats.fits(state, name, validator):
        detail = f"without or with {name} there would be no set of 1 to 128 validators with keys of their own"
        raise RefusalError("member.fit", detail)


def _sits_or_sat(state: StateReader, name: str) -> Validator | None:
    suspension = suspension_of(state, name)
    return seats.seat_of(state, name) if suspension is None else suspension.validator


def _replace(state: Overlay, validator: Validator) -> None:
    suspension = suspension_of(state, validator.name)
    if suspension is None:
        seats.change_seat(state, validator.name, validator)
        return
    changed = msgspec.structs.replace(suspension, validator=validator)
    others = tuple(one for one in suspended_of(state) if one.validator.name != validator.name)
    write_suspended(state, (*others, changed))
    if seats.still_sits(state, suspension):
        seats.change_seat(state, validator.name, validator)


def _is_bad_address(validator: Validator) -> bool:
    return bool(validator.address) and address_fault(validator.address) is not None
