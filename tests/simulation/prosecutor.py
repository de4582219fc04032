"""Who lied, from signed messages alone. One law: every charge is a proof of `ledger.evidence`, checked as on a chain.

It reads what travelled, as any node or auditor could, and knows nothing of who was made to lie.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from typing import Final

from consensus import decode_message
from consensus.messages import Commit, Decided, Prepare, PrePrepare, ViewChange, ViewChangeCertificate
from ledger.certificate import COMMIT, PREPARE, QuorumCertificate, Seal
from ledger.codec import CodecError
from ledger.digest import Digest
from ledger.evidence import (
    ConflictingViewChanges,
    ConflictingVotes,
    EvidenceError,
    ForgottenCommit,
    Proof,
    VoteKind,
    VoteWord,
    forgets,
    offences,
)
from ledger.fields import Height, View
from ledger.identity import Signature
from ledger.validators import ValidatorSet
from ledger.view_change import PreparedClaim, ViewChangeClaim

Place = tuple[int, int]
"""Validator and height."""


class Prosecutor:
    """Collects what validators signed, and charges those who contradict themselves."""

    def __init__(self, chain_id: Digest, validators: ValidatorSet) -> None:
        self._chain_id: Final = chain_id
        self._validators: Final = validators
        self._heard: Final[set[bytes]] = set()
        self._votes: Final[defaultdict[Place, dict[tuple[int, str, bytes], Signature]]] = defaultdict(dict)
        """View, kind and block id to signature."""

        self._claims: Final[defaultdict[Place, dict[tuple[int, PreparedClaim | None], ViewChangeClaim]]] = defaultdict(
            dict
        )
        """New view and claim to the signed claim."""

    def hear(self, data: bytes) -> None:
        """Take a message that travelled."""
        if data in self._heard:
            return
        self._heard.add(data)
        try:
            message = decode_message(data)
        except CodecError:
            return
        match message:
            case PrePrepare(height, view, block, seal, justification):
                self._vote(PREPARE, height, view, block.id, seal)
                self._open(justification)
            case Prepare(height, view, block_id, seal):
                self._vote(PREPARE, height, view, block_id, seal)
            case Commit(height, view, block_id, seal):
                self._vote(COMMIT, height, view, block_id, seal)
            case ViewChange(height, view, claim, certificate):
                self._claim(height, view, claim)
                self._certificate(PREPARE, certificate)
            case ViewChangeCertificate():
                self._open(message)
            case Decided(certified):
                self._certificate(COMMIT, certified.certificate)
            case _:
                pass

    def culprits(self) -> set[int]:
        """Return whoever is proven to have lied; a proof that does not hold charges nobody."""
        proven = set()
        for proof in self.charges():
            try:
                proven |= {offence.validator for offence in offences(self._chain_id, self._validators, proof)}
            except EvidenceError:
                continue  # somebody forged a word in another one's name
        return proven

    def charges(self) -> Iterator[Proof]:
        """Yield what contradicts itself; whether it proves anything is for `ledger.evidence` to say."""
        for (validator, height), votes in self._votes.items():
            for (one, first), (other, second) in combinations(votes.items(), 2):
                if one[0] == other[0] and one[2] != other[2]:
                    words = _word(one, first), _word(other, second)
                    yield ConflictingVotes(Height(height), View(one[0]), validator, *words)
        for (validator, height), claims in self._claims.items():
            for (new_view, _), claim in claims.items():
                yield from self._forgotten(validator, height, new_view, claim)
            for (one_view, _), (other_view, __) in combinations(claims, 2):
                if one_view == other_view:
                    pair = [claim for (view, _), claim in claims.items() if view == one_view][:2]
                    yield ConflictingViewChanges(Height(height), View(one_view), *pair)

    def _forgotten(self, validator: int, height: int, new_view: int, claim: ViewChangeClaim) -> Iterator[Proof]:
        for (view, kind, block_id), signature in self._votes[validator, height].items():
            committed = PreparedClaim(View(view), Digest(block_id))
            if kind == COMMIT and view < new_view and forgets(committed, claim.prepared):
                seal = Seal(validator, signature)
                yield ForgottenCommit(Height(height), View(view), Digest(block_id), seal, View(new_view), claim)

    def _vote(self, kind: str, height: Height, view: View, block_id: Digest, seal: Seal) -> None:
        self._votes[seal.validator, height].setdefault((view, kind, block_id), seal.signature)

    def _claim(self, height: Height, view: View, claim: ViewChangeClaim) -> None:
        self._claims[claim.seal.validator, height].setdefault((view, claim.prepared), claim)

    def _certificate(self, kind: str, certificate: QuorumCertificate | None) -> None:
        for seal in certificate.seals if certificate is not None else ():
            assert certificate is not None, "there is one"
            self._vote(kind, certificate.height, certificate.view, certificate.block_id, seal)

    def _open(self, opening: ViewChangeCertificate | None) -> None:
        if opening is not None:
            self._certificate(PREPARE, opening.prepared)
            for claim in opening.claims:
                self._claim(opening.height, opening.view, claim)


def _word(vote: tuple[int, str, bytes], signature: Signature) -> VoteWord:
    kind: VoteKind = "commit" if vote[1] == COMMIT else "prepare"
    return VoteWord(kind, Digest(vote[2]), signature)
