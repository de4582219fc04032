"""Verification of a chain: everything is recomputed, and the first difference is named."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from fl.application import FederatedLearning
from genesis.document import initial_state, read_document
from genesis.reading import to_json
from ledger.application import BlockContext, Overlay
from ledger.block import BLOCK_BYTES_MAX, Block, CertifiedBlock, Header
from ledger.certificate import QuorumCertificate
from ledger.chain import (
    CertifiedHeader,
    ChainDifferenceError,
    VerifiedBlock,
    genesis_anchor,
    verify_chain,
    verify_headers,
)
from ledger.codec import CodecError, Record, decode, encode
from ledger.receipt import Event
from ledger.reigns import VALIDATORS_PENDING_KEY
from ledger.transaction import Transaction, transaction_id
from ledger.validators import ValidatorSet
from tests.recorded import GENESIS_MS, Recorded, certify, document_of, member

replace = msgspec.structs.replace
VECTOR = Path(__file__).parents[1] / "vectors" / "chain" / "two_rounds.json"


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    history = Recorded.begin()
    history.learn(rounds=2)
    return history


def verified(history: Recorded, blocks: list[CertifiedBlock]) -> list[VerifiedBlock]:
    return list(verify_chain(history.anchor, history.genesis_state, history.application, blocks))


def difference(history: Recorded, blocks: list[CertifiedBlock]) -> ChainDifferenceError:
    with pytest.raises(ChainDifferenceError) as caught:
        verified(history, blocks)
    return caught.value


def with_header(certified: CertifiedBlock, edit: Callable[[Header], Header]) -> CertifiedBlock:
    return replace(certified, block=replace(certified.block, header=edit(certified.block.header)))


def test_an_honest_chain_is_verified_to_its_end(recorded: Recorded) -> None:
    results = verified(recorded, recorded.blocks)
    assert [one.certified for one in results] == recorded.blocks
    assert [one.execution.header for one in results] == [one.header for one in recorded.executions]
    assert [one.execution.receipts for one in results] == [one.receipts for one in recorded.executions]


def test_a_refused_transaction_is_part_of_an_honest_chain(recorded: Recorded) -> None:
    codes = [receipt.code for receipt in verified(recorded, recorded.blocks)[1].execution.receipts]
    assert codes[:2] == ["ok", "ok"]
    assert codes[2] != "ok"


def test_a_missing_block_is_named(recorded: Recorded) -> None:
    error = difference(recorded, [recorded.blocks[0], *recorded.blocks[2:]])
    assert (error.height, error.reason) == (2, "height must be 2, got 3")


def test_two_blocks_in_the_wrong_order_are_named(recorded: Recorded) -> None:
    assert difference(recorded, [recorded.blocks[1], recorded.blocks[0]]).height == 1


def test_a_block_of_another_chain_is_refused() -> None:
    mine, other = Recorded.begin(), Recorded(replace(document_of(), chain_name="other"))
    other.block()
    assert "chain_id must be" in difference(mine, other.blocks).reason


@pytest.mark.parametrize("field", Header.__struct_fields__)
def test_every_field_of_a_header_is_checked(recorded: Recorded, field: str) -> None:
    """Also when a quorum signed it: execution, not the certificate, is what is believed."""
    original = recorded.blocks[2].block.header
    value: bytes | int = getattr(original, field)
    if isinstance(value, bytes):
        changed: bytes | int = bytes(32)
    else:
        changed = value + 5 if field == "time_ms" else value ^ 1
    execution = dataclasses.replace(recorded.executions[2], header=replace(original, **{field: changed}))
    forged = certify(recorded.document.chain_id, recorded.document.validators, execution)
    error = difference(recorded, [*recorded.blocks[:2], forged, recorded.blocks[3]])
    if field == "proposer":  # a quorum may say who proposed; the block after it then has another parent
        assert (error.height, "parent_id" in error.reason) == (4, True)
        return
    assert error.height == 3
    assert {"time_ms": "state_root"}.get(field, field) in error.reason


def test_a_time_that_does_not_advance_is_refused(recorded: Recorded) -> None:
    forged = with_header(recorded.blocks[0], lambda header: replace(header, time_ms=GENESIS_MS))
    assert "time_ms must be after" in difference(recorded, [forged]).reason


def test_a_proposer_who_does_not_exist_is_refused(recorded: Recorded) -> None:
    forged = with_header(recorded.blocks[0], lambda header: replace(header, proposer=4))
    assert "proposer 4 does not exist" in difference(recorded, [forged]).reason


def test_a_certificate_of_too_few_is_refused() -> None:
    history = Recorded.begin()
    history.block(signers=2)
    assert "needs 3 of 4 signatures, got 2" in difference(history, history.blocks).reason


def test_a_certificate_of_another_block_is_refused(recorded: Recorded) -> None:
    borrowed = replace(recorded.blocks[0], certificate=recorded.blocks[1].certificate)
    assert "the certificate must be for block" in difference(recorded, [borrowed]).reason


def test_a_signature_that_is_not_its_signers_is_refused(recorded: Recorded) -> None:
    certificate = recorded.blocks[0].certificate
    seals = (replace(certificate.seals[0], signature=certificate.seals[1].signature), *certificate.seals[1:])
    forged = replace(recorded.blocks[0], certificate=replace(certificate, seals=seals))
    assert "bad signature of validator 0" in difference(recorded, [forged]).reason


def test_a_changed_transaction_is_named_by_its_place_and_id(recorded: Recorded) -> None:
    raws = list(recorded.blocks[2].block.transactions)
    raws[1] = raws[1][:-1] + bytes([raws[1][-1] ^ 1])
    block = replace(recorded.blocks[2].block, transactions=tuple(raws))
    error = difference(recorded, [*recorded.blocks[:2], CertifiedBlock(block, recorded.blocks[2].certificate)])
    assert (error.height, error.index, error.transaction) == (3, 1, transaction_id(raws[1]))
    assert "not signed by its sender" in error.reason


def test_a_dropped_transaction_is_found(recorded: Recorded) -> None:
    """A quorum that leaves an update out cannot keep the header."""
    raws = recorded.blocks[0].block.transactions[:-1]
    block = replace(recorded.blocks[0].block, transactions=raws)
    error = difference(recorded, [CertifiedBlock(block, recorded.blocks[0].certificate)])
    assert error.height == 1
    assert "transactions_root" in error.reason


def test_every_flipped_bit_of_a_stored_block_is_found(recorded: Recorded) -> None:
    """A sample of all bits of a block with its certificate; whatever still decodes must not verify."""
    original = encode(recorded.blocks[1])
    chosen = random.Random(7).sample(range(8 * len(original)), 200)
    for bit in chosen:
        flipped = bytearray(original)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            certified = decode(bytes(flipped), CertifiedBlock, bytes_max=BLOCK_BYTES_MAX)
        except CodecError:
            continue
        assert difference(recorded, [recorded.blocks[0], certified]).height == 2, bit


class Rotation(Record):
    """Says which set decides from the height after the next."""

    validators: ValidatorSet


@dataclass
class Rotating(FederatedLearning):
    """As the application, and whoever says `rotate` replaces the validators."""

    def execute(self, state: Overlay, context: BlockContext, transaction: Transaction) -> tuple[Event, ...]:
        if transaction.kind != "rotate":
            return super().execute(state, context, transaction)
        rotation = decode(transaction.payload, Rotation, bytes_max=65_536)
        state.put(VALIDATORS_PENDING_KEY, encode(rotation.validators))
        return ()


@pytest.fixture(scope="module")
def rotated() -> Recorded:
    history = Recorded(document_of(), application=Rotating())
    following = ValidatorSet.of(tuple(member(name) for name in ("hungary", "newcomer", "other", "va")))
    history.block(history.transaction("va", "rotate", Rotation(following)))
    history.block()
    history.block()
    return history


def test_each_height_is_decided_by_its_own_set(rotated: Recorded) -> None:
    """Block 2 still belongs to the old set, block 3 to the new one."""
    verified(rotated, rotated.blocks)
    old = certify(rotated.document.chain_id, rotated.document.validators, rotated.executions[2])
    assert "signature" in difference(rotated, [*rotated.blocks[:2], old]).reason


def headers(history: Recorded) -> list[CertifiedHeader]:
    return [CertifiedHeader(one.block.header, one.certificate) for one in history.blocks]


def test_headers_alone_lead_to_the_same_end(recorded: Recorded) -> None:
    anchors = list(verify_headers(recorded.anchor, headers(recorded), lambda _: None))
    assert [anchor.block_id for anchor in anchors] == [one.block.id for one in recorded.blocks]


def test_headers_alone_follow_a_change_of_validators(rotated: Recorded) -> None:
    following = rotated.executions[1].next_validators
    assert len(list(verify_headers(rotated.anchor, headers(rotated), lambda _: following))) == 3


@pytest.mark.parametrize("answer", [None, ValidatorSet.of((member("liar"),))])
def test_headers_alone_take_no_set_that_the_header_does_not_name(
    rotated: Recorded, answer: ValidatorSet | None
) -> None:
    with pytest.raises(ChainDifferenceError, match="of the next height is needed") as caught:
        list(verify_headers(rotated.anchor, headers(rotated), lambda _: answer))
    assert caught.value.height == 2


def test_headers_alone_need_a_quorum(recorded: Recorded) -> None:
    first = headers(recorded)[0]
    weak = replace(first, certificate=replace(first.certificate, seals=first.certificate.seals[:2]))
    with pytest.raises(ChainDifferenceError, match="needs 3 of 4"):
        list(verify_headers(recorded.anchor, [weak], lambda _: None))


def vector_of(history: Recorded) -> dict[str, object]:
    return {
        "description": "Two learning rounds of four institutions; keys are derived as in tests/recorded.py.",
        "genesis": to_json(history.document),
        "genesis_encoding": encode(history.document).hex(),
        "chain_id": history.document.chain_id.hex(),
        "genesis_state": {key.hex(): value.hex() for key, value in sorted(history.genesis_state.items())},
        "genesis_state_root": history.genesis_state.root.hex(),
        "blocks": [
            {
                "block": encode(certified.block).hex(),
                "certificate": encode(certified.certificate).hex(),
                "block_id": certified.block.id.hex(),
                "transactions": [transaction_id(raw).hex() for raw in certified.block.transactions],
                "receipts": [encode(receipt).hex() for receipt in execution.receipts],
                "changes": {
                    key.hex(): None if value is None else value.hex()
                    for key, value in sorted(execution.changes.items())
                },
                "header": to_json(certified.block.header),
            }
            for certified, execution in zip(history.blocks, history.executions, strict=True)
        ],
        "payloads": {identity.hex(): payload.hex() for identity, payload in sorted(history.payloads.items())},
    }


def test_the_vector_is_what_this_code_makes(recorded: Recorded) -> None:
    """To write it anew after an intended change: `python -m tests.ledger.test_chain`."""
    assert json.loads(VECTOR.read_text()) == vector_of(recorded)


def test_the_vector_verifies_from_its_text_alone() -> None:
    vector = json.loads(VECTOR.read_text())
    document = read_document(json.dumps(vector["genesis"]))
    assert document.chain_id.hex() == vector["chain_id"]
    state = initial_state(document)
    blocks = [
        CertifiedBlock(
            decode(bytes.fromhex(one["block"]), Block, bytes_max=BLOCK_BYTES_MAX),
            decode(bytes.fromhex(one["certificate"]), QuorumCertificate, bytes_max=BLOCK_BYTES_MAX),
        )
        for one in vector["blocks"]
    ]
    anchor = genesis_anchor(document.chain_id, document.time_ms, state)
    results = list(verify_chain(anchor, state, FederatedLearning(), blocks))
    assert [one.certified.block.id.hex() for one in results] == [one["block_id"] for one in vector["blocks"]]


if __name__ == "__main__":
    written = Recorded.begin()
    written.learn(rounds=2)
    VECTOR.parent.mkdir(parents=True, exist_ok=True)
    VECTOR.write_text(json.dumps(vector_of(written), indent=1, sort_keys=True) + "\n")
