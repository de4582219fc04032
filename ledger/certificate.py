"""Votes and certificates: a quorum's signed word. One law: a signer counts once, for the set of its height.

What is signed is never a bare hash but the whole sentence: chain, protocol version, kind of vote, height, view,
validator set, signer and subject.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ledger.codec import Record, encode
from ledger.digest import Digest
from ledger.fields import DigestField, Height, HeightField, SignatureField, Uint, View, ViewField
from ledger.identity import Signature, SigningKey, verify
from ledger.validators import ValidatorSet

PROTOCOL_VERSION: Final = 1
PREPARE: Final = "prepare"
COMMIT: Final = "commit"


class CertificateError(ValueError):
    """A certificate does not prove what it claims."""


class Seal(Record):
    """One validator's signature in a certificate."""

    validator: Uint
    """Index in the validator set of the certificate's height."""

    signature: SignatureField


class QuorumCertificate(Record):
    """At least Q members voted the same for one block at one height and view.

    As votes of kind `prepare` it is a *prepared certificate*, of kind `commit` a *commit certificate*.
    """

    height: HeightField
    view: ViewField
    block_id: DigestField
    seals: tuple[Seal, ...]
    """In ascending order of validator."""


def vote_message(
    kind: str, height: Height, view: View, validators_hash: Digest, validator: int, block_id: Digest
) -> bytes:
    """Return the bytes that a vote's signature covers, beside domain and chain."""
    return encode((PROTOCOL_VERSION, kind, height, view, validators_hash, validator, block_id))


def sign_vote(
    key: SigningKey,
    chain_id: Digest,
    kind: str,
    height: Height,
    view: View,
    validators: ValidatorSet,
    block_id: Digest,
) -> Seal:
    """Sign one vote as the member of `validators` that owns `key`.

    Raises:
        CertificateError: the key is no member's.
    """
    index = validators.index_of(key.public_key)
    if index is None:
        message = f"{key.public_key.hex()} is no member of the validator set and cannot vote"
        raise CertificateError(message)
    content = vote_message(kind, height, view, validators.hash, index, block_id)
    return Seal(index, key.sign("vote", chain_id, content))


def verify_vote(
    chain_id: Digest,
    kind: str,
    height: Height,
    view: View,
    validators: ValidatorSet,
    block_id: Digest,
    seal: Seal,
) -> bool:
    """Tell whether `seal` is that member's vote of this kind for this block."""
    if seal.validator >= len(validators):
        return False
    content = vote_message(kind, height, view, validators.hash, seal.validator, block_id)
    return verify(validators.members[seal.validator].public_key, "vote", chain_id, content, seal.signature)


def make_certificate(height: Height, view: View, block_id: Digest, seals: Iterable[Seal]) -> QuorumCertificate:
    """Put verified votes together, one a member, in ascending order."""
    by_validator: dict[int, Seal] = {seal.validator: seal for seal in seals}
    return QuorumCertificate(height, view, block_id, tuple(by_validator[index] for index in sorted(by_validator)))


def verify_certificate(chain_id: Digest, kind: str, validators: ValidatorSet, certificate: QuorumCertificate) -> None:
    """Check that a quorum of distinct members of `validators` signed.

    Raises:
        CertificateError: too few or unordered signers, or a signature that is not theirs.
    """
    signers = [seal.validator for seal in certificate.seals]
    require_quorum(validators, signers, what=f"{kind} certificate at height {certificate.height}")
    for seal in certificate.seals:
        if not verify_vote(
            chain_id, kind, certificate.height, certificate.view, validators, certificate.block_id, seal
        ):
            message = f"{kind} certificate at height {certificate.height}: bad signature of validator {seal.validator}"
            raise CertificateError(message)


def require_quorum(validators: ValidatorSet, signers: list[int], *, what: str) -> None:
    """Check that `signers` are at least Q distinct members in ascending order.

    Raises:
        CertificateError: they are not; the message names `what`.
    """
    if signers != sorted(set(signers)):
        message = f"{what}: signers must be distinct and ascending, got {signers}"
        raise CertificateError(message)
    if len(signers) < validators.quorum:
        message = f"{what}: needs {validators.quorum} of {len(validators)} signatures, got {len(signers)}"
        raise CertificateError(message)
    if signers[-1] >= len(validators):
        message = f"{what}: validator {signers[-1]} does not exist among {len(validators)}"
        raise CertificateError(message)


def sign_statement(key: SigningKey, domain: str, chain_id: Digest, validators: ValidatorSet, content: bytes) -> Seal:
    """Sign `content` (an acknowledgement, a result) as a member of `validators`."""
    index = validators.index_of(key.public_key)
    if index is None:
        message = f"{key.public_key.hex()} is no member of the validator set and cannot sign a {domain}"
        raise CertificateError(message)
    signature: Signature = key.sign(domain, chain_id, content)
    return Seal(index, signature)


def verify_statement(domain: str, chain_id: Digest, validators: ValidatorSet, content: bytes, seal: Seal) -> bool:
    """Tell whether `seal` is that member's signature over `content` in `domain`."""
    if seal.validator >= len(validators):
        return False
    return verify(validators.members[seal.validator].public_key, domain, chain_id, content, seal.signature)


def verify_statements(
    domain: str, chain_id: Digest, validators: ValidatorSet, content: bytes, seals: tuple[Seal, ...]
) -> None:
    """Check that a quorum of distinct members signed `content` in `domain`.

    Raises:
        CertificateError: too few or unordered signers, or a signature that is not theirs.
    """
    require_quorum(validators, [seal.validator for seal in seals], what=domain)
    for seal in seals:
        if not verify_statement(domain, chain_id, validators, content, seal):
            message = f"{domain}: bad signature of validator {seal.validator}"
            raise CertificateError(message)
