"""From a set that is trusted to the one that decides later. One law: each quorum names its successor, nobody else does.

The last header under a set, with the commit certificate that this set gave it, names the next set by its hash. Whoever
has these headers and the sets follows from the genesis document to any height, over however many changes, without the
blocks between. (Somebody who gets hold of a quorum of keys that decided *once* can sign another such history; whoever
was away for long should compare a recent block with somebody whom he knows.)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

from msgspec import Meta

from ledger.block import Header
from ledger.certificate import QuorumCertificate
from ledger.chain import CertifiedHeader
from ledger.codec import Record, decode
from ledger.digest import Digest
from ledger.light import Fact, LightProof, LightProofError, successor, verify_certified_header, verify_light_proof
from ledger.reigns import REIGNS_MAX
from ledger.validators import ValidatorSet

FOLLOWED_PROOF_BYTES_MAX: Final = 64 << 20


class SuccessionStep(Record):
    """The end of one reign and the beginning of the next."""

    header: Header
    """The last one that the earlier set decided."""

    certificate: QuorumCertificate
    """The earlier set's, of kind `commit`."""

    validators: ValidatorSet
    """The set that the header names for the next height."""


class FollowedProof(Record, tag="followed"):
    """A light proof from a height that another set decides than the one which is trusted, and the way there."""

    steps: Annotated[tuple[SuccessionStep, ...], Meta(max_length=REIGNS_MAX)]
    """Ascending by height."""

    proof: LightProof


def succeed(chain_id: Digest, validators: ValidatorSet, step: SuccessionStep) -> ValidatorSet:
    """Return who decides after `validators`, which are trusted.

    Raises:
        LightProofError: this set's quorum has not named that one.
    """
    verify_certified_header(chain_id, validators, CertifiedHeader(step.header, step.certificate))
    return successor(step.header, step.validators)


def follow(chain_id: Digest, validators: ValidatorSet, steps: Iterable[SuccessionStep]) -> ValidatorSet:
    """Return who decides after the last step.

    Raises:
        LightProofError: a step does not hold, or goes back.
    """
    height = 0
    for step in steps:
        if step.header.height <= height:
            raise LightProofError(f"steps go up from height {height}, got {step.header.height}")
        validators, height = succeed(chain_id, validators, step), step.header.height
    return validators


def verify_followed_proof(chain_id: Digest, validators: ValidatorSet, followed: FollowedProof) -> Fact:
    """Check a proof with the way to it; return its fact.

    Args:
        chain_id: of the chain that is trusted.
        validators: trusted set, such as the genesis document's.
        followed: from anybody.

    Raises:
        LightProofError: a step or the proof does not hold.
    """
    return verify_light_proof(chain_id, follow(chain_id, validators, followed.steps), followed.proof)


def decode_followed_proof(data: bytes) -> FollowedProof:
    """Return the proof in `data`, which may come from anybody.

    Raises:
        CodecError: too long, malformed or not canonical.
    """
    return decode(data, FollowedProof, bytes_max=FOLLOWED_PROOF_BYTES_MAX)
