"""Availability certificates under sets that change. One law: whoever was asked to keep a payload is who is believed.

A certificate is collected while one set decides and stands in a block that another may decide. It counts when it is a
quorum's of the set of the block, or of one that reigned shortly before.
"""

from __future__ import annotations

from typing import Final

from ledger.application import BlockContext, StateReader
from ledger.certificate import CertificateError
from ledger.payload import AvailabilityCertificate, verify_availability
from ledger.reigns import late_sets
from ledger.validators import ValidatorSet

HEIGHTS_MAX: Final = 1_000
"""How many heights ago a set may have ended whose certificates still count."""

SETS_MAX: Final = 4
"""How many sets are tried at most, that of the block included."""


def require_available(state: StateReader, context: BlockContext, certificate: AvailabilityCertificate) -> None:
    """Check that a quorum of the block's set, or of a late one, keeps a payload.

    Raises:
        CertificateError: none does; says what is wrong by the block's set.
    """
    try:
        verify_availability(context.chain_id, context.validators, certificate)
    except CertificateError:
        before = late_sets(state, context.height, heights_max=HEIGHTS_MAX, sets_max=SETS_MAX)[1:]
        if not any(_is_available(context, validators, certificate) for validators in before):
            raise


def _is_available(context: BlockContext, validators: ValidatorSet, certificate: AvailabilityCertificate) -> bool:
    try:
        verify_availability(context.chain_id, validators, certificate)
    except CertificateError:
        return False
    return True
