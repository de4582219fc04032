"""Light proofs: a fact with its header, certificate and path; nothing else is needed, nothing less suffices."""

from __future__ import annotations

import random

import msgspec
import pytest

from fl.records import TaskState
from fl.state import task_key
from ledger.chain import CertifiedHeader
from ledger.codec import CodecError, decode, encode
from ledger.light import (
    LightProof,
    LightProofError,
    ReceiptFact,
    StateFact,
    TransactionFact,
    decode_light_proof,
    prove_receipt,
    prove_state,
    prove_transaction,
    successor,
    verify_light_proof,
)
from ledger.merkle import LeafIndexError
from ledger.transaction import transaction_id
from ledger.validators import ValidatorSet
from tests.recorded import Recorded, certify, document_of, member

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    history = Recorded.begin()
    history.learn(rounds=1)
    return history


def header_of(history: Recorded, height: int) -> CertifiedHeader:
    certified = history.blocks[height - 1]
    return CertifiedHeader(certified.block.header, certified.certificate)


def proofs(history: Recorded) -> dict[str, LightProof]:
    certified, execution = history.blocks[1], history.executions[1]
    return {
        "transaction": prove_transaction(certified, 1),
        "receipt": prove_receipt(header_of(history, 2), execution.receipts, 2),
        "presence": prove_state(header_of(history, 2), execution.state, task_key("heart")),
        "absence": prove_state(header_of(history, 2), execution.state, task_key("other")),
    }


KINDS = ("transaction", "receipt", "presence", "absence")


@pytest.mark.parametrize("kind", KINDS)
def test_a_proof_is_believed_by_who_knows_chain_and_validators(recorded: Recorded, kind: str) -> None:
    proof = decode_light_proof(encode(proofs(recorded)[kind]))
    assert verify_light_proof(recorded.document.chain_id, recorded.document.validators, proof) == proof.fact


def test_a_transaction_is_proven_at_its_place(recorded: Recorded) -> None:
    fact = proofs(recorded)["transaction"].fact
    assert isinstance(fact, TransactionFact)
    assert fact.raw == recorded.blocks[1].block.transactions[fact.path.index]


def test_a_receipt_tells_what_became_of_which_transaction(recorded: Recorded) -> None:
    fact = proofs(recorded)["receipt"].fact
    assert isinstance(fact, ReceiptFact)
    assert fact.receipt.transaction == transaction_id(recorded.blocks[1].block.transactions[2])
    assert not fact.receipt.accepted


def test_the_state_is_proven_by_value(recorded: Recorded) -> None:
    fact = proofs(recorded)["presence"].fact
    assert isinstance(fact, StateFact)
    assert fact.value is not None
    assert decode(fact.value, TaskState, bytes_max=100_000).version == 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_flipped_bit_of_a_proof_is_found(recorded: Recorded, kind: str) -> None:
    original = encode(proofs(recorded)[kind])
    for bit in random.Random(3).sample(range(8 * len(original)), 150):
        flipped = bytearray(original)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((CodecError, LightProofError)):
            verify_light_proof(
                recorded.document.chain_id, recorded.document.validators, decode_light_proof(bytes(flipped))
            )


def test_another_value_is_not_proven(recorded: Recorded) -> None:
    proof = proofs(recorded)["presence"]
    assert isinstance(proof.fact, StateFact)
    for value in (None, b"", b"more"):
        with pytest.raises(LightProofError, match="does not lead"):
            verify_light_proof(
                recorded.document.chain_id,
                recorded.document.validators,
                replace(proof, fact=replace(proof.fact, value=value)),
            )


def test_presence_cannot_be_passed_off_as_absence(recorded: Recorded) -> None:
    proof = proofs(recorded)["absence"]
    assert isinstance(proof.fact, StateFact)
    forged = replace(proof, fact=replace(proof.fact, key=task_key("heart")))
    with pytest.raises(LightProofError):
        verify_light_proof(recorded.document.chain_id, recorded.document.validators, forged)


def test_another_chain_is_refused(recorded: Recorded) -> None:
    with pytest.raises(LightProofError, match="of chain"):
        verify_light_proof(
            replace(recorded.document, time_ms=1).chain_id, recorded.document.validators, proofs(recorded)["receipt"]
        )


def test_another_validator_set_is_refused(recorded: Recorded) -> None:
    with pytest.raises(LightProofError, match="follow the headers"):
        verify_light_proof(recorded.document.chain_id, ValidatorSet.of((member("liar"),)), proofs(recorded)["receipt"])


def test_too_few_signatures_are_refused(recorded: Recorded) -> None:
    proof = proofs(recorded)["receipt"]
    weak = replace(proof, certificate=replace(proof.certificate, seals=proof.certificate.seals[:2]))
    with pytest.raises(LightProofError, match="needs 3 of 4"):
        verify_light_proof(recorded.document.chain_id, recorded.document.validators, weak)


def test_a_certificate_of_another_height_is_refused(recorded: Recorded) -> None:
    proof = replace(proofs(recorded)["receipt"], certificate=recorded.blocks[0].certificate)
    with pytest.raises(LightProofError, match="the certificate is for block"):
        verify_light_proof(recorded.document.chain_id, recorded.document.validators, proof)


def test_a_state_of_another_height_gives_no_proof(recorded: Recorded) -> None:
    with pytest.raises(LightProofError, match="the state after height 1 was needed"):
        prove_state(header_of(recorded, 1), recorded.state, b"x")


def test_a_place_beyond_the_last_gives_no_proof(recorded: Recorded) -> None:
    with pytest.raises(LeafIndexError):
        prove_transaction(recorded.blocks[1], 3)


def test_the_next_set_is_the_one_that_the_header_names(recorded: Recorded) -> None:
    header = header_of(recorded, 1).header
    assert successor(header, recorded.document.validators) == recorded.document.validators
    with pytest.raises(LightProofError, match="is decided by validator set"):
        successor(header, ValidatorSet.of((member("liar"),)))


def large() -> tuple[Recorded, LightProof, LightProof]:
    """Return a chain of 16 validators, a proof from a state of 100,000 entries, and one of an update."""
    history = Recorded(document_of(tuple(f"site-{number:02d}" for number in range(16))))
    history.learn(rounds=1)
    entries = ((f"filler/{number}".encode(), bytes(8)) for number in range(100_000))
    state = history.executions[1].state.update(dict(entries))
    header = replace(history.executions[1].header, state_root=state.root)
    execution = type(history.executions[1])(header, (), (), state, {}, *[history.document.validators] * 2)
    certified = certify(history.document.chain_id, history.document.validators, execution)
    in_state = prove_state(CertifiedHeader(header, certified.certificate), state, b"filler/7")
    return history, in_state, prove_transaction(history.blocks[0], 0)


def test_a_proof_for_sixteen_validators_is_small() -> None:
    """The promise is 2.5 KB; `benchmarks.light_proof` says how long verifying takes."""
    history, in_state, in_block = large()
    for proof in (in_state, in_block):
        verify_light_proof(history.document.chain_id, history.document.validators, proof)
    assert len(encode(in_state)) <= 2_500
    assert isinstance(in_block.fact, TransactionFact)
    assert len(encode(in_block)) - len(in_block.fact.raw) <= 2_500
