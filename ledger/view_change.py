"""The wish to leave a view, as it is signed and certified. One law: who leaves says what it has committed to.

These records stand here, and not with the other messages of consensus, because what is said in them can be evidence.
"""

from __future__ import annotations

from ledger.certificate import PROTOCOL_VERSION, QuorumCertificate, Seal
from ledger.codec import Record, encode
from ledger.digest import Digest
from ledger.fields import DigestField, Height, HeightField, View, ViewField


class PreparedClaim(Record):
    """The highest view in which the sender saw a quorum of PREPAREs, and for which block."""

    view: ViewField
    block_id: DigestField


class ViewChangeClaim(Record):
    """One validator's signed wish to leave for a view, as it stands in a certificate."""

    prepared: PreparedClaim | None
    """None when it has seen no quorum of PREPAREs at this height."""

    seal: Seal
    """Over height, new view and `prepared`, in domain `view-change`."""


class ViewChangeCertificate(Record, frozen=True, tag="view-change-certificate"):
    """Q validators want this view; it opens the view and binds its primary to the prepared block, if any."""

    height: HeightField
    view: ViewField
    claims: tuple[ViewChangeClaim, ...]
    """In ascending order of validator."""

    prepared: QuorumCertificate | None
    """PREPARE certificate of the claim with the highest prepared view; None when no claim has one."""


def view_change_message(
    height: Height, view: View, validators_hash: Digest, validator: int, prepared: PreparedClaim | None
) -> bytes:
    """Return the bytes that a VIEW-CHANGE's signature covers, beside domain and chain."""
    return encode((PROTOCOL_VERSION, height, view, validators_hash, validator, prepared))
