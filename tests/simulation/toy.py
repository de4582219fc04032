"""A chain small enough to see through: the state is a digest of everything so far."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.block import Block, Header
from ledger.digest import Digest, digest
from ledger.execution import transactions_root
from ledger.fields import Height
from ledger.identity import SigningKey
from ledger.parameters import ConsensusParameters
from ledger.validators import Validator, ValidatorSet

CHAIN_ID = digest("genesis", b"simulation")
PARAMETERS = ConsensusParameters(
    view_timeout_ms=500, view_timeout_ms_max=4_000, resend_ms=200, clock_drift_ms_max=5_000
)
GENESIS_TIME_MS = 1_000_000
TRANSACTIONS_MAX = 3
INVALID = b"invalid"
"""A transaction that no block may contain."""


def signing_keys(n: int) -> list[SigningKey]:
    """Return the validators' keys."""
    return [SigningKey(digest("test-key", bytes([index]))) for index in range(n)]


def validator_set(keys: list[SigningKey]) -> ValidatorSet:
    """Return the set in which validator number i owns key number i."""
    return ValidatorSet.of(
        tuple(
            Validator(f"v{index:03}", key.public_key, SigningKey(digest("test-tls", bytes([index]))).public_key, "")
            for index, key in enumerate(keys)
        )
    )


@dataclass(frozen=True, slots=True)
class Tip:
    """What the next block stands on."""

    height: Height
    block_id: Digest
    time_ms: int
    state: Digest


GENESIS = Tip(Height(0), CHAIN_ID, GENESIS_TIME_MS, digest("toy"))


def build(tip: Tip, transactions: tuple[bytes, ...], time_ms: int, validators: ValidatorSet, proposer: int) -> Block:
    """Return the block of these transactions on `tip`."""
    root = transactions_root(transactions)
    header = Header(
        CHAIN_ID,
        Height(tip.height + 1),
        max(time_ms, tip.time_ms + 1),
        tip.block_id,
        root,
        digest("toy", tip.state, root),
        digest("toy-receipts", root),
        validators.hash,
        validators.hash,
        PARAMETERS.hash,
        1,
        proposer,
    )
    return Block(header, transactions)


def why_invalid(tip: Tip, block: Block, validators: ValidatorSet, now_ms: int | None) -> str:
    """Return what is wrong with a block, or nothing; `now_ms` is None when its time is not to be checked."""
    if INVALID in block.transactions:
        return "contains an invalid transaction"
    header = block.header
    if header.time_ms <= tip.time_ms:
        return "is not later than its parent"
    if block != build(tip, block.transactions, header.time_ms, validators, header.proposer):
        return "has a header that execution does not give"
    if now_ms is not None and abs(header.time_ms - now_ms) > PARAMETERS.clock_drift_ms_max:
        return "is too far from the clock"
    return ""


def after(block: Block) -> Tip:
    """Return the tip that a block becomes."""
    return Tip(Height(block.header.height), block.id, block.header.time_ms, block.header.state_root)
