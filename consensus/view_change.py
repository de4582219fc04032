"""Leaving a view. One law: a quorum opens a view, and binds its primary to what may have been decided.

A commit certificate at view v means that at least Q - f honest members had persisted the prepared certificate before
they asked for any later view. Every quorum of VIEW-CHANGEs contains one of them, so the highest prepared
certificate in it names that block.
"""

from __future__ import annotations

from typing import Final

from consensus.committee import Committee
from consensus.messages import PreparedClaim, ViewChange, ViewChangeCertificate, ViewChangeClaim
from ledger.certificate import PREPARE, CertificateError, QuorumCertificate, require_quorum
from ledger.fields import Height, View


class ViewChangeBook:
    """Verified VIEW-CHANGEs of one height: the highest of each member."""

    def __init__(self, height: Height, members: int) -> None:
        """Make room for one VIEW-CHANGE of each of `members` validators."""
        self._height: Final = height
        self._highest: Final[list[ViewChange | None]] = [None] * members

    def highest(self, validator: int) -> ViewChange | None:
        """Return the member's VIEW-CHANGE to the highest view, or None."""
        return self._highest[validator]

    def add(self, message: ViewChange) -> None:
        """Keep a verified VIEW-CHANGE when it is the highest of its sender."""
        known = self._highest[message.claim.seal.validator]
        if known is None or message.view > known.view:
            self._highest[message.claim.seal.validator] = message

    def reached(self, members: int) -> View:
        """Return the highest view that at least `members` members asked for, or one above it; 0 when there is none."""
        views = sorted((message.view for message in self._highest if message), reverse=True)
        return View(views[members - 1] if len(views) >= members else 0)

    def senders(self) -> set[int]:
        """Return the members of whom a VIEW-CHANGE is known."""
        return {member for member, message in enumerate(self._highest) if message}

    def reaching(self, view: View) -> set[int]:
        """Return the members that want `view` or a later one."""
        return {member for member, message in enumerate(self._highest) if message and message.view >= view}

    def certificate(self, view: View, quorum: int) -> ViewChangeCertificate | None:
        """Return what opens `view`, when `quorum` members want exactly it."""
        wanting = [message for message in self._highest if message is not None and message.view == view]
        if len(wanting) < quorum:
            return None
        highest = max(
            (message.certificate for message in wanting if message.certificate is not None),
            key=lambda certificate: certificate.view,
            default=None,
        )
        return ViewChangeCertificate(self._height, view, tuple(message.claim for message in wanting), highest)

    def open(self, above: View, quorum: int) -> ViewChangeCertificate | None:
        """Return the certificate of the highest view above `above` that a quorum wants, or None."""
        views = sorted({message.view for message in self._highest if message and message.view > above}, reverse=True)
        for view in views:
            certificate = self.certificate(View(view), quorum)
            if certificate is not None:
                return certificate
        return None


def require_view_change(committee: Committee, message: ViewChange) -> None:
    """Check everything about a VIEW-CHANGE.

    Raises:
        CertificateError: its sender did not sign it, or what it claims to have prepared is not proven.
    """
    if not committee.is_view_change(message.height, message.view, message.claim):
        raise CertificateError(f"VIEW-CHANGE: bad signature of validator {message.claim.seal.validator}")
    _require_prepared(committee, message.height, message.view, message.claim.prepared, message.certificate)


def require_view_change_certificate(
    committee: Committee, certificate: ViewChangeCertificate, known: ViewChangeBook
) -> None:
    """Check that Q distinct members want the view and that the highest prepared view among them is proven.

    Args:
        committee: of the height.
        certificate: what is to be checked.
        known: VIEW-CHANGEs whose signatures need no second verification.

    Raises:
        CertificateError: too few, unordered or unsigned claims, or the highest prepared block is not proven.
    """
    what = f"view-change certificate for height {certificate.height}, view {certificate.view}"
    require_quorum(committee.validators, [claim.seal.validator for claim in certificate.claims], what=what)
    highest = _highest_claim(certificate.claims)
    _require_prepared(committee, certificate.height, certificate.view, highest, certificate.prepared)
    for claim in certificate.claims:
        if highest and claim.prepared and claim.prepared.view == highest.view and claim.prepared != highest:
            raise CertificateError(f"{what}: two blocks are claimed to be prepared in view {highest.view}")
        message = known.highest(claim.seal.validator)
        if message is not None and message.view == certificate.view and message.claim == claim:
            continue
        if not committee.is_view_change(certificate.height, certificate.view, claim):
            raise CertificateError(f"{what}: bad signature of validator {claim.seal.validator}")


def _highest_claim(claims: tuple[ViewChangeClaim, ...]) -> PreparedClaim | None:
    prepared = (claim.prepared for claim in claims if claim.prepared is not None)
    return max(prepared, key=lambda claim: claim.view, default=None)


def _require_prepared(
    committee: Committee,
    height: Height,
    new_view: View,
    claim: PreparedClaim | None,
    certificate: QuorumCertificate | None,
) -> None:
    if claim is None or certificate is None:
        if claim is not None or certificate is not None:
            raise CertificateError("a prepared claim needs its certificate, and a certificate its claim")
        return
    if claim.view >= new_view:
        raise CertificateError(f"prepared in view {claim.view}, which must be below the new view {new_view}")
    proven = (certificate.height, certificate.view, certificate.block_id)
    if proven != (height, claim.view, claim.block_id):
        raise CertificateError(
            f"claimed block {claim.block_id.hex()} prepared in view {claim.view} of height {height}, "
            f"proven {certificate.block_id.hex()} in view {certificate.view} of height {certificate.height}"
        )
    committee.require_certificate(PREPARE, certificate)
