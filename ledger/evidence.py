"""Evidence: what proves that a validator lied, by its own signatures. One law: nobody is condemned on another's word.

Each proof holds two signed sentences of which an honest validator says one at most, whatever the network and the other
validators do, so it convicts without any assumption about anybody else. Whoever has the validator set of the height
checks it.

| proof | the sentences |
|---|---|
| `ConflictingVotes` | two votes of one view for different blocks: PREPARE and PREPARE (a second proposal too, since a proposal is its primary's PREPARE), COMMIT and COMMIT, PREPARE and COMMIT |
| `ConflictingViewChanges` | two VIEW-CHANGEs to one view that claim different things |
| `ForgottenCommit` | a COMMIT, and a VIEW-CHANGE to a later view that claims less (amnesia) |
| `ConflictingAcknowledgements` | two verdicts about one payload |
| `ConflictingResults` | two results of one round |
| `ConflictingCertificates` | two commit certificates of one height: whoever signed both in one view, or signed the earlier one and forgot it |

What cannot be proven so: that somebody stayed silent; that a proposal was invalid or not justified (a justification
is not signed by who sends it); and a COMMIT with a later PREPARE of another block. An honest validator says both when
the certificate that opened the later view has no prepared block in it, and nobody can prove that such a certificate
does not exist. What *is* proven is the lie that makes such a certificate possible: `ForgottenCommit`.
"""  # noqa: E501 - a table

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, assert_never

from ledger.certificate import (
    COMMIT,
    CertificateError,
    QuorumCertificate,
    Seal,
    require_quorum,
    verify_certificate,
    verify_vote,
)
from ledger.codec import Record, encode
from ledger.digest import Digest, digest
from ledger.fields import DigestField, Height, HeightField, NameField, SignatureField, Uint, View, ViewField
from ledger.identity import verify
from ledger.payload import Acknowledgement, PayloadDescriptor, Verdict
from ledger.validators import ValidatorSet
from ledger.view_change import PreparedClaim, ViewChangeCertificate, ViewChangeClaim, view_change_message

OffenceKind = Literal[
    "conflicting-acknowledgements",
    "conflicting-results",
    "conflicting-view-changes",
    "conflicting-votes",
    "forgotten-commit",
]
VoteKind = Literal["commit", "prepare"]
EVIDENCE_BYTES_MAX: Final = 200_000
"""Encoded size of a proof, so that it fits a transaction with what is around it."""


class EvidenceError(ValueError):
    """What is shown proves nothing; the message says what was needed."""


class VoteWord(Record):
    """One vote."""

    kind: VoteKind
    block_id: DigestField
    signature: SignatureField


class ConflictingVotes(Record, frozen=True, tag="conflicting-votes"):
    """Two votes of one view for different blocks."""

    height: HeightField
    view: ViewField
    validator: Uint
    first: VoteWord
    second: VoteWord


class ConflictingViewChanges(Record, frozen=True, tag="conflicting-view-changes"):
    """Two wishes to leave for one view that claim different things."""

    height: HeightField
    view: ViewField
    """The new view."""

    first: ViewChangeClaim
    second: ViewChangeClaim


class ForgottenCommit(Record, frozen=True, tag="forgotten-commit"):
    """A COMMIT, and a wish to leave for a later view that claims less than it."""

    height: HeightField
    view: ViewField
    """Of the COMMIT."""

    block_id: DigestField
    seal: Seal
    """The COMMIT."""

    new_view: ViewField
    claim: ViewChangeClaim


class VerdictWord(Record):
    """One verdict about a payload."""

    verdict: Verdict
    signature: SignatureField


class ConflictingAcknowledgements(Record, frozen=True, tag="conflicting-acknowledgements"):
    """Two verdicts about one payload; what a content check says depends on the bytes alone."""

    height: HeightField
    """At which the signer was a validator with this index."""

    validator: Uint
    payload: PayloadDescriptor
    first: VerdictWord
    second: VerdictWord


class ResultWord(Record):
    """One result of a round."""

    result: DigestField
    signature: SignatureField


class ConflictingResults(Record, frozen=True, tag="conflicting-results"):
    """Two results of one round; what is computed depends on the committed updates alone."""

    height: HeightField
    """At which the signer was a validator with this index."""

    validator: Uint
    task: NameField
    round: Uint
    first: ResultWord
    second: ResultWord


class ConflictingCertificates(Record, frozen=True, tag="conflicting-certificates"):
    """Two blocks of one height that a quorum each made final: the chain has forked, and at least f + 1 lied."""

    first: QuorumCertificate
    """Of the lower view, if they differ."""

    second: QuorumCertificate
    opening: ViewChangeCertificate | None
    """What opened a view above the first and not above the second: who signed the first certificate and claims less in
    this one has lied. None when both are of one view: then who signed both has."""


Proof: TypeAlias = (
    ConflictingVotes
    | ConflictingViewChanges
    | ForgottenCommit
    | ConflictingAcknowledgements
    | ConflictingResults
    | ConflictingCertificates
)


@dataclass(frozen=True, slots=True)
class Offence:
    """What a proof proves about one validator."""

    kind: OffenceKind
    validator: int
    """Index in the set of the height."""

    view: View
    """Of the votes; 0 for statements that belong to no view."""

    about: bytes
    """What tells it from other offences of this kind: a height and view, a payload, or a round."""

    @property
    def id(self) -> Digest:
        """Names the offence, whichever of its many proofs is shown; the same for everybody who committed it."""
        return digest("offence", self.kind.encode("ascii"), self.about)


def height_of(proof: Proof) -> Height:
    """Return the height whose validator set judges a proof."""
    return proof.first.height if isinstance(proof, ConflictingCertificates) else proof.height


def result_message(task: str, round_number: int, result: bytes) -> bytes:
    """Return the bytes that a result's signature covers, beside domain and chain."""
    return encode((task, round_number, result))


def offences(chain_id: Digest, validators: ValidatorSet, proof: Proof) -> tuple[Offence, ...]:
    """Return what a proof proves, ascending by validator.

    Args:
        chain_id: of the chain.
        validators: the set that decided the proof's height.
        proof: from anybody.

    Raises:
        EvidenceError: it proves nothing.
    """
    match proof:
        case ConflictingVotes():
            return (_conflicting_votes(chain_id, validators, proof),)
        case ConflictingViewChanges():
            return (_conflicting_view_changes(chain_id, validators, proof),)
        case ForgottenCommit():
            return (_forgotten_commit(chain_id, validators, proof),)
        case ConflictingAcknowledgements():
            return (_conflicting_acknowledgements(chain_id, validators, proof),)
        case ConflictingResults():
            return (_conflicting_results(chain_id, validators, proof),)
        case ConflictingCertificates():
            return _conflicting_certificates(chain_id, validators, proof)
        case _:
            assert_never(proof)


def forgets(committed: PreparedClaim, claim: PreparedClaim | None) -> bool:
    """Tell whether a claim says less than a COMMIT of the same validator in a lower view demands."""
    if claim is None or claim.view < committed.view:
        return True
    return claim.view == committed.view and claim.block_id != committed.block_id


def _conflicting_votes(chain_id: Digest, validators: ValidatorSet, proof: ConflictingVotes) -> Offence:
    _need(proof.first.block_id != proof.second.block_id, "both votes are for one block")
    for word in (proof.first, proof.second):
        seal = Seal(proof.validator, word.signature)
        is_vote = verify_vote(chain_id, word.kind, proof.height, proof.view, validators, word.block_id, seal)
        _need(is_vote, f"the {word.kind} is not signed by validator {proof.validator}")
    return Offence("conflicting-votes", proof.validator, proof.view, _place(proof.height, proof.view))


def _conflicting_view_changes(chain_id: Digest, validators: ValidatorSet, proof: ConflictingViewChanges) -> Offence:
    index = proof.first.seal.validator
    _need(proof.second.seal.validator == index, "the view changes are of two validators")
    _need(proof.first.prepared != proof.second.prepared, "both view changes claim the same")
    for claim in (proof.first, proof.second):
        _need_view_change(chain_id, validators, proof.height, proof.view, claim)
    return Offence("conflicting-view-changes", index, proof.view, _place(proof.height, proof.view))


def _forgotten_commit(chain_id: Digest, validators: ValidatorSet, proof: ForgottenCommit) -> Offence:
    index = proof.seal.validator
    _need(proof.claim.seal.validator == index, "commit and view change are of two validators")
    _need(proof.new_view > proof.view, "the view change is not to a view above the commit's")
    _need(forgets(PreparedClaim(proof.view, proof.block_id), proof.claim.prepared), "the view change tells the commit")
    is_vote = verify_vote(chain_id, COMMIT, proof.height, proof.view, validators, proof.block_id, proof.seal)
    _need(is_vote, f"the commit is not signed by validator {index}")
    _need_view_change(chain_id, validators, proof.height, proof.new_view, proof.claim)
    return Offence("forgotten-commit", index, proof.view, _place(proof.height, proof.view))


def _conflicting_acknowledgements(
    chain_id: Digest, validators: ValidatorSet, proof: ConflictingAcknowledgements
) -> Offence:
    _need(proof.first.verdict != proof.second.verdict, "both acknowledgements say the same")
    key = _key(validators, proof.validator)
    for word in (proof.first, proof.second):
        message = encode(Acknowledgement(proof.payload, word.verdict))
        is_signed = verify(key, "acknowledgement", chain_id, message, word.signature)
        _need(is_signed, f"the acknowledgement is not signed by validator {proof.validator}")
    return Offence("conflicting-acknowledgements", proof.validator, View(0), proof.payload.id)


def _conflicting_results(chain_id: Digest, validators: ValidatorSet, proof: ConflictingResults) -> Offence:
    _need(proof.first.result != proof.second.result, "both results are the same")
    key = _key(validators, proof.validator)
    for word in (proof.first, proof.second):
        message = result_message(proof.task, proof.round, word.result)
        is_signed = verify(key, "result", chain_id, message, word.signature)
        _need(is_signed, f"the result is not signed by validator {proof.validator}")
    return Offence("conflicting-results", proof.validator, View(0), encode((proof.task, proof.round)))


def _conflicting_certificates(
    chain_id: Digest, validators: ValidatorSet, proof: ConflictingCertificates
) -> tuple[Offence, ...]:
    first, second, opening = proof.first, proof.second, proof.opening
    _need(first.height == second.height, "the certificates are of two heights")
    _need(first.block_id != second.block_id, "both certificates are for one block")
    try:
        verify_certificate(chain_id, COMMIT, validators, first)
        verify_certificate(chain_id, COMMIT, validators, second)
    except CertificateError as error:
        raise EvidenceError("a certificate is not a quorum's") from error
    signed = {seal.validator for seal in first.seals}
    if opening is None:
        _need(first.view == second.view, "certificates of two views need what opened a view between them")
        both = sorted(signed & {seal.validator for seal in second.seals})
        place = _place(first.height, first.view)
        return tuple(Offence("conflicting-votes", index, first.view, place) for index in both)
    _need(first.height == opening.height, "the opened view is of another height")
    _need(first.view < opening.view <= second.view, "the opened view is not between the certificates")
    _need_opening(chain_id, validators, opening)
    committed = PreparedClaim(first.view, first.block_id)
    guilty = [
        claim.seal.validator
        for claim in opening.claims
        if claim.seal.validator in signed and forgets(committed, claim.prepared)
    ]
    _need(bool(guilty), "nobody forgot the first certificate")
    place = _place(first.height, first.view)
    return tuple(Offence("forgotten-commit", index, first.view, place) for index in guilty)


def _need_opening(chain_id: Digest, validators: ValidatorSet, opening: ViewChangeCertificate) -> None:
    try:
        require_quorum(validators, [claim.seal.validator for claim in opening.claims], what="opening")
    except CertificateError as error:
        raise EvidenceError("the opened view has no quorum") from error
    for claim in opening.claims:
        _need_view_change(chain_id, validators, opening.height, opening.view, claim)


def _need_view_change(
    chain_id: Digest, validators: ValidatorSet, height: Height, view: View, claim: ViewChangeClaim
) -> None:
    index = claim.seal.validator
    key = _key(validators, index)
    message = view_change_message(height, view, validators.hash, index, claim.prepared)
    is_signed = verify(key, "view-change", chain_id, message, claim.seal.signature)
    _need(is_signed, f"the view change is not signed by validator {index}")


def _place(height: Height, view: View) -> bytes:
    return encode((height, view))


def _key(validators: ValidatorSet, index: int) -> bytes:
    _need(index < len(validators), f"there is no validator {index} among {len(validators)}")
    return validators.members[index].public_key


def _need(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - what is needed is the point
    if not holds:
        raise EvidenceError(otherwise)
