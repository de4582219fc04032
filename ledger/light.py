"""Light proofs: one fact of the chain, checked without the chain. One law: a fact is as good as the quorum under it.

A proof holds a header, the commit certificate that made it final, and the path from one of the header's roots to the
fact. Whoever knows the chain id and the validator set of that height checks it in a millisecond; who follows the
chain from genesis learns the set of each height from the header before (`successor`).

| fact | root | says |
|---|---|---|
| `TransactionFact` | transactions | these bytes are the transaction at this place of this block |
| `ReceiptFact` | receipts | this became of the transaction with this id |
| `StateFact` | state | after this block the state holds this value at this key, or nothing |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias, assert_never

from msgspec import Meta

from ledger.application import STATE_KEY_BYTES_MAX, STATE_VALUE_BYTES_MAX
from ledger.block import CertifiedBlock, Header, block_id
from ledger.certificate import COMMIT, CertificateError, QuorumCertificate, verify_certificate
from ledger.chain import CertifiedHeader
from ledger.codec import Record, decode, encode
from ledger.digest import Digest
from ledger.merkle import InclusionProof, prove, verify_inclusion
from ledger.receipt import Receipt
from ledger.state_map import StateMap, StateProof, verify_state
from ledger.transaction import TRANSACTION_BYTES_MAX
from ledger.validators import ValidatorSet

LIGHT_PROOF_BYTES_MAX: Final = STATE_VALUE_BYTES_MAX + 131_072


class LightProofError(ValueError):
    """A proof does not prove what it claims."""


class TransactionFact(Record, tag="transaction"):
    """A transaction stands in the block."""

    raw: Annotated[bytes, Meta(max_length=TRANSACTION_BYTES_MAX)]
    path: InclusionProof


class ReceiptFact(Record, tag="receipt"):
    """A transaction, or the block itself, led to this."""

    receipt: Receipt
    path: InclusionProof


class StateFact(Record, tag="state"):
    """The state holds a value at a key, or nothing."""

    key: Annotated[bytes, Meta(max_length=STATE_KEY_BYTES_MAX)]
    value: Annotated[bytes, Meta(max_length=STATE_VALUE_BYTES_MAX)] | None
    path: StateProof


Fact: TypeAlias = TransactionFact | ReceiptFact | StateFact


class LightProof(Record):
    """A fact, and why to believe it."""

    header: Header
    certificate: QuorumCertificate
    fact: Fact


def decode_light_proof(data: bytes) -> LightProof:
    """Return the proof in `data`, which may come from anybody.

    Raises:
        CodecError: too long, malformed or not canonical.
    """
    return decode(data, LightProof, bytes_max=LIGHT_PROOF_BYTES_MAX)


def verify_light_proof(chain_id: Digest, validators: ValidatorSet, proof: LightProof) -> Fact:
    """Check a proof and return its fact.

    Args:
        chain_id: of the chain that is trusted.
        validators: trusted set of the header's height.
        proof: from anybody.

    Raises:
        LightProofError: another chain or set, no quorum, or a path that does not lead to the header's root.
    """
    verify_certified_header(chain_id, validators, CertifiedHeader(proof.header, proof.certificate))
    if not _leads_to_root(proof.header, proof.fact):
        raise LightProofError(
            f"height {proof.header.height}: the path does not lead from the fact to the header's root"
        )
    return proof.fact


def verify_certified_header(chain_id: Digest, validators: ValidatorSet, certified: CertifiedHeader) -> None:
    """Check that a quorum of `validators` made this header final.

    Raises:
        LightProofError: it did not, or the header is another chain's or another set's.
    """
    header, certificate = certified.header, certified.certificate
    if header.chain_id != chain_id:
        raise LightProofError(f"a header of chain {chain_id.hex()} was needed, got one of {header.chain_id.hex()}")
    if header.validators_hash != validators.hash:
        raise LightProofError(
            f"height {header.height} was decided by validator set {header.validators_hash.hex()}, the trusted one is "
            f"{validators.hash.hex()}: follow the headers up to this height first"
        )
    identity = block_id(header)
    if certificate.block_id != identity or certificate.height != header.height:
        raise LightProofError(
            f"the certificate is for block {certificate.block_id.hex()} at height {certificate.height}, "
            f"the header is {identity.hex()} at height {header.height}"
        )
    try:
        verify_certificate(chain_id, COMMIT, validators, certificate)
    except CertificateError as error:
        raise LightProofError(str(error)) from error


def successor(header: Header, candidate: ValidatorSet) -> ValidatorSet:
    """Return `candidate` when a verified `header` names it as the set of the next height.

    Raises:
        LightProofError: the header names another.
    """
    if candidate.hash != header.next_validators_hash:
        raise LightProofError(
            f"height {header.height + 1} is decided by validator set {header.next_validators_hash.hex()}, "
            f"got {candidate.hash.hex()}"
        )
    return candidate


def prove_transaction(certified: CertifiedBlock, index: int) -> LightProof:
    """Prove that transaction number `index` of a block stands there.

    Raises:
        LeafIndexError: the block has none at this index.
    """
    raws = certified.block.transactions
    path = prove(raws, index)
    return LightProof(certified.block.header, certified.certificate, TransactionFact(raws[index], path))


def prove_receipt(certified: CertifiedHeader, receipts: Sequence[Receipt], index: int) -> LightProof:
    """Prove what became of transaction number `index`; the index after the last is the block's own receipt.

    Raises:
        LeafIndexError: the block has none at this index.
    """
    path = prove([encode(receipt) for receipt in receipts], index)
    return LightProof(certified.header, certified.certificate, ReceiptFact(receipts[index], path))


def prove_state(certified: CertifiedHeader, state: StateMap, key: bytes) -> LightProof:
    """Prove what the state after a block holds at `key`, be it nothing.

    Raises:
        LightProofError: `state` is not the one after this block.
    """
    if state.root != certified.header.state_root:
        raise LightProofError(
            f"the state after height {certified.header.height} was needed (root {certified.header.state_root.hex()}), "
            f"got one with root {state.root.hex()}"
        )
    fact = StateFact(key, state.get(key), state.prove(key))
    return LightProof(certified.header, certified.certificate, fact)


def _leads_to_root(header: Header, fact: Fact) -> bool:
    match fact:
        case TransactionFact(raw, path):
            return verify_inclusion(header.transactions_root, raw, path)
        case ReceiptFact(receipt, path):
            return verify_inclusion(header.receipts_root, encode(receipt), path)
        case StateFact(key, value, proof):
            return verify_state(header.state_root, key, value, proof)
        case _:
            assert_never(fact)
