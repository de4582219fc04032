"""Payloads: updates and models, which travel beside the chain. One law: "have" means "can produce the bytes".

A payload is a 32-byte salt and a body, cut into chunks under a Merkle root. A validator acknowledges one only after
every chunk is verified and on disk; a quorum of equal acknowledgements is the availability certificate with which a
transaction may name it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from msgspec import Meta

from ledger.certificate import Seal, sign_statement, verify_statements
from ledger.codec import Record, encode
from ledger.digest import Digest, digest
from ledger.fields import DigestField
from ledger.identity import SigningKey
from ledger.merkle import leaf_hash, root_of_hashes
from ledger.validators import ValidatorSet

SALT_BYTES: Final = 32
CHUNK_BYTES: Final = 1 << 20
PAYLOAD_BYTES_MAX: Final = 4 << 30

Verdict = Literal["ok", "malformed", "out_of_range"]
"""What the content check of the body says; the same on every node, since it depends on the bytes alone."""


class PayloadDescriptor(Record):
    """Names a payload so that every chunk of it can be checked."""

    size: Annotated[int, Meta(ge=SALT_BYTES, le=PAYLOAD_BYTES_MAX)]
    """Bytes, salt included."""

    root: DigestField
    """`ledger.merkle` root over its chunks."""

    @property
    def chunk_count(self) -> int:
        """How many chunks of `CHUNK_BYTES` it has; the last may be shorter."""
        return -(-self.size // CHUNK_BYTES)

    @property
    def id(self) -> Digest:
        """The payload's identity."""
        return digest("payload", encode(self))


class Acknowledgement(Record):
    """A validator's word that it keeps a payload and what its content check said."""

    payload: PayloadDescriptor
    verdict: Verdict


class AvailabilityCertificate(Record):
    """A quorum acknowledged the same payload with the same verdict."""

    acknowledgement: Acknowledgement
    seals: tuple[Seal, ...]


def chunks_of(payload: bytes) -> Iterator[bytes]:
    """Cut a payload held in memory into its chunks."""
    for start in range(0, len(payload), CHUNK_BYTES):
        yield payload[start : start + CHUNK_BYTES]


def chunk_hashes(payload: bytes | bytearray | memoryview) -> list[Digest]:
    """Return the leaf hash of each chunk of a payload held in memory, without copying it."""
    view = memoryview(payload)
    return [leaf_hash(view[start : start + CHUNK_BYTES]) for start in range(0, len(view), CHUNK_BYTES)]


def describe(payload: bytes | bytearray | memoryview) -> PayloadDescriptor:
    """Return the descriptor of a payload held in memory."""
    return PayloadDescriptor(len(payload), root_of_hashes(chunk_hashes(payload)))


def sign_acknowledgement(
    key: SigningKey, chain_id: Digest, validators: ValidatorSet, acknowledgement: Acknowledgement
) -> Seal:
    """Acknowledge a payload; only after every chunk has been verified and fsynced."""
    return sign_statement(key, "acknowledgement", chain_id, validators, encode(acknowledgement))


def verify_availability(chain_id: Digest, validators: ValidatorSet, certificate: AvailabilityCertificate) -> None:
    """Check that a quorum keeps the payload.

    Raises:
        CertificateError: too few, unordered or wrong signatures.
    """
    verify_statements("acknowledgement", chain_id, validators, encode(certificate.acknowledgement), certificate.seals)
