"""Blocks: transactions in their agreed order and what they led to. One law: a block's identity is its header's.

The header excludes the view, votes and certificates, so that a block proposed again after a view change is still the
same block.
"""

from __future__ import annotations

from typing import Final

from ledger.certificate import QuorumCertificate
from ledger.codec import Record, encode
from ledger.digest import Digest, digest
from ledger.fields import DigestField, HeightField, TimeField, Uint

BLOCK_BYTES_MAX: Final = 900_000
"""Encoded size of a block's transactions together, so that a proposal fits one network frame of 1 MiB."""

BLOCK_TRANSACTIONS_MAX: Final = 4_096


class Header(Record):
    """What a quorum signs, and all that a light client needs."""

    chain_id: DigestField
    height: HeightField
    time_ms: TimeField
    """The proposer's clock, at least one millisecond after the parent's."""

    parent_id: DigestField
    """Block id of the height before; the chain id at height 1."""

    transactions_root: DigestField
    state_root: DigestField
    """Root of the state after this block."""

    receipts_root: DigestField
    validators_hash: DigestField
    """Set that decides this height."""

    next_validators_hash: DigestField
    """Set that decides the next height."""

    parameters_hash: DigestField
    """Consensus parameters in force."""

    application_version: Uint
    proposer: Uint
    """Index of the validator that proposed it first."""


class Block(Record):
    """A header and the raw transactions it stands for."""

    header: Header
    transactions: tuple[bytes, ...]

    @property
    def id(self) -> Digest:
        """The block's identity."""
        return block_id(self.header)

    @property
    def height(self) -> HeightField:
        """Short for the header's."""
        return self.header.height


class CertifiedBlock(Record):
    """A block and the commit certificate that made it final."""

    block: Block
    certificate: QuorumCertificate


def block_id(header: Header) -> Digest:
    """Return the digest that identifies the block with this header."""
    return digest("block", encode(header))
