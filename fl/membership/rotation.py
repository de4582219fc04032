"""New keys or another address, by a validator's own word. One law: the old key consents, and the new ones prove theirs.

A key that may have been stolen is rotated at once, without a vote. Whoever holds the stolen one can rotate as well;
then the others vote (`ReplaceKeys`, `RemoveMember`).
"""

from __future__ import annotations

from fl.membership import seats
from fl.membership.actions import ROTATION_DOMAIN, require_new_keys, rotation_message
from fl.membership.records import KeyRotation, ReplaceKeys
from fl.membership.state import suspension_of
from fl.records import Participant
from ledger.application import BlockContext, Overlay, RefusalError
from ledger.identity import verify
from ledger.receipt import Event


def rotate(state: Overlay, context: BlockContext, officer: Participant, rotation: KeyRotation) -> tuple[Event, ...]:
    """Give a seat to its holder's new keys or address; to what it has already, it changes nothing.

    Raises:
        RefusalError: `rotation.not_own`, `rotation.not_seated`, `rotation.no_consent`, `member.proof`, `member.known`
            or `member.fit`.
    """
    after = rotation.validator
    if "officer" not in officer.roles or officer.organisation != after.name:
        detail = f"an officer of {after.name} was needed, got {officer.name} of {officer.organisation}"
        raise RefusalError("rotation.not_own", detail)
    before = seats.seat_of(state, after.name)
    if before is None or suspension_of(state, after.name) is not None:
        raise RefusalError("rotation.not_seated", f"{after.name} has no seat, or is suspended")
    if before == after:
        return ()
    message = rotation_message(before, after)
    if not verify(before.public_key, ROTATION_DOMAIN, context.chain_id, message, rotation.consent):
        raise RefusalError("rotation.no_consent", f"the present key of {after.name} has not signed its new record")
    require_new_keys(state, context.chain_id, before, ReplaceKeys(after, rotation.proofs))
    seats.change_seat(state, after.name, after)
    return (Event("rotation.accepted", after.name, ""),)
