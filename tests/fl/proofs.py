"""Proofs of every kind against a member of `tests.fl.members`, true ones; tests bend them."""

from __future__ import annotations

from collections.abc import Iterable

from ledger.certificate import COMMIT, QuorumCertificate, Seal, make_certificate, sign_vote
from ledger.codec import encode
from ledger.digest import Digest
from ledger.evidence import (
    ConflictingAcknowledgements,
    ConflictingCertificates,
    ConflictingResults,
    ConflictingViewChanges,
    ForgottenCommit,
    Proof,
    ResultWord,
    VerdictWord,
    result_message,
)
from ledger.fields import Height, View
from ledger.payload import Acknowledgement, describe
from ledger.validators import ValidatorSet
from ledger.view_change import PreparedClaim, ViewChangeCertificate, ViewChangeClaim, view_change_message
from tests.fl.consortium import CHAIN, key_of
from tests.fl.members import BLOCK_A, BLOCK_B, Members

PAYLOAD = describe(bytes(40))
LATER = View(2)


def every_kind(members: Members, name: str, height: int) -> dict[str, Proof]:
    """Return a proof of every kind that convicts `name` alone, or with others where one lie needs several."""
    return {
        "two PREPAREs": members.double_vote(name, height),
        "two COMMITs": members.double_vote(name, height, kinds=("commit", "commit")),
        "PREPARE and COMMIT": members.double_vote(name, height, kinds=("prepare", "commit")),
        "two VIEW-CHANGEs": view_changes(members, name, height),
        "a forgotten COMMIT": forgotten(members, name, height),
        "two verdicts": verdicts(members, name, height),
        "two results": results(members, name, height),
    }


def view_changes(members: Members, name: str, height: int) -> ConflictingViewChanges:
    """Return two wishes for one view."""
    validators, at = members.sets[height], Height(height)
    first = claim(validators, name, at, LATER, None)
    second = claim(validators, name, at, LATER, PreparedClaim(View(1), BLOCK_A))
    return ConflictingViewChanges(at, LATER, first, second)


def forgotten(
    members: Members, name: str, height: int, *, told: PreparedClaim | None = None, view: int = 1
) -> ForgottenCommit:
    """Return a COMMIT of BLOCK_A in `view` and a VIEW-CHANGE that tells something else."""
    validators, at = members.sets[height], Height(height)
    seal = vote(validators, name, at, View(view), BLOCK_A)
    return ForgottenCommit(at, View(view), BLOCK_A, seal, LATER, claim(validators, name, at, LATER, told))


def verdicts(members: Members, name: str, height: int) -> ConflictingAcknowledgements:
    """Return two verdicts about one payload."""
    key = key_of(name, "validator")
    words = [
        VerdictWord(verdict, key.sign("acknowledgement", CHAIN, encode(Acknowledgement(PAYLOAD, verdict))))
        for verdict in ("ok", "out_of_range")
    ]
    index = index_of(members.sets[height], name)
    return ConflictingAcknowledgements(Height(height), index, PAYLOAD, words[0], words[1])


def results(members: Members, name: str, height: int) -> ConflictingResults:
    """Return two results of one round."""
    key = key_of(name, "validator")
    words = [
        ResultWord(result, key.sign("result", CHAIN, result_message("heart", 3, result)))
        for result in (BLOCK_A, BLOCK_B)
    ]
    return ConflictingResults(Height(height), index_of(members.sets[height], name), "heart", 3, words[0], words[1])


def fork_in_one_view(members: Members, height: int, first: str, second: str) -> ConflictingCertificates:
    """Return two commit certificates of one view, by these validators (a letter each)."""
    validators, at = members.sets[height], Height(height)
    return ConflictingCertificates(
        certificate(validators, first, at, View(0), BLOCK_A),
        certificate(validators, second, at, View(0), BLOCK_B),
        None,
    )


def fork_in_two_views(
    members: Members, height: int, first: str, second: str, leaving: dict[str, PreparedClaim | None]
) -> ConflictingCertificates:
    """Return two commit certificates, and what opened the second one's view."""
    validators, at = members.sets[height], Height(height)
    claims = tuple(claim(validators, name, at, LATER, told) for name, told in sorted(leaving.items()))
    return ConflictingCertificates(
        certificate(validators, first, at, View(1), BLOCK_A),
        certificate(validators, second, at, LATER, BLOCK_B),
        ViewChangeCertificate(at, LATER, claims, None),
    )


def certificate(
    validators: ValidatorSet, names: Iterable[str], height: Height, view: View, block: Digest
) -> QuorumCertificate:
    """Return a commit certificate."""
    return make_certificate(height, view, block, [vote(validators, name, height, view, block) for name in names])


def vote(validators: ValidatorSet, name: str, height: Height, view: View, block: Digest) -> Seal:
    """Return a COMMIT."""
    return sign_vote(key_of(name, "validator"), CHAIN, COMMIT, height, view, validators, block)


def claim(
    validators: ValidatorSet, name: str, height: Height, view: View, told: PreparedClaim | None
) -> ViewChangeClaim:
    """Return a VIEW-CHANGE."""
    index = index_of(validators, name)
    message = view_change_message(height, view, validators.hash, index, told)
    return ViewChangeClaim(told, Seal(index, key_of(name, "validator").sign("view-change", CHAIN, message)))


def index_of(validators: ValidatorSet, name: str) -> int:
    """Return where a member stands."""
    return next(index for index, member in enumerate(validators.members) if member.name == name)
