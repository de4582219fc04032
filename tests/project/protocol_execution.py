"""Sections 9, 11, 14 and 15 of docs/protocol.md: a chain replayed from its genesis document. One law: no rooms.

`replay` checks every header field of every block, so about what it accepts the project's code and the page agree to the
last byte.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt, prod

from tests.project import protocol_arithmetic as arithmetic
from tests.project import protocol_budgets as budgets
from tests.project import protocol_evidence as evidence
from tests.project import protocol_learning as learning
from tests.project import protocol_membership as membership
from tests.project import protocol_occasions as occasions
from tests.project.protocol_learning import Book, Refusal, State, number, rule_of, words_of
from tests.project.protocol_reader import (
    block_id,
    digest,
    is_final,
    is_signed,
    merkle_root,
    set_hash,
    state_root,
    u64,
)
from tests.project.protocol_records import Rec, RefusedError, Value, decode, encode, make

PAYLOADS = {
    "update": "UpdateSubmission",
    "aggregate": "AggregateClaim",
    "evaluation": "EvaluationReport",
    "task.propose": "TaskProposal",
    "task.approve": "TaskApproval",
    "governance.propose": "Proposal",
    "governance.approve": "Approval",
    "validator.attest": "SyncAttestation",
    "validator.rotate": "KeyRotation",
    "evidence": "EvidenceReport",
    "site.declare": "SiteDeclaration",
    "budget.tighten": "TightenBudget",
}


class DifferenceError(AssertionError):
    """The chain is not what the page says."""


def begin(document: Rec) -> State:
    """Return the state before block 1."""
    validators, agreed = document.rec("validators"), document.rec("learning")
    book = Book(bytes(32), validators, 0, document.number("time_ms"), bytes(32), {})
    book.write(b"ledger/validators", validators)
    book.write(b"ledger/parameters", document.rec("parameters"))
    for who in agreed.recs("participants"):
        book.write(b"fl/participant/" + who.data("public_key"), who)
    membership.write_roster(book, [membership.person(who) for who in agreed.recs("participants")])
    for spec in agreed.recs("tasks"):
        learning.room_for_task(book)
        learning.sound_task(spec)
        learning.activate(
            book, make("TaskState", spec=spec, status="active", approvals=[], round=0, version=0, certified=0)
        )
    return book.state


def carry_out(book: Book, transaction: Rec, identity: bytes) -> None:
    kind, sender = transaction.text("kind"), transaction.data("sender")
    learning.need(kind in PAYLOADS, "transaction.unknown_kind", f"no transaction is of kind {kind}")
    try:
        payload = decode(PAYLOADS[kind], transaction.data("payload"), 262_144)
    except RefusedError as error:
        detail = f"the payload is not the canonical encoding of a {PAYLOADS[kind]}"
        raise Refusal("transaction.malformed", detail) from error
    if kind == "aggregate":
        learning.certify(book, sender, payload)
        return
    if kind == "validator.attest":
        membership.attest(book, sender, payload)
        return
    keys = [member.data("public_key") for member in book.validators.recs("members")]
    if kind == "evidence" and sender in keys:
        evidence.report(book, payload, identity)
        return
    who = book.read("Participant", b"fl/participant/" + sender)
    learning.need(who is not None, "transaction.unknown_sender", f"{sender.hex()} is not registered")
    assert who is not None
    match kind:
        case "update":
            learning.update(book, who, payload, identity)
        case "evaluation":
            learning.evaluate(book, who, payload)
        case "task.propose":
            learning.propose(book, who, payload)
        case "task.approve":
            learning.approve(book, who, payload)
        case "governance.propose":
            membership.propose(book, who, payload)
        case "governance.approve":
            membership.approve(book, who, payload)
        case "validator.rotate":
            membership.rotate(book, who, payload)
        case "site.declare" | "budget.tighten":
            fault = (occasions.declare if kind == "site.declare" else budgets.tighten)(book, who, payload)
            if fault is not None:
                raise Refusal(*fault)
        case _:
            evidence.report(book, payload, identity)


@dataclass(frozen=True)
class Executed:
    """A block's outcome."""

    header: Rec
    receipts: list[Rec]
    state: State


def execute(claimed: Rec, raws: Sequence[bytes], before: State) -> Executed:
    """Execute a block on the state before it; take what is free from the claimed header."""
    validators = decode("ValidatorSet", before[b"ledger/validators"], 1 << 20)
    parameters = decode("ConsensusParameters", before[b"ledger/parameters"], 1 << 20)
    chain_id, height = claimed.data("chain_id"), claimed.number("height")
    book = Book(chain_id, validators, height, claimed.number("time_ms"), claimed.data("parent_id"), dict(before))
    membership.promote(book)
    book.late = membership.late_sets(book)
    if len(raws) > parameters.number("block_transactions_max"):
        raise DifferenceError("too many transactions")
    if sum(map(len, raws)) > parameters.number("block_bytes_max"):
        raise DifferenceError("too many bytes")
    receipts = [_transact(book, raw) for raw in raws]
    book.events = []
    learning.end_block(book)
    membership.end_block(book)
    receipts.append(make("Receipt", transaction=claimed.data("parent_id"), code="ok", detail="", events=[*book.events]))
    following = decode("ValidatorSet", book.state[b"ledger/validators"], 1 << 20)
    header = claimed.changed(
        transactions_root=merkle_root(raws),
        state_root=state_root(book.state),
        receipts_root=merkle_root([encode(receipt) for receipt in receipts]),
        validators_hash=set_hash(validators),
        next_validators_hash=set_hash(following),
        parameters_hash=digest("parameters", encode(parameters)),
        application_version=1,
    )
    return Executed(header, receipts, book.state)


def _transact(book: Book, raw: bytes) -> Rec:
    transaction = decode("Transaction", raw, 262_144)
    identity, sender = digest("transaction", raw), transaction.data("sender")
    nonce_key, nonce = b"ledger/nonce/" + sender, transaction.number("nonce")
    if u64(nonce) != book.state.get(nonce_key, u64(0)):
        raise DifferenceError(f"nonce {nonce} of {sender.hex()}")
    signed = encode((transaction.text("kind"), sender, nonce, transaction.data("payload")))
    if not is_signed(sender, "transaction", book.chain_id, signed, transaction.data("signature")):
        raise DifferenceError(f"signature of {identity.hex()}")
    kept, book.events = dict(book.state), []
    code, detail = "ok", ""
    try:
        carry_out(book, transaction, identity)
    except Refusal as refusal:
        book.state, book.events = kept, []
        code, detail = refusal.code, refusal.detail[:512]
    book.state[nonce_key] = u64(nonce + 1)
    return make("Receipt", transaction=identity, code=code, detail=detail, events=[*book.events])


def replay(
    document: Rec, blocks: Sequence[tuple[bytes, bytes]], payloads: Mapping[bytes, bytes] | None = None
) -> list[Executed]:
    """Check encoded blocks with their encoded certificates from genesis on; with payloads, the results as well.

    Raises:
        DifferenceError: at the first block that is not as the page says.
    """
    chain_id = digest("genesis", encode(document))
    state, parent, parent_ms, executed = begin(document), chain_id, document.number("time_ms"), list[Executed]()
    for height, (encoded_block, encoded_certificate) in enumerate(blocks, start=1):
        block = decode("Block", encoded_block, 1 << 20)
        certificate = decode("QuorumCertificate", encoded_certificate, 65_536)
        header, raws = block.rec("header"), [raw for raw in block.items("transactions") if isinstance(raw, bytes)]
        validators = decode("ValidatorSet", state[b"ledger/validators"], 1 << 20)
        if (header.number("height"), header.data("parent_id")) != (height, parent):
            raise DifferenceError(f"height {height}: place in the chain")
        if header.number("time_ms") <= parent_ms or header.number("proposer") >= len(validators.items("members")):
            raise DifferenceError(f"height {height}: time or proposer")
        if not is_final(chain_id, validators, header, certificate):
            raise DifferenceError(f"height {height}: certificate")
        outcome = execute(header, raws, state)
        for name, value in outcome.header.fields.items():
            if header.fields[name] != value:
                raise DifferenceError(f"height {height}: {name}")
        if payloads is not None:
            _check_results(raws, outcome.receipts, state, payloads)
        state, parent, parent_ms = outcome.state, block_id(header), header.number("time_ms")
        executed.append(outcome)
    return executed


def _check_results(
    raws: Sequence[bytes], receipts: Sequence[Rec], before: State, payloads: Mapping[bytes, bytes]
) -> None:
    for raw, receipt in zip(raws, receipts, strict=False):
        transaction = decode("Transaction", raw, 262_144)
        if transaction.text("kind") == "aggregate" and receipt.text("code") == "ok":
            result = decode("AggregateClaim", transaction.data("payload"), 262_144).rec("result")
            if recompute(before, result.text("task"), result.number("round"), payloads) != result:
                raise DifferenceError(f"result of {result.text('task')}/{result.number('round')}")


# 14.2 and 14.6: a round's result


def recompute(state: State, name: str, count: int, payloads: Mapping[bytes, bytes]) -> Rec:
    """Return the result of a closed round from its payloads, by payload id."""
    book = Book(bytes(32), decode("ValidatorSet", state[b"ledger/validators"], 1 << 20), 0, 0, b"", state)
    task, current = book.task(name), book.round(name, count)
    assert task is not None
    spec, base = task.rec("spec"), current.number("base_version")
    exponents = current.numbers("exponents")
    tensors = [
        arithmetic.Tensor(prod(one.numbers("shape")), one.number("exponent"), e)
        for one, e in zip(spec.rec("schema").recs("tensors"), exponents, strict=True)
    ]
    place = name.encode() + b"/" + number(count) + b"/"
    updates = [book.sure("UpdateState", b"fl/update/" + place + who.encode()) for who in current.texts("participants")]
    model = book.sure("ModelState", b"fl/model/" + name.encode() + b"/" + number(base))
    words = words_of(spec.rec("schema"))
    rows = [_words(payloads[payload_id(update.rec("payload"))], "h", words) for update in updates]
    held = model.fields["payload"]
    memory = Memory.of(spec, payloads[payload_id(held)] if isinstance(held, Rec) else b"", words)
    clip = arithmetic.clip_units(spec.number("clip_norm_micros"), min(exponents))
    samples = [update.number("samples") for update in updates]
    rule, names = rule_of(spec), current.texts("participants")
    root = names.index(rule.root) if rule.root in names else None
    outcome = arithmetic.aggregate(rule, tensors, rows, samples, clip, seed=current.data("seed"), root=root)
    body, saturated = memory.moved(outcome, tensors)
    contributions: list[Value] = [
        make(
            "Contribution",
            participant=update.text("participant"),
            weight=outcome.shares[i],
            norm=min(isqrt(outcome.squares[i]), 2**63 - 1),
            retained=outcome.retained[i][0],
            retained_of=outcome.retained[i][1],
        )
        for i, update in enumerate(updates)
    ]
    return make(
        "RoundResult",
        task=name,
        round=count,
        base_version=base,
        model=descriptor(bytes(32) + body),
        exponents=[*arithmetic.next_exponents(outcome.peaks, tensors)],
        peaks=[*outcome.peaks],
        saturated=saturated,
        contributions=contributions,
    )


@dataclass
class Memory:
    """A model's words, and behind them what its optimiser remembers (sections 12 and 14.7)."""

    optimiser: arithmetic.Optimiser | None
    words: list[int]
    means: list[int]
    squares: list[int]

    @classmethod
    def of(cls, spec: Rec, payload: bytes, size: int) -> Memory:
        """Read a payload; what is not there is 0."""
        said = spec.fields["optimiser"]
        optimiser = None
        if isinstance(said, Rec):
            names = ("rate_micros", "momentum_permille", "variance_permille", "floor_micros")
            optimiser = arithmetic.Optimiser(said.text("optimiser"), *(said.number(name) for name in names))
        whole = payload[32:].ljust(16 * size, b"\0")
        words = list(struct.unpack(f"<{size}i", whole[: 4 * size]))
        means = list(struct.unpack(f"<{size}i", whole[4 * size : 8 * size]))
        return cls(optimiser, words, means, list(struct.unpack(f"<{size}q", whole[8 * size : 16 * size])))

    def moved(self, outcome: arithmetic.Outcome, tensors: list[arithmetic.Tensor]) -> tuple[bytes, int]:
        """Return the next body, and how many words were cut off."""
        count = len(self.words)
        if self.optimiser is None:
            new, cut = arithmetic.next_model(self.words, outcome, tensors)
            return struct.pack(f"<{count}i", *new), cut
        new, means, squares, cut = arithmetic.optimised(
            self.optimiser, self.words, self.means, self.squares, outcome, tensors
        )
        body = struct.pack(f"<{2 * count}i", *new, *means)
        return body + (b"" if self.optimiser.name == "momentum/1" else struct.pack(f"<{count}q", *squares)), cut


def descriptor(payload: bytes) -> Rec:
    """Return what names a payload (section 12)."""
    chunks = [payload[start : start + 1_048_576] for start in range(0, len(payload), 1_048_576)]
    return make("PayloadDescriptor", size=len(payload), root=merkle_root(chunks))


def payload_id(descriptor_: Rec) -> bytes:
    return digest("payload", encode(descriptor_))


def _words(payload: bytes, kind: str, words: int) -> list[int]:
    return list(struct.unpack(f"<{words}{kind}", payload[32:]))
