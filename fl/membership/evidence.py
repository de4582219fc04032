"""Evidence on the chain. One law: what is proven suspends, once; what is not proven leaves no trace but a receipt.

A proof is judged by the validator set of its height, which the state keeps. The same offence shown again, by however
many other proofs, changes nothing; nor does an offence of before a reinstatement.
"""

from __future__ import annotations

from typing import Final

from fl.incentives.slashing import slash
from fl.membership.records import EvidenceReport, OffenceState, Standing, Suspension
from fl.membership.seats import forget_seat_change
from fl.membership.state import (
    offence_key,
    offence_of,
    standing_key,
    standing_of,
    suspended_of,
    suspension_of,
    write_suspended,
)
from fl.state import write
from ledger.application import BlockContext, Overlay, RefusalError
from ledger.digest import Digest
from ledger.evidence import EvidenceError, Offence, Proof, height_of, offences
from ledger.receipt import Event
from ledger.reigns import validators_at, validators_of
from ledger.validators import Validator, ValidatorSet

HEIGHTS_MAX: Final = 100_000
"""Evidence of heights further back has no consequences."""

RECORDED_MAX: Final = 256
"""Offences of one validator that are recorded; it is suspended by then."""


def report(state: Overlay, context: BlockContext, evidence: EvidenceReport, transaction: Digest) -> tuple[Event, ...]:
    """Record what a proof proves, and suspend whom it convicts; what is known already changes nothing.

    Raises:
        RefusalError: `evidence.height` or `evidence.unproven`.
    """
    proof = evidence.proof
    validators = _judges(state, context, proof)
    try:
        found = offences(context.chain_id, validators, proof)
    except EvidenceError as error:
        raise RefusalError("evidence.unproven", str(error)) from error
    events: list[Event] = []
    for offence in found:
        events += _record(state, context, proof, validators.members[offence.validator], offence, transaction)
    return tuple(events)


def _judges(state: Overlay, context: BlockContext, proof: Proof) -> ValidatorSet:
    """Return the set that decided the proof's height."""
    height = height_of(proof)
    validators = validators_at(state, height) if height <= context.height else None
    if validators is None or height <= context.height - HEIGHTS_MAX:
        lowest = max(1, context.height - HEIGHTS_MAX + 1)
        detail = f"evidence of heights {lowest} to {context.height} is heard, got {height}"
        raise RefusalError("evidence.height", detail)
    return validators


def _record(
    state: Overlay, context: BlockContext, proof: Proof, member: Validator, offence: Offence, transaction: Digest
) -> tuple[Event, ...]:
    height, standing = height_of(proof), standing_of(state, member.name)
    is_known = offence_of(state, member.name, offence.id) is not None
    if is_known or height < standing.forgiven_height or standing.offences >= RECORDED_MAX:
        return ()
    write(state, standing_key(member.name), Standing(standing.offences + 1, standing.forgiven_height))
    record = OffenceState(member.name, offence.kind, height, offence.view, transaction, context.height)
    write(state, offence_key(member.name, offence.id), record)
    event = Event("evidence.recorded", member.name, f"{offence.kind} at height {height}")
    return (event, *_suspend(state, context, member.name, offence))


def _suspend(state: Overlay, context: BlockContext, name: str, offence: Offence) -> tuple[Event, ...]:
    seated = next((member for member in validators_of(state).members if member.name == name), None)
    if seated is None or suspension_of(state, name) is not None:
        return ()
    forget_seat_change(state, name)
    write_suspended(state, (*suspended_of(state), Suspension(seated, offence.kind, context.height)))
    return (Event("validator.suspended", name, offence.kind), *slash(state, context, name, offence.kind))
