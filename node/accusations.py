"""From what was noticed to what is proven. One law: only what convicts by itself leaves this node."""

from __future__ import annotations

from consensus import Evidence, decode_message
from consensus.messages import Commit, Decided, Message, Prepare, Status, ViewChange
from ledger.certificate import COMMIT, PREPARE, QuorumCertificate
from ledger.evidence import (
    ConflictingAcknowledgements,
    ConflictingCertificates,
    ConflictingResults,
    ConflictingViewChanges,
    ConflictingVotes,
    ForgottenCommit,
    Proof,
    ResultWord,
    VerdictWord,
    VoteWord,
)
from ledger.fields import Height
from ledger.payload import PayloadDescriptor
from node.results import ResultVote


def proof_of_messages(evidence: Evidence) -> Proof | None:
    """Return what two consensus messages prove; None for a pair that proves nothing."""
    first, second = decode_message(evidence.first), decode_message(evidence.second)
    if isinstance(first, ViewChange) and isinstance(second, Commit):
        first, second = second, first
    certificates = [_certificate(message) for message in (first, second)]
    if certificates[0] is not None and certificates[1] is not None:
        return _fork(certificates[0], certificates[1])
    match first, second:
        case ((Prepare() | Commit()), (Prepare() | Commit())):
            return ConflictingVotes(
                first.height, first.view, first.seal.validator, _vote_word(first), _vote_word(second)
            )
        case ViewChange(), ViewChange():
            return ConflictingViewChanges(first.height, first.view, first.claim, second.claim)
        case Commit(), ViewChange():
            return ForgottenCommit(first.height, first.view, first.block_id, first.seal, second.view, second.claim)
        case _:
            return None


def _certificate(message: Message) -> QuorumCertificate | None:
    match message:
        case Decided(certified):
            return certified.certificate
        case Status():
            return message.certificate
        case _:
            return None


def _fork(first: QuorumCertificate, second: QuorumCertificate) -> Proof | None:
    """Return what two final blocks prove by their certificates alone: nothing, when their views differ."""
    return ConflictingCertificates(first, second, None) if first.view == second.view else None


def proof_of_results(height: Height, first: ResultVote, second: ResultVote) -> Proof:
    """Return what two result votes of one validator and round prove.

    Args:
        height: at which the votes' index is the signer's.
        first: one.
        second: the other.
    """
    words = (ResultWord(first.result, first.seal.signature), ResultWord(second.result, second.seal.signature))
    return ConflictingResults(height, second.seal.validator, second.task, second.round, *words)


def proof_of_verdicts(
    height: Height, validator: int, payload: PayloadDescriptor, first: VerdictWord, second: VerdictWord
) -> Proof:
    """Return what two verdicts of one validator about one payload prove."""
    return ConflictingAcknowledgements(height, validator, payload, first, second)


def _vote_word(vote: Prepare | Commit) -> VoteWord:
    return VoteWord(PREPARE if isinstance(vote, Prepare) else COMMIT, vote.block_id, vote.seal.signature)
