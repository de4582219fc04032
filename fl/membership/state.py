"""Keys of the membership state and typed access to it. One law: a key is made here and nowhere else."""

from __future__ import annotations

from typing import Final

from fl.membership.records import (
    Docket,
    OffenceState,
    Person,
    ProposalState,
    Roster,
    SeatChanges,
    Standing,
    Suspended,
    Suspension,
)
from fl.records import Participant
from fl.state import decoded, numbered, participant_key, write
from ledger.application import Overlay, RefusalError, StateReader
from ledger.digest import Digest
from ledger.fields import Height

ROSTER_KEY: Final = b"fl/roster"
DOCKET_KEY: Final = b"fl/docket"
PROPOSAL_PREFIX: Final = b"fl/proposal/"
SEAT_CHANGES_KEY: Final = b"fl/seat-changes"
SUSPENDED_KEY: Final = b"fl/suspended"
OFFENCE_PREFIX: Final = b"fl/offence/"
STANDING_PREFIX: Final = b"fl/standing/"


def proposal_key(number: int) -> bytes:
    """State key of a proposal."""
    return PROPOSAL_PREFIX + numbered(number)


def offence_key(validator: str, identity: Digest) -> bytes:
    """State key of a proven offence."""
    return OFFENCE_PREFIX + validator.encode() + b"/" + identity.hex().encode()


def standing_key(validator: str) -> bytes:
    """State key of what a validator's past counts for."""
    return STANDING_PREFIX + validator.encode()


def roster_of(state: StateReader) -> Roster:
    """Return everybody who is registered."""
    value = state.get(ROSTER_KEY)
    return Roster(()) if value is None else decoded(value, Roster)


def docket_of(state: StateReader) -> Docket:
    """Return what is not decided."""
    value = state.get(DOCKET_KEY)
    return Docket(1, ()) if value is None else decoded(value, Docket)


def proposal_of(state: StateReader, number: int) -> ProposalState | None:
    """Return where a proposal stands."""
    value = state.get(proposal_key(number))
    return None if value is None else decoded(value, ProposalState)


def undecided(state: StateReader) -> tuple[ProposalState, ...]:
    """Return all proposals that are not decided, ascending by number."""
    found = (proposal_of(state, number) for number in docket_of(state).undecided)
    return tuple(one for one in found if one is not None)


def seat_changes_of(state: StateReader) -> SeatChanges:
    """Return what is decided and not carried out."""
    value = state.get(SEAT_CHANGES_KEY)
    return SeatChanges(()) if value is None else decoded(value, SeatChanges)


def suspended_of(state: StateReader) -> tuple[Suspension, ...]:
    """Return who is suspended, ascending by name."""
    value = state.get(SUSPENDED_KEY)
    return () if value is None else decoded(value, Suspended).members


def suspension_of(state: StateReader, name: str) -> Suspension | None:
    """Return a validator's suspension, or None."""
    return next((one for one in suspended_of(state) if one.validator.name == name), None)


def standing_of(state: StateReader, name: str) -> Standing:
    """Return what a validator's past counts for."""
    value = state.get(standing_key(name))
    return Standing(0, Height(0)) if value is None else decoded(value, Standing)


def offence_of(state: StateReader, validator: str, identity: Digest) -> OffenceState | None:
    """Return a proven offence."""
    value = state.get(offence_key(validator, identity))
    return None if value is None else decoded(value, OffenceState)


def write_suspended(state: Overlay, members: tuple[Suspension, ...]) -> None:
    """Store who is suspended."""
    write(state, SUSPENDED_KEY, Suspended(tuple(sorted(members, key=lambda one: one.validator.name))))


def end_suspension(state: Overlay, name: str) -> None:
    """Take a validator out of the suspended ones, if it is there."""
    if suspension_of(state, name) is not None:
        write_suspended(state, tuple(one for one in suspended_of(state) if one.validator.name != name))


def register(state: Overlay, participants: tuple[Participant, ...]) -> None:
    """Let participants speak; their names and keys are new.

    Raises:
        RefusalError: `member.known`, as `require_new_people`.
    """
    require_new_people(state, participants)
    people = [*roster_of(state).people]
    for one in participants:
        write(state, participant_key(one.public_key), one)
        people.append(Person(one.name, one.organisation, one.public_key))
    write(state, ROSTER_KEY, Roster(tuple(sorted(people, key=lambda person: person.name))))


def require_new_people(state: StateReader, participants: tuple[Participant, ...]) -> None:
    """Check that neither a name nor a key is registered.

    Raises:
        RefusalError: `member.known`.
    """
    people = roster_of(state).people
    names, keys = {one.name for one in people}, {one.public_key for one in people}
    for one in participants:
        if one.name in names or one.public_key in keys:
            raise RefusalError("member.known", f"the name or the key of participant {one.name} is registered already")


def deregister(state: Overlay, organisation: str) -> None:
    """Let an organisation's participants speak no more."""
    people = roster_of(state).people
    for one in people:
        if one.organisation == organisation:
            state.delete(participant_key(one.public_key))
    write(state, ROSTER_KEY, Roster(tuple(one for one in people if one.organisation != organisation)))
