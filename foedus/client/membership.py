"""Membership, from a script or a command: proposals, votes, new keys. One law: what is signed is read first.

Whoever approves names the digest of the action that was shown; whoever rotates signs the record that the chain has now.
"""

from __future__ import annotations

from collections.abc import Sequence

from fl.application import GOVERNANCE_APPROVE, GOVERNANCE_PROPOSE, VALIDATOR_ROTATE
from fl.membership.actions import ROTATION_DOMAIN, rotation_message
from fl.membership.cards import prove_keys
from fl.membership.records import (
    Action,
    Approval,
    Docket,
    KeyRotation,
    Proposal,
    ProposalState,
    ReplaceKeys,
    Suspended,
)
from fl.membership.state import DOCKET_KEY, SUSPENDED_KEY, proposal_key
from foedus.client.errors import ClientError
from foedus.client.facts import read_fact
from foedus.client.opening import Reached
from foedus.client.statements import say
from ledger.codec import Record
from ledger.identity import SigningKey
from ledger.reigns import VALIDATORS_KEY
from ledger.validators import Validator, ValidatorSet
from node.api.answers import SubmittedAnswer


async def propose(reached: Reached, action: Action) -> tuple[SubmittedAnswer, ProposalState | None]:
    """Put an action to the vote, or approve it when it is up already.

    Returns:
        The transaction, and where the proposal stands; None when the action would change nothing.
    """
    answer = await _say(reached, GOVERNANCE_PROPOSE, Proposal(action))
    docket = await read_fact(reached.wire, reached.trust, DOCKET_KEY, Docket)
    for number in range(0 if docket is None else docket.next - 1, 0, -1):
        found = await find_proposal(reached, number)
        if found is not None and found.action == action:
            return answer, found
        if found is not None and found.proposed_height < (answer.height or 0) and number not in _undecided(docket):
            break
    return answer, None


async def approve(reached: Reached, proposal: ProposalState) -> tuple[SubmittedAnswer, ProposalState]:
    """Agree to a proposal that has been read."""
    answer = await _say(reached, GOVERNANCE_APPROVE, Approval(proposal.number, proposal.digest))
    return answer, await find_proposal(reached, proposal.number) or proposal


async def find_proposal(reached: Reached, number: int) -> ProposalState | None:
    """Return where a proposal stands."""
    return await read_fact(reached.wire, reached.trust, proposal_key(number), ProposalState)


async def rotate(
    reached: Reached, before: Validator, after: Validator, old: SigningKey, new: Sequence[SigningKey]
) -> SubmittedAnswer:
    """Give a validator's seat to other keys, or another address, by its own word."""
    message = rotation_message(before, after)
    consent = old.sign(ROTATION_DOMAIN, reached.trust.chain_id, message)
    proofs = prove_keys(ROTATION_DOMAIN, reached.trust.chain_id, message, new)
    return await _say(reached, VALIDATOR_ROTATE, KeyRotation(after, consent, proofs))


def replacement(reached: Reached, before: Validator, after: Validator, new: Sequence[SigningKey]) -> ReplaceKeys:
    """Return the action that gives a validator which lost its keys new ones, proven by these."""
    message = rotation_message(before, after)
    return ReplaceKeys(after, prove_keys(ROTATION_DOMAIN, reached.trust.chain_id, message, new))


async def record_of(reached: Reached, name: str) -> Validator:
    """Return a validator's record as the chain has it, be it seated or suspended.

    Raises:
        ClientError: nobody is named so.
    """
    suspended = await read_fact(reached.wire, reached.trust, SUSPENDED_KEY, Suspended)
    seated = await read_fact(reached.wire, reached.trust, VALIDATORS_KEY, ValidatorSet)
    known = [one.validator for one in suspended.members] if suspended is not None else []
    known += seated.members if seated is not None else ()
    found = next((one for one in known if one.name == name), None)
    if found is None:
        names = ", ".join(one.name for one in known)
        raise ClientError(f"{reached.wire.url} knows no validator {name}; there are {names}")
    return found


async def _say(reached: Reached, kind: str, statement: Record) -> SubmittedAnswer:
    assert reached.key is not None, "who says something has a key"
    return await say(reached.wire, reached.key, reached.trust.chain_id, kind, statement)


def _undecided(docket: Docket | None) -> tuple[int, ...]:
    return () if docket is None else docket.undecided
