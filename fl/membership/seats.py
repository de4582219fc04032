"""Seats: who decides the height after the next. One law: few seats change a height, and a quorum of them stays.

At the end of every block, what has been decided about seats is carried out on the set of the next height; what comes of
it decides the height after that. At most max(1, f) seats change a height, f of the set they are changed in: any two
sets that follow one another share enough members that one of them can tell the other what was decided.

Suspensions come first, as far as they may: seats are never taken away by rule until fewer are left than a quorum of the
*whole* consortium, seated and suspended together. With more offenders than that the assumption under which the members
trust each other does not hold any more, and it is for people to vote.
"""

from __future__ import annotations

from fl.membership.records import SeatChange, SeatChanges, Suspension
from fl.membership.state import SEAT_CHANGES_KEY, seat_changes_of, suspended_of
from fl.state import write
from ledger.application import BlockContext, Overlay, StateReader
from ledger.codec import encode
from ledger.receipt import Event
from ledger.reigns import VALIDATORS_PENDING_KEY, reigns_of, validators_of
from ledger.validators import InvalidValidatorSetError, Validator, ValidatorSet, quorum_of


def change_seat(state: Overlay, name: str, validator: Validator | None) -> None:
    """Have a seat given or taken at the end of this block or of one of the next; replaces what was decided before."""
    others = (one for one in seat_changes_of(state).waiting if one.name != name)
    write(state, SEAT_CHANGES_KEY, SeatChanges((*others, SeatChange(name, validator))))


def forget_seat_change(state: Overlay, name: str) -> None:
    """Drop what was decided about a seat and not carried out."""
    waiting = seat_changes_of(state).waiting
    if any(one.name == name for one in waiting):
        write(state, SEAT_CHANGES_KEY, SeatChanges(tuple(one for one in waiting if one.name != name)))


def seat_of(state: StateReader, name: str) -> Validator | None:
    """Return who will sit under this name once everything decided is carried out, suspensions apart."""
    decided = next((one for one in seat_changes_of(state).waiting if one.name == name), None)
    if decided is not None:
        return decided.validator
    return next((member for member in validators_of(state).members if member.name == name), None)


def fits(state: StateReader, name: str, validator: Validator | None) -> bool:
    """Tell whether a set comes of it when a seat is given or taken after everything that is decided."""
    members = {member.name: member for member in validators_of(state).members}
    for change in (*seat_changes_of(state).waiting, SeatChange(name, validator)):
        members.pop(change.name, None)
        if change.validator is not None:
            members[change.name] = change.validator
    return _is_set(members)


def end_block(state: Overlay, context: BlockContext) -> tuple[Event, ...]:
    """Tell of a set that begins to reign, and decide upon the next one."""
    events: list[Event] = []
    latest = reigns_of(state)[-1]
    if latest.first == context.height + 1:
        members = len(validators_of(state))
        events.append(Event("validators.seated", str(latest.first), f"{members} validators from this height on"))
    seated = validators_of(state)
    following, left, said = _carry_out(seated, _unseatable(state, seated), seat_changes_of(state).waiting)
    events += said
    if left != seat_changes_of(state).waiting:
        write(state, SEAT_CHANGES_KEY, SeatChanges(left))
    if following != seated:
        state.put(VALIDATORS_PENDING_KEY, encode(following))
    return tuple(events)


def is_due(state: StateReader) -> bool:
    """Tell whether a block is needed, even without transactions, to bring a decided change about."""
    return state.get(VALIDATORS_PENDING_KEY) is not None or bool(seat_changes_of(state).waiting)


def _carry_out(
    seated: ValidatorSet, unseatable: list[str], waiting: tuple[SeatChange, ...]
) -> tuple[ValidatorSet, tuple[SeatChange, ...], list[Event]]:
    """Return the set that follows, what is left to do, and what happened."""
    limit, changed, events = max(1, seated.faulty_max), 0, list[Event]()
    members = {member.name: member for member in seated.members}
    for name in unseatable[:limit]:
        del members[name]
        changed += 1
        events.append(Event("seat.suspended", name, "its seat is taken away by rule"))
    left: list[SeatChange] = []
    for change in waiting:
        if changed == limit:
            left.append(change)
            continue
        tried = {name: member for name, member in members.items() if name != change.name}
        if change.validator is not None:
            tried[change.name] = change.validator
        if tried == members:
            continue
        if not _is_set(tried):
            events.append(Event("seat.refused", change.name, "no set of validators comes of it"))
            continue
        members = tried
        changed += 1
        events.append(Event("seat.taken" if change.validator is None else "seat.given", change.name, ""))
    return ValidatorSet.of(tuple(members.values())), tuple(left), events


def _unseatable(state: StateReader, seated: ValidatorSet) -> list[str]:
    """Return the suspended validators that sit and may lose their seats now, the longest suspended first."""
    suspended = suspended_of(state)
    sitting = {member.name for member in seated.members}
    waiting = [one for one in suspended if one.validator.name in sitting]
    waiting.sort(key=lambda one: (one.height, one.validator.name))
    away = len(suspended) - len(waiting)
    spare = len(seated) - quorum_of(len(seated) + away)
    return [one.validator.name for one in waiting[: max(0, spare)]]


def still_sits(state: StateReader, suspension: Suspension) -> bool:
    """Tell whether a suspended validator keeps its seat, in the set of the next height."""
    return any(member.name == suspension.validator.name for member in validators_of(state).members)


def _is_set(members: dict[str, Validator]) -> bool:
    try:
        ValidatorSet.of(tuple(members.values()))
    except InvalidValidatorSetError:
        return False
    return True
