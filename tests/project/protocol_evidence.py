"""Section 13.10 of docs/protocol.md: what convicts whom, and what follows. One law: no rooms."""

from __future__ import annotations

from itertools import pairwise

from tests.project import protocol_incentives as incentives
from tests.project.protocol_learning import Book, need
from tests.project.protocol_membership import (
    next_set,
    set_of_height,
    sits,
    standing,
    suspended,
    suspension,
    waiting,
    write_list,
    write_suspended,
)
from tests.project.protocol_reader import digest, is_certified, is_signed, quorum, set_hash
from tests.project.protocol_records import Rec, encode, make

Found = list[tuple[str, int, int, bytes]]
"""Kind, validator, view, about."""


def report(book: Book, said: Rec, identity: bytes) -> None:
    proof = said.rec("proof")
    height = proof.rec("first").number("height") if proof.kind == "ConflictingCertificates" else proof.number("height")
    judges = set_of_height(book, height) if height <= book.height else None
    detail = f"evidence of heights {max(1, book.height - 99_999)} to {book.height} is heard, got {height}"
    need(judges is not None and height > book.height - 100_000, "evidence.height", detail)
    assert judges is not None
    for kind, index, view, about in Court(book.chain_id, judges, height).judge(proof):
        record(book, judges.recs("members")[index].text("name"), kind, height, view, about, identity)


def record(book: Book, name: str, kind: str, height: int, view: int, about: bytes, identity: bytes) -> None:
    key = b"fl/offence/" + name.encode() + b"/" + digest("offence", kind.encode(), about).hex().encode()
    past = standing(book, name)
    if key in book.state or height < past.number("forgiven_height") or past.number("offences") >= 256:
        return
    book.write(b"fl/standing/" + name.encode(), past.changed(offences=past.number("offences") + 1))
    kept = make(
        "OffenceState",
        validator=name,
        kind=kind,
        offence_height=height,
        view=view,
        transaction=identity,
        height=book.height,
    )
    book.write(key, kept)
    book.say("evidence.recorded", name, f"{kind} at height {height}")
    if not sits(book, name) or suspension(book, name) is not None:
        return
    present = next(one for one in next_set(book).recs("members") if one.text("name") == name)
    others = [one for one in waiting(book) if one.text("name") != name]
    if len(others) != len(waiting(book)):
        write_list(book, "SeatChanges", b"fl/seat-changes", "waiting", others)
    held = make("Suspension", validator=present, offence=kind, height=book.height)
    write_suspended(book, [*suspended(book), held])
    book.say("validator.suspended", name, kind)
    incentives.slash(book, name, kind)


def prove(holds: bool, text: str) -> None:
    need(holds, "evidence.unproven", text)


class Court:
    """Judges proofs about one height."""

    def __init__(self, chain_id: bytes, validators: Rec, height: int) -> None:
        self.chain_id = chain_id
        self.validators = validators
        self.height = height
        self.n = len(validators.items("members"))

    def judge(self, proof: Rec) -> Found:
        match proof.kind:
            case "ConflictingVotes":
                return self.votes(proof)
            case "ConflictingViewChanges":
                return self.view_changes(proof)
            case "ForgottenCommit":
                return self.forgotten(proof)
            case "ConflictingAcknowledgements":
                return self.acknowledgements(proof)
            case "ConflictingResults":
                return self.results(proof)
            case _:
                return self.certificates(proof)

    def key(self, index: int) -> bytes:
        prove(index < self.n, f"there is no validator {index} among {self.n}")
        return self.validators.recs("members")[index].data("public_key")

    def is_vote(self, kind: str, view: int, index: int, block_id: bytes, signature: bytes) -> bool:
        if index >= self.n:
            return False
        message = encode((1, kind, self.height, view, set_hash(self.validators), index, block_id))
        return is_signed(self.key(index), "vote", self.chain_id, message, signature)

    def need_claim(self, view: int, claim: Rec) -> None:
        index, told = claim.rec("seal").number("validator"), claim.fields["prepared"]
        key = self.key(index)
        message = encode((1, self.height, view, set_hash(self.validators), index, told))
        signed = is_signed(key, "view-change", self.chain_id, message, claim.rec("seal").data("signature"))
        prove(signed, f"the view change is not signed by validator {index}")

    def votes(self, proof: Rec) -> Found:
        first, second, index, view = proof.rec("first"), proof.rec("second"), *_numbers(proof, "validator", "view")
        prove(first.data("block_id") != second.data("block_id"), "both votes are for one block")
        for word in (first, second):
            kind = word.text("kind")
            signed = self.is_vote(kind, view, index, word.data("block_id"), word.data("signature"))
            prove(signed, f"the {kind} is not signed by validator {index}")
        return [("conflicting-votes", index, view, encode((self.height, view)))]

    def view_changes(self, proof: Rec) -> Found:
        first, second, view = proof.rec("first"), proof.rec("second"), proof.number("view")
        index = first.rec("seal").number("validator")
        prove(second.rec("seal").number("validator") == index, "the view changes are of two validators")
        prove(first.fields["prepared"] != second.fields["prepared"], "both view changes claim the same")
        for claim in (first, second):
            self.need_claim(view, claim)
        return [("conflicting-view-changes", index, view, encode((self.height, view)))]

    def forgotten(self, proof: Rec) -> Found:
        seal, claim, view = proof.rec("seal"), proof.rec("claim"), proof.number("view")
        index, block_id = seal.number("validator"), proof.data("block_id")
        prove(claim.rec("seal").number("validator") == index, "commit and view change are of two validators")
        prove(proof.number("new_view") > view, "the view change is not to a view above the commit's")
        prove(not tells(claim, view, block_id), "the view change tells the commit")
        signed = self.is_vote("commit", view, index, block_id, seal.data("signature"))
        prove(signed, f"the commit is not signed by validator {index}")
        self.need_claim(proof.number("new_view"), claim)
        return [("forgotten-commit", index, view, encode((self.height, view)))]

    def acknowledgements(self, proof: Rec) -> Found:
        first, second, index = proof.rec("first"), proof.rec("second"), proof.number("validator")
        prove(first.text("verdict") != second.text("verdict"), "both acknowledgements say the same")
        key, payload = self.key(index), proof.rec("payload")
        for word in (first, second):
            message = encode(make("Acknowledgement", payload=payload, verdict=word.text("verdict")))
            signed = is_signed(key, "acknowledgement", self.chain_id, message, word.data("signature"))
            prove(signed, f"the acknowledgement is not signed by validator {index}")
        return [("conflicting-acknowledgements", index, 0, digest("payload", encode(payload)))]

    def results(self, proof: Rec) -> Found:
        first, second, index = proof.rec("first"), proof.rec("second"), proof.number("validator")
        prove(first.data("result") != second.data("result"), "both results are the same")
        key, task, count = self.key(index), proof.text("task"), proof.number("round")
        for word in (first, second):
            message = encode((task, count, word.data("result")))
            signed = is_signed(key, "result", self.chain_id, message, word.data("signature"))
            prove(signed, f"the result is not signed by validator {index}")
        return [("conflicting-results", index, 0, encode((task, count)))]

    def certificates(self, proof: Rec) -> Found:
        first, second, opening = proof.rec("first"), proof.rec("second"), proof.fields["opening"]
        prove(first.number("height") == second.number("height"), "the certificates are of two heights")
        block_id, view = first.data("block_id"), first.number("view")
        prove(block_id != second.data("block_id"), "both certificates are for one block")
        final = all(is_certified(self.chain_id, "commit", self.validators, one) for one in (first, second))
        prove(final, "a certificate is not a quorum's")
        signed = [seal.number("validator") for seal in first.recs("seals")]
        place = encode((self.height, view))
        if not isinstance(opening, Rec):
            text = "certificates of two views need what opened a view between them"
            prove(view == second.number("view"), text)
            both = {seal.number("validator") for seal in second.recs("seals")} & set(signed)
            return [("conflicting-votes", index, view, place) for index in sorted(both)]
        prove(opening.number("height") == self.height, "the opened view is of another height")
        between = view < opening.number("view") <= second.number("view")
        prove(between, "the opened view is not between the certificates")
        claims = opening.recs("claims")
        signers = [claim.rec("seal").number("validator") for claim in claims]
        ascending = all(earlier < later for earlier, later in pairwise(signers))
        enough = ascending and len(signers) >= quorum(self.n) and signers[-1] < self.n
        prove(enough, "the opened view has no quorum")
        for claim in claims:
            self.need_claim(opening.number("view"), claim)
        guilty = [
            index
            for index, claim in zip(signers, claims, strict=True)
            if index in signed and not tells(claim, view, block_id)
        ]
        prove(bool(guilty), "nobody forgot the first certificate")
        return [("forgotten-commit", index, view, place) for index in guilty]


def tells(claim: Rec, view: int, block_id: bytes) -> bool:
    told = claim.fields["prepared"]
    if not isinstance(told, Rec):
        return False
    return told.number("view") > view or (told.number("view"), told.data("block_id")) == (view, block_id)


def _numbers(record_: Rec, *names: str) -> tuple[int, ...]:
    return tuple(record_.number(name) for name in names)
