"""Facts of the state, as records. One law: a fact counts as far as its proof goes.

Each fact comes with a light proof. The path from the fact to the header's state root is always checked. With the
genesis document in hand the header's certificate is checked too, so that a lying node is found out.
"""

from __future__ import annotations

from typing import Final, TypeVar

from foedus.client.errors import NodeRefusedError, UnverifiedError
from foedus.client.following import Trust
from foedus.client.wire import Wire
from ledger.application import STATE_VALUE_BYTES_MAX
from ledger.chain import CertifiedHeader
from ledger.codec import CodecError, Record, decode
from ledger.light import LightProof, LightProofError, StateFact, decode_light_proof
from ledger.state_map import verify_state

FactT = TypeVar("FactT", bound=Record)

_MESSAGE_PACK: Final = {"Accept": "application/msgpack"}


async def read_fact(wire: Wire, trust: Trust, key: bytes, fact_type: type[FactT]) -> FactT | None:
    """Return the record under a key of the state, None when there is none.

    Raises:
        UnverifiedError: the node's proof does not hold.
        NodeRefusedError, NodeUnreachableError: see `Wire.request`.
    """
    value = await _read(wire, trust, key)
    if value is None:
        return None
    try:
        return decode(value, fact_type, bytes_max=STATE_VALUE_BYTES_MAX)
    except CodecError as error:
        raise UnverifiedError(f"{wire.url} holds something else than {fact_type.__name__}: {error}") from error


async def _read(wire: Wire, trust: Trust, key: bytes) -> bytes | None:
    try:
        reply = await wire.request("GET", f"/v1/proofs/state/{key.hex()}", headers=_MESSAGE_PACK)
    except NodeRefusedError as error:
        if error.code == "proof.no_block":
            return await _read_before_block_1(wire, trust, key)
        raise
    try:
        proof = decode_light_proof(reply.body)
        await trust.follow(wire, proof.header)
        return proven_value(trust, key, proof)
    except (CodecError, LightProofError) as error:
        raise UnverifiedError(f"{wire.url} proves the state wrongly: {error}") from error


async def _read_before_block_1(wire: Wire, trust: Trust, key: bytes) -> bytes | None:
    """Read while no quorum has signed any state: the genesis document says it all; without one the node is believed."""
    if trust.genesis_state is not None:
        return trust.genesis_state.get(key)
    try:
        return (await wire.request("GET", f"/v1/state/{key.hex()}")).body
    except NodeRefusedError as error:
        if error.code == "state.absent":
            return None
        raise


def proven_value(trust: Trust, key: bytes, proof: LightProof) -> bytes | None:
    """Return what a proof says about `key`.

    Raises:
        LightProofError: it proves something else or nothing.
    """
    trust.require(CertifiedHeader(proof.header, proof.certificate))
    fact, header = proof.fact, proof.header
    if not isinstance(fact, StateFact) or fact.key != key or header.chain_id != trust.chain_id:
        raise LightProofError(f"a proof for key {key.hex()} of chain {trust.chain_id.hex()} was needed")
    if not verify_state(header.state_root, key, fact.value, fact.path):
        raise LightProofError(f"height {header.height}: the path does not lead from the fact to the state root")
    return fact.value
