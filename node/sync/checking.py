"""Checking what peers sent, in worker threads. One law: an answer is right as a whole or a lie as a whole.

Signatures are most of the work of catching up, and libsodium leaves the interpreter's lock while it checks one: that
is why this runs beside the loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.block import BLOCK_BYTES_MAX, CertifiedBlock
from ledger.certificate import COMMIT, CertificateError, verify_certificate
from ledger.codec import decode
from ledger.digest import Digest
from ledger.execution import transactions_root
from ledger.transaction import decode_transaction, transaction_id, verify_transaction
from ledger.validators import ValidatorSet
from node.sync.sources import FalseAnswerError, NothingThereError
from node.sync.spans import Span

CERTIFIED_BLOCK_BYTES_MAX: Final = BLOCK_BYTES_MAX + 65_536
"""A block with its header and the largest validator set's certificate."""


@dataclass(frozen=True, slots=True)
class CheckedBlock:
    """A block as a peer sent it."""

    certified: CertifiedBlock
    checked_for: Digest | None
    """Hash of the set whose quorum signed it, as checked here; None when the set it names is not known yet."""

    signed: tuple[Digest, ...]
    """Transactions whose signatures have been checked."""

    peer: int = -1
    """Who sent it."""


def check_blocks(
    raws: Sequence[bytes], span: Span, chain_id: Digest, sets: Mapping[Digest, ValidatorSet]
) -> list[CheckedBlock]:
    """Check the blocks that answer for a span.

    Args:
        raws: encoded `CertifiedBlock`s.
        span: what was asked for; fewer blocks are fine.
        chain_id: of the chain.
        sets: validator sets by hash, as far as they are known.

    Raises:
        NothingThereError: there are none.
        CodecError, FalseAnswerError: no honest peer sends this.
    """
    if not raws:
        raise NothingThereError(f"no block at {span.first}")
    if len(raws) > span.last - span.first + 1:
        raise FalseAnswerError(f"{span.last - span.first + 1} blocks were asked for, got {len(raws)}")
    return [_check_block(raw, span.first + number, chain_id, sets) for number, raw in enumerate(raws)]


def _check_block(raw: bytes, height: int, chain_id: Digest, sets: Mapping[Digest, ValidatorSet]) -> CheckedBlock:
    certified = decode(raw, CertifiedBlock, bytes_max=CERTIFIED_BLOCK_BYTES_MAX)
    block, header, certificate = certified.block, certified.block.header, certified.certificate
    if (header.chain_id, header.height) != (chain_id, height):
        raise FalseAnswerError(f"block {height} of chain {chain_id.hex()} was asked for, got block {header.height}")
    if (certificate.height, certificate.block_id) != (height, block.id):
        raise FalseAnswerError(f"block {height}: the certificate is another block's")
    if transactions_root(block.transactions) != header.transactions_root:
        raise FalseAnswerError(f"block {height}: the transactions are not those of the header")
    validators = sets.get(header.validators_hash)
    if validators is None:
        return CheckedBlock(certified, None, ())
    try:
        verify_certificate(chain_id, COMMIT, validators, certificate)
    except CertificateError as error:
        raise FalseAnswerError(str(error)) from error
    return CheckedBlock(certified, header.validators_hash, _signed(chain_id, block.transactions))


def _signed(chain_id: Digest, raws: Sequence[bytes]) -> tuple[Digest, ...]:
    """Return the ids of a certified block's transactions whose signature holds; execution judges the others."""
    return tuple(transaction_id(raw) for raw in raws if verify_transaction(chain_id, decode_transaction(raw)))
