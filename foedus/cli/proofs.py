"""Facts with their proofs, for commands that vouch for what they print. One law: no proof, no fact.

The SDK reads an unproven state before block 1; here that is refused, since a node that lies could always say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from foedus.client.errors import UnverifiedError
from foedus.client.facts import proven_value
from ledger.application import STATE_VALUE_BYTES_MAX
from ledger.codec import CodecError, Record, decode
from ledger.light import LightProof, LightProofError, StateFact, decode_light_proof

if TYPE_CHECKING:
    from foedus.client.opening import Reached

FactT = TypeVar("FactT", bound=Record)


async def prove(reached: Reached, key: bytes) -> LightProof:
    """Return a checked proof of what the state holds at a key, be it nothing.

    Raises:
        UnverifiedError: it does not hold: the path always, the header's certificate when the genesis document is known.
        NodeRefusedError: the node has none, such as before block 1.
    """
    headers = {"Accept": "application/msgpack"}
    reply = await reached.wire.request("GET", f"/v1/proofs/state/{key.hex()}", headers=headers)
    try:
        proof = decode_light_proof(reply.body)
        await reached.trust.follow(reached.wire, proof.header)
        await reached.trust.follow(reached.wire, proof.header)
        proven_value(reached.trust, key, proof)
    except (CodecError, LightProofError) as error:
        raise UnverifiedError(f"{reached.wire.url} proves the state wrongly: {error}") from error
    return proof


async def proven(reached: Reached, key: bytes, fact_type: type[FactT]) -> FactT | None:
    """Return the record at a key, None when there is none; errors as `prove`."""
    fact = (await prove(reached, key)).fact
    assert isinstance(fact, StateFact), "that was checked"
    value = fact.value
    try:
        return None if value is None else decode(value, fact_type, bytes_max=STATE_VALUE_BYTES_MAX)
    except CodecError as error:
        raise UnverifiedError(f"the state holds something else than a {fact_type.__name__}: {error}") from error
