"""Who decides a height, and which signatures count. One law: nothing is counted that was not verified here.

What is signed is the whole sentence: chain, protocol version, kind, height, view, validator set, signer, subject.
"""

from __future__ import annotations

from typing import Final

from consensus.messages import (
    BodyRequest,
    Prepare,
    PreparedClaim,
    Status,
    ViewChangeClaim,
    Vote,
)
from ledger.certificate import (
    COMMIT,
    PREPARE,
    PROTOCOL_VERSION,
    CertificateError,
    QuorumCertificate,
    Seal,
    require_quorum,
    vote_message,
)
from ledger.codec import encode
from ledger.digest import Digest
from ledger.fields import Height, View
from ledger.identity import PublicKey, Signer, verify
from ledger.validators import ValidatorSet
from ledger.view_change import view_change_message

_VOTE: Final = "vote"
_VIEW_CHANGE: Final = "view-change"
_STATUS: Final = "status"
_BODY_REQUEST: Final = "body-request"
VERIFIED_CERTIFICATES_MAX: Final = 8
"""Certificates that are remembered as verified; the same one comes from several members."""


class Committee:
    """The validator set of one height, this replica's key, and the chain they sign for."""

    def __init__(self, chain_id: Digest, validators: ValidatorSet, key: Signer) -> None:
        """Take the set that decides a height; `key` may be no member's."""
        self.chain_id: Final = chain_id
        self.validators: Final = validators
        self.validators_hash: Final = validators.hash
        self.quorum: Final = validators.quorum
        self.one_honest: Final = validators.faulty_max + 1
        """Among so many members at least one is honest."""

        self.me: Final = validators.index_of(key.public_key)
        """This replica's index; None for a follower."""

        self._key: Final = key
        self._verified: list[tuple[str, QuorumCertificate]] = []

    def __len__(self) -> int:
        """Return n."""
        return len(self.validators)

    def key_of(self, member: int) -> PublicKey:
        """Return the key of a member, which it keeps when indices change."""
        return self.validators.members[member].public_key

    def primary(self, height: Height, view: View) -> int:
        """Index of the member that proposes."""
        return self.validators.primary(height, view)

    # Votes

    def seal_vote(self, kind: str, height: Height, view: View, block_id: Digest) -> Seal:
        """Sign a vote; the caller has asked whether it may."""
        me = self._member()
        return Seal(me, self._key.sign(_VOTE, self.chain_id, self._vote(kind, height, view, me, block_id)))

    def is_vote(self, kind: str, height: Height, view: View, block_id: Digest, seal: Seal) -> bool:
        """Tell whether `seal` is that member's vote."""
        content = self._vote(kind, height, view, seal.validator, block_id)
        return self._is_signed(_VOTE, seal, content)

    def is_signed_vote(self, vote: Vote) -> bool:
        """Tell whether a PREPARE or COMMIT message is its sender's."""
        kind = PREPARE if isinstance(vote, Prepare) else COMMIT
        return self.is_vote(kind, vote.height, vote.view, vote.block_id, vote.seal)

    def require_certificate(self, kind: str, certificate: QuorumCertificate) -> None:
        """Check that a quorum of distinct members of this set signed.

        Raises:
            CertificateError: they did not.
        """
        if (kind, certificate) in self._verified:
            return
        what = f"{kind} certificate at height {certificate.height}, view {certificate.view}"
        require_quorum(self.validators, [seal.validator for seal in certificate.seals], what=what)
        for seal in certificate.seals:
            if not self.is_vote(kind, certificate.height, certificate.view, certificate.block_id, seal):
                raise CertificateError(f"{what}: bad signature of validator {seal.validator}")
        self._verified = [*self._verified[1 - VERIFIED_CERTIFICATES_MAX :], (kind, certificate)]

    # View changes

    def seal_view_change(self, height: Height, view: View, prepared: PreparedClaim | None) -> ViewChangeClaim:
        """Sign the wish to leave for `view`."""
        me = self._member()
        content = self._view_change(height, view, me, prepared)
        return ViewChangeClaim(prepared, Seal(me, self._key.sign(_VIEW_CHANGE, self.chain_id, content)))

    def is_view_change(self, height: Height, view: View, claim: ViewChangeClaim) -> bool:
        """Tell whether the claim is its sender's, for this height and new view."""
        content = self._view_change(height, view, claim.seal.validator, claim.prepared)
        return self._is_signed(_VIEW_CHANGE, claim.seal, content)

    # Status and requests

    def sign_status(self, height: Height, view: View, boot_epoch: int, tip: QuorumCertificate | None) -> Status:
        """Say where this replica stands."""
        content = encode((PROTOCOL_VERSION, height, view, boot_epoch))
        signature = self._key.sign(_STATUS, self.chain_id, content)
        return Status(height, view, boot_epoch, self._key.public_key, signature, tip)

    def is_status(self, status: Status) -> bool:
        """Tell whether the status is signed by the key that it names."""
        content = encode((PROTOCOL_VERSION, status.height, status.view, status.boot_epoch))
        return verify(status.sender, _STATUS, self.chain_id, content, status.signature)

    def seal_body_request(self, height: Height, block_id: Digest) -> BodyRequest:
        """Ask for a block."""
        me = self._member()
        content = self._body_request(height, me, block_id)
        return BodyRequest(height, block_id, Seal(me, self._key.sign(_BODY_REQUEST, self.chain_id, content)))

    def is_body_request(self, request: BodyRequest) -> bool:
        """Tell whether the request is its sender's."""
        content = self._body_request(request.height, request.seal.validator, request.block_id)
        return self._is_signed(_BODY_REQUEST, request.seal, content)

    def _member(self) -> int:
        assert self.me is not None, "a follower signs nothing"
        return self.me

    def _is_signed(self, domain: str, seal: Seal, content: bytes) -> bool:
        if seal.validator >= len(self.validators):
            return False
        key = self.validators.members[seal.validator].public_key
        return verify(key, domain, self.chain_id, content, seal.signature)

    def _vote(self, kind: str, height: Height, view: View, validator: int, block_id: Digest) -> bytes:
        return vote_message(kind, height, view, self.validators_hash, validator, block_id)

    def _view_change(self, height: Height, view: View, validator: int, prepared: PreparedClaim | None) -> bytes:
        return view_change_message(height, view, self.validators_hash, validator, prepared)

    def _body_request(self, height: Height, validator: int, block_id: Digest) -> bytes:
        return encode((PROTOCOL_VERSION, height, self.validators_hash, validator, block_id))
