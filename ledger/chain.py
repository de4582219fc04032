"""Verification of a chain by a stranger. One law: what was not recomputed is not believed.

Whoever has the genesis document, the blocks with their certificates and this package checks everything: parents and
times, the certificate of each block against the validator set *of its height*, and every field of every header by
executing the block. The first thing that is not as it should be is named: height, and transaction where there is one.

`verify_headers` checks the certificates alone, without the blocks' transactions: enough to trust a state root when
a quorum is trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ledger.application import Application, BlockContext
from ledger.block import Block, CertifiedBlock, Header, block_id
from ledger.certificate import COMMIT, CertificateError, QuorumCertificate, verify_certificate
from ledger.codec import Record
from ledger.digest import Digest
from ledger.execution import (
    BlockBuilder,
    Execution,
    InvalidBlockError,
    InvalidTransactionError,
    require_same_header,
)
from ledger.fields import Height
from ledger.reigns import validators_of
from ledger.state_map import StateMap
from ledger.transaction import transaction_id
from ledger.validators import ValidatorSet


class ChainDifferenceError(ValueError):
    """A chain is not what it claims to be, and from here on nothing of it can be believed."""

    def __init__(
        self, reason: str, *, height: int, index: int | None = None, transaction: Digest | None = None
    ) -> None:
        """Name the first difference.

        Args:
            reason: what was needed and what came.
            height: block where it is.
            index: place of the transaction in the block, when it is one transaction's.
            transaction: its id.
        """
        place = f"block {height}"
        if index is not None and transaction is not None:
            place += f", transaction {index} ({transaction.hex()})"
        super().__init__(f"{place}: {reason}")
        self.reason = reason
        self.height = height
        self.index = index
        self.transaction = transaction


class CertifiedHeader(Record):
    """A block without its transactions, and the commit certificate that made it final."""

    header: Header
    certificate: QuorumCertificate


@dataclass(frozen=True, slots=True)
class Anchor:
    """A point from which a chain is followed: genesis, or a block that is trusted already."""

    chain_id: Digest
    height: Height
    block_id: Digest
    """Parent id of the next block: the chain id at height 0."""

    time_ms: int
    validators: ValidatorSet
    """Set that decides the next height."""


@dataclass(frozen=True, slots=True)
class VerifiedBlock:
    """A block that is as it should be, and what executing it gave."""

    certified: CertifiedBlock
    execution: Execution


def genesis_anchor(chain_id: Digest, time_ms: int, state: StateMap) -> Anchor:
    """Return where every chain begins.

    Args:
        chain_id: digest of the genesis document.
        time_ms: its time.
        state: before block 1.
    """
    return Anchor(chain_id, Height(0), chain_id, time_ms, validators_of(state))


def verify_chain(
    anchor: Anchor, state: StateMap, application: Application, blocks: Iterable[CertifiedBlock]
) -> Iterator[VerifiedBlock]:
    """Check blocks one after the other, executing each; yields those that are right.

    Args:
        anchor: what the first block must follow.
        state: after the anchor.
        application: gives transactions their meaning.
        blocks: ascending from the height after the anchor.

    Raises:
        ChainDifferenceError: at the first block that is not as it should be.
    """
    for certified in blocks:
        execution = verify_block(anchor, state, application, certified)
        yield VerifiedBlock(certified, execution)
        header = certified.block.header
        anchor = _after(anchor, header, execution.next_validators)
        state = execution.state


def verify_block(anchor: Anchor, state: StateMap, application: Application, certified: CertifiedBlock) -> Execution:
    """Check one block on top of what has been checked before, and return what executing it gives.

    Raises:
        ChainDifferenceError: it is not as it should be.
    """
    header = certified.block.header
    _require_next(anchor, header)
    try:
        execution = _execute(anchor, state, application, certified.block)
        require_same_header(header, execution.header)
    except InvalidBlockError as error:
        raise ChainDifferenceError(_without_place(str(error)), height=header.height) from error
    _require_certificate(anchor, header, certified.certificate)
    return execution


def verify_headers(
    anchor: Anchor,
    headers: Iterable[CertifiedHeader],
    set_of: Callable[[Digest], ValidatorSet | None],
    *,
    is_signed: Callable[[CertifiedHeader], bool] = lambda _: False,
) -> Iterator[Anchor]:
    """Check headers one after the other by their certificates alone; yields the new anchor after each.

    Args:
        anchor: what the first header must follow.
        headers: ascending from the height after the anchor.
        set_of: gives the validator set with a hash, or None; asked when the set changes. Whoever answers need not be
            trusted.
        is_signed: tells which headers have had their certificate checked for the set that they name themselves.

    Raises:
        ChainDifferenceError: at the first header that is not as it should be.
    """
    for certified in headers:
        header = certified.header
        _require_next(anchor, header)
        if not is_signed(certified):
            _require_certificate(anchor, header, certified.certificate)
        anchor = _after(anchor, header, _next_set(anchor, header, set_of))
        yield anchor


def _require_next(anchor: Anchor, header: Header) -> None:
    facts: tuple[tuple[str, bytes | int, bytes | int], ...] = (
        ("chain_id", anchor.chain_id, header.chain_id),
        ("height", anchor.height + 1, header.height),
        ("parent_id", anchor.block_id, header.parent_id),
        ("validators_hash", anchor.validators.hash, header.validators_hash),
    )
    for name, needed, found in facts:
        if found != needed:
            reason = f"{name} must be {_shown(needed)}, got {_shown(found)}"
            raise ChainDifferenceError(reason, height=anchor.height + 1)
    if header.time_ms <= anchor.time_ms:
        reason = f"time_ms must be after the parent's {anchor.time_ms}, got {header.time_ms}"
        raise ChainDifferenceError(reason, height=header.height)
    if header.proposer >= len(anchor.validators):
        reason = f"proposer {header.proposer} does not exist among {len(anchor.validators)} validators"
        raise ChainDifferenceError(reason, height=header.height)


def _require_certificate(anchor: Anchor, header: Header, certificate: QuorumCertificate) -> None:
    identity = block_id(header)
    if certificate.block_id != identity or certificate.height != header.height:
        reason = (
            f"the certificate must be for block {identity.hex()} at height {header.height}, it is for "
            f"{certificate.block_id.hex()} at height {certificate.height}"
        )
        raise ChainDifferenceError(reason, height=header.height)
    try:
        verify_certificate(anchor.chain_id, COMMIT, anchor.validators, certificate)
    except CertificateError as error:
        raise ChainDifferenceError(str(error), height=header.height) from error


def _execute(anchor: Anchor, state: StateMap, application: Application, block: Block) -> Execution:
    """Execute a block like `ledger.execution.execute_block`, naming the transaction that cannot be."""
    header = block.header
    context = BlockContext(
        anchor.chain_id, Height(header.height), header.time_ms, anchor.block_id, anchor.validators, header.proposer
    )
    builder = BlockBuilder(application, state, context)
    for index, raw in enumerate(block.transactions):
        try:
            builder.add(raw)
        except InvalidTransactionError as error:
            raise ChainDifferenceError(
                _without_place(str(error)), height=header.height, index=index, transaction=transaction_id(raw)
            ) from error
    return builder.finish()


def _next_set(anchor: Anchor, header: Header, set_of: Callable[[Digest], ValidatorSet | None]) -> ValidatorSet:
    if header.next_validators_hash == anchor.validators.hash:
        return anchor.validators
    following = set_of(header.next_validators_hash)
    if following is None or following.hash != header.next_validators_hash:
        reason = f"the validator set {header.next_validators_hash.hex()} of the next height is needed to go on"
        raise ChainDifferenceError(reason, height=header.height)
    return following


def _after(anchor: Anchor, header: Header, validators: ValidatorSet) -> Anchor:
    return Anchor(anchor.chain_id, Height(header.height), block_id(header), header.time_ms, validators)


def _without_place(message: str) -> str:
    """Drop the `block 7: ` or `transaction ...: ` that the error itself says again."""
    place, colon, rest = message.partition(": ")
    return rest if colon and place.startswith(("block ", "transaction ")) else message


def _shown(value: bytes | int) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
