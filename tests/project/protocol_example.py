"""The worked example of docs/protocol.md: a whole chain of two blocks, made by the project's own code.

`python -m tests.project.protocol_example` prints it; it stands in the page's last section.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from typing import Final

from fl.aggregates import sign_result
from fl.aggregators import RuleSpec
from fl.application import FederatedLearning
from fl.records import AggregateClaim, LearningGenesis, Participant, TaskSpec, UpdateSubmission
from fl.results import closed_jobs, compute
from fl.schema import ModelSchema, TensorSpec
from fl.state import model_key
from genesis.document import GenesisDocument, initial_state
from ledger.application import BlockContext
from ledger.block import CertifiedBlock
from ledger.certificate import COMMIT, make_certificate, sign_vote, vote_message
from ledger.chain import CertifiedHeader
from ledger.codec import encode
from ledger.digest import Digest
from ledger.execution import BlockBuilder, Execution
from ledger.fields import Height, View
from ledger.identity import SigningKey, signing_input
from ledger.light import prove_state
from ledger.parameters import ConsensusParameters
from ledger.payload import Acknowledgement, AvailabilityCertificate, describe, sign_acknowledgement
from ledger.state_map import StateMap
from ledger.transaction import Transaction, sign_transaction
from ledger.validators import Validator, ValidatorSet

VALIDATOR: Final = SigningKey(bytes([1] * 32))
TRANSPORT: Final = SigningKey(bytes([2] * 32))
TRAINER: Final = SigningKey(bytes([3] * 32))
WIDTH: Final = 110
Line = tuple[str, bytes]


def document() -> GenesisDocument:
    """Return the agreement of one institution to learn two weights in one round."""
    task = TaskSpec(
        id="tiny",
        description="",
        schema=ModelSchema((TensorSpec("w", (2,), 0),)),
        initial_model=None,
        rule=RuleSpec("weighted-mean/1", 0),
        clip_norm_micros=0,
        updates_min=1,
        updates_max=1,
        collect_ms=1_000,
        aggregate_ms=1_000,
        rounds=1,
        participants=(),
    )
    return GenesisDocument(
        "example",
        1_000,
        ValidatorSet.of((Validator("alpha", VALIDATOR.public_key, TRANSPORT.public_key, ""),)),
        ConsensusParameters(),
        LearningGenesis((Participant("ann", "alpha", TRAINER.public_key, ("trainer",)),), (task,)),
    )


def lines() -> Iterator[Line]:
    """Yield the example's names and values."""
    agreement = document()
    state, chain_id = initial_state(agreement), agreement.chain_id
    yield "validator public key", VALIDATOR.public_key
    yield "transport public key", TRANSPORT.public_key
    yield "trainer public key", TRAINER.public_key
    yield "genesis document", encode(agreement)
    yield "chain id", chain_id
    yield "state root before block 1", state.root

    payload = bytes([0xAA] * 32) + (4096).to_bytes(2, "little") + (-1).to_bytes(2, "little", signed=True)
    acknowledgement = Acknowledgement(describe(payload), "ok")
    yield "update payload", payload
    yield "payload descriptor", encode(acknowledgement.payload)
    yield "payload id", acknowledgement.payload.id
    yield "acknowledgement", encode(acknowledgement)
    yield "acknowledgement, what is signed", signing_input("acknowledgement", chain_id, encode(acknowledgement))
    seal = sign_acknowledgement(VALIDATOR, chain_id, agreement.validators, acknowledgement)
    yield "acknowledgement, signature", seal.signature
    submission = UpdateSubmission("tiny", 1, 0, 10, 0, (), AvailabilityCertificate(acknowledgement, (seal,)))
    update = sign_transaction(TRAINER, chain_id, "update", 0, submission)
    first = _execute(agreement, state, None, update)
    yield from _block("block 1", update, first)
    certified = _certify(agreement, first)
    yield (
        "block 1, vote message",
        vote_message(COMMIT, Height(1), View(0), agreement.validators.hash, 0, first.block.id),
    )
    yield "block 1, commit certificate", encode(certified.certificate)

    computed = compute(next(closed_jobs(first.state)), None, [payload])
    yield "new model's payload", computed.model_payload
    yield "round result", encode(computed.result)
    yield "round result, digest", computed.result.digest
    result_seal = sign_result(VALIDATOR, chain_id, agreement.validators, computed.result)
    claim = sign_transaction(VALIDATOR, chain_id, "aggregate", 0, AggregateClaim(computed.result, (result_seal,)))
    second = _execute(agreement, first.state, first, claim)
    yield from _block("block 2", claim, second)
    final = _certify(agreement, second)
    yield "block 2, commit certificate", encode(final.certificate)
    proof = prove_state(final_header(final), second.state, model_key("tiny", 1))
    yield "light proof of model 1", encode(proof)


def final_header(certified: CertifiedBlock) -> CertifiedHeader:
    """Return a block without its transactions."""
    return CertifiedHeader(certified.block.header, certified.certificate)


def _block(name: str, transaction: Transaction, execution: Execution) -> Iterator[Line]:
    yield f"{name}, transaction", encode(transaction)
    for place, receipt in enumerate(execution.receipts):
        yield f"{name}, receipt {place}", encode(receipt)
    yield f"{name}, header", encode(execution.header)
    yield f"{name}, id", execution.block.id


def _execute(
    agreement: GenesisDocument, state: StateMap, parent: Execution | None, transaction: Transaction
) -> Execution:
    height = Height(1 if parent is None else parent.header.height + 1)
    parent_id: Digest = agreement.chain_id if parent is None else parent.block.id
    time_ms = 1_000 * (height + 1)
    context = BlockContext(agreement.chain_id, height, time_ms, parent_id, agreement.validators, 0)
    builder = BlockBuilder(FederatedLearning(), state, context)
    builder.add(encode(transaction))
    return builder.finish()


def _certify(agreement: GenesisDocument, execution: Execution) -> CertifiedBlock:
    block = execution.block
    vote = sign_vote(VALIDATOR, agreement.chain_id, COMMIT, block.height, View(0), agreement.validators, block.id)
    return CertifiedBlock(block, make_certificate(block.height, View(0), block.id, [vote]))


def text() -> str:
    """Return the example as it stands in the page."""
    return "".join(
        f"{name}\n{textwrap.fill(value.hex(), WIDTH, initial_indent='  ', subsequent_indent='  ')}\n"
        for name, value in lines()
    )


if __name__ == "__main__":
    sys.stdout.write(text())
