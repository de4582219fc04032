"""Execution of blocks. One law: the proposer, the validators and the auditor run this same code.

A transaction whose encoding, size, signature or nonce is wrong makes the whole block invalid: no honest proposer
includes it. One that the application refuses stays in the block, uses up its nonce and gets a receipt that names the
reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.application import Application, BlockContext, Overlay, RefusalError, StateReader
from ledger.block import Block, Header
from ledger.codec import CodecError, decode, encode
from ledger.digest import Digest
from ledger.fields import Height
from ledger.merkle import merkle_root
from ledger.parameters import ConsensusParameters
from ledger.receipt import DETAIL_CHARACTERS_MAX, OK, Event, Receipt
from ledger.reigns import VALIDATORS_KEY, coming_validators_of, promote, validators_of
from ledger.state_map import StateMap
from ledger.transaction import Transaction, decode_transaction, transaction_id, verify_transaction
from ledger.validators import ValidatorSet

PARAMETERS_KEY: Final = b"ledger/parameters"
_SYSTEM_RECORD_BYTES_MAX: Final = 1 << 20


class InvalidBlockError(ValueError):
    """No honest validator votes for this block."""


class InvalidTransactionError(InvalidBlockError):
    """A transaction may not stand in a block at all."""


@dataclass(frozen=True, slots=True)
class Execution:
    """A block's outcome, before anyone has voted."""

    header: Header
    transactions: tuple[bytes, ...]
    receipts: tuple[Receipt, ...]
    """One a transaction, then the block's own."""

    state: StateMap
    changes: dict[bytes, bytes | None]
    """What differs from the state before; None stands for a removed key."""

    next_validators: ValidatorSet
    """Set that decides the next height."""

    coming_validators: ValidatorSet
    """Set that decides the height after the next."""

    @property
    def block(self) -> Block:
        """The block this is the outcome of."""
        return Block(self.header, self.transactions)


def nonce_key(sender: bytes) -> bytes:
    """State key of the next nonce of `sender`."""
    return b"ledger/nonce/" + sender


def next_nonce(state: StateReader, sender: bytes) -> int:
    """Return the nonce that the sender's next transaction must have."""
    value = state.get(nonce_key(sender))
    return 0 if value is None else int.from_bytes(value, "big")


def parameters_of(state: StateReader) -> ConsensusParameters:
    """Return the consensus parameters in force after `state`."""
    return decode(_system(state, PARAMETERS_KEY), ConsensusParameters, bytes_max=_SYSTEM_RECORD_BYTES_MAX)


def genesis_changes(validators: ValidatorSet, parameters: ConsensusParameters) -> dict[bytes, bytes]:
    """Return what a chain's first state holds before the application adds its own."""
    return {VALIDATORS_KEY: encode(validators), PARAMETERS_KEY: encode(parameters)}


class BlockBuilder:
    """Executes transactions one after the other on top of a state."""

    def __init__(
        self,
        application: Application,
        state: StateMap,
        context: BlockContext,
        *,
        is_verified: Callable[[Digest], bool] = lambda _: False,
    ) -> None:
        """Begin a block.

        Args:
            application: gives transactions their meaning.
            state: after the parent block.
            context: of the block.
            is_verified: tells which transaction ids have had their signature checked already.
        """
        self._application = application
        self._context = context
        self._is_verified = is_verified
        self._state = state
        self._parameters = parameters_of(state)
        self._overlay = Overlay(state)
        self._raws: list[bytes] = []
        self._receipts: list[Receipt] = []
        self._bytes = 0
        promote(self._overlay, context.height)

    def add(self, raw: bytes) -> Receipt:
        """Execute one transaction.

        Raises:
            InvalidTransactionError: it may not stand in this block; the builder is as before.
        """
        identity = transaction_id(raw)
        transaction = self._require_valid(raw, identity)
        inner = Overlay(self._overlay)
        try:
            events = self._application.execute(inner, self._context, transaction)
            receipt = Receipt(identity, OK, "", events)
            self._overlay.keep(inner.changes)
        except RefusalError as refusal:
            receipt = Receipt(identity, refusal.code, refusal.detail[:DETAIL_CHARACTERS_MAX], ())
        self._overlay.put(nonce_key(transaction.sender), (transaction.nonce + 1).to_bytes(8, "big"))
        self._raws.append(raw)
        self._receipts.append(receipt)
        self._bytes += len(raw)
        return receipt

    def finish(self) -> Execution:
        """Carry out what is due at the block's end and return the outcome."""
        context = self._context
        inner = Overlay(self._overlay)
        events: tuple[Event, ...] = self._application.end_block(inner, context)
        self._overlay.keep(inner.changes)
        self._receipts.append(Receipt(context.parent_id, OK, "", events))
        changes = self._overlay.changes
        state = self._state.update(changes)
        next_validators = validators_of(state)
        header = Header(
            chain_id=context.chain_id,
            height=context.height,
            time_ms=context.time_ms,
            parent_id=context.parent_id,
            transactions_root=merkle_root(self._raws),
            state_root=state.root,
            receipts_root=merkle_root([encode(receipt) for receipt in self._receipts]),
            validators_hash=context.validators.hash,
            next_validators_hash=next_validators.hash,
            parameters_hash=self._parameters.hash,
            application_version=self._application.version,
            proposer=context.proposer,
        )
        return Execution(
            header,
            tuple(self._raws),
            tuple(self._receipts),
            state,
            dict(changes),
            next_validators,
            coming_validators_of(state),
        )

    def _require_valid(self, raw: bytes, identity: Digest) -> Transaction:
        limit = self._parameters
        if len(self._raws) >= limit.block_transactions_max or self._bytes + len(raw) > limit.block_bytes_max:
            message = (
                f"a block holds at most {limit.block_transactions_max} transactions and {limit.block_bytes_max} bytes: "
                f"{identity.hex()} does not fit"
            )
            raise InvalidTransactionError(message)
        try:
            transaction = decode_transaction(raw)
        except CodecError as error:
            message = f"transaction {identity.hex()}: {error}"
            raise InvalidTransactionError(message) from error
        expected = next_nonce(self._overlay, transaction.sender)
        if transaction.nonce != expected:
            message = f"transaction {identity.hex()}: nonce must be {expected}, got {transaction.nonce}"
            raise InvalidTransactionError(message)
        if not self._is_verified(identity) and not verify_transaction(self._context.chain_id, transaction):
            message = f"transaction {identity.hex()}: not signed by its sender {transaction.sender.hex()}"
            raise InvalidTransactionError(message)
        return transaction


def execute_block(
    application: Application,
    state: StateMap,
    parent_id: Digest,
    parent_time_ms: int,
    block: Block,
    *,
    is_verified: Callable[[Digest], bool] = lambda _: False,
) -> Execution:
    """Execute a block somebody else built and check every field of its header.

    Args:
        application: gives transactions their meaning.
        state: after the parent block.
        parent_id: the parent's block id, the chain id at height 1.
        parent_time_ms: the parent's time, the genesis time at height 1.
        block: the block to check.
        is_verified: see `BlockBuilder`.

    Raises:
        InvalidBlockError: a transaction is invalid or a header field is not what execution gives.
    """
    header = block.header
    if header.parent_id != parent_id or header.time_ms <= parent_time_ms:
        message = (
            f"block {header.height}: needs parent {parent_id.hex()} and a time after {parent_time_ms}, "
            f"got parent {header.parent_id.hex()} and time {header.time_ms}"
        )
        raise InvalidBlockError(message)
    validators = validators_of(state)
    if header.proposer >= len(validators):
        message = f"block {header.height}: proposer {header.proposer} does not exist among {len(validators)} validators"
        raise InvalidBlockError(message)
    context = BlockContext(
        header.chain_id, Height(header.height), header.time_ms, parent_id, validators, header.proposer
    )
    builder = BlockBuilder(application, state, context, is_verified=is_verified)
    for raw in block.transactions:
        builder.add(raw)
    execution = builder.finish()
    require_same_header(header, execution.header)
    return execution


def require_same_header(claimed: Header, computed: Header) -> None:
    """Check that a header says what execution gives.

    Raises:
        InvalidBlockError: names the first field that differs, with both values.
    """
    for field in Header.__struct_fields__:
        there, here = _shown(claimed, field), _shown(computed, field)
        if there != here:
            message = f"block {claimed.height}: {field} is {there}, execution gives {here}"
            raise InvalidBlockError(message)


def _shown(header: Header, field: str) -> str:
    value: bytes | int = getattr(header, field)
    return value.hex() if isinstance(value, bytes) else str(value)


def _system(state: StateReader, key: bytes) -> bytes:
    value = state.get(key)
    assert value is not None, f"{key!r} is part of every state since genesis"
    return value


def transactions_root(raws: Sequence[bytes]) -> Digest:
    """Return the header field that commits to a block's transactions."""
    return merkle_root(list(raws))
