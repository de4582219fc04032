"""Transactions: what a member of the consortium says to the chain, signed. One law: the received bytes are what counts.

A transaction is identified, stored and hashed by the bytes that were received, which decoding has shown to be the only
encoding of their content.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from ledger.codec import Record, decode, encode
from ledger.digest import Digest, digest
from ledger.fields import NameField, PublicKeyField, SignatureField, Uint
from ledger.identity import SigningKey, verify

TRANSACTION_BYTES_MAX: Final = 262_144
"""Encoded size; a transaction names payloads, it does not carry them."""


class Transaction(Record):
    """One signed statement, of a kind that the application knows."""

    kind: NameField
    """What is said, such as `update` or `task.propose`."""

    sender: PublicKeyField
    """Who says it."""

    nonce: Uint
    """How many transactions of this sender came before: 0, 1, 2, ... without gaps."""

    payload: Annotated[bytes, Meta(max_length=TRANSACTION_BYTES_MAX)]
    """Canonical encoding of the record that belongs to `kind`."""

    signature: SignatureField
    """The sender's, over everything above, in domain `transaction`."""


def sign_transaction(key: SigningKey, chain_id: Digest, kind: str, nonce: int, payload: Record) -> Transaction:
    """Return the transaction in which `key` says `payload`."""
    content = encode(payload)
    signature = key.sign("transaction", chain_id, _signed_content(kind, key.public_key, nonce, content))
    return Transaction(kind, key.public_key, nonce, content, signature)


def decode_transaction(raw: bytes) -> Transaction:
    """Return the transaction in `raw`.

    Raises:
        CodecError: too long, malformed or not canonical.
    """
    return decode(raw, Transaction, bytes_max=TRANSACTION_BYTES_MAX)


def verify_transaction(chain_id: Digest, transaction: Transaction) -> bool:
    """Tell whether the sender signed it for this chain."""
    content = _signed_content(transaction.kind, transaction.sender, transaction.nonce, transaction.payload)
    return verify(transaction.sender, "transaction", chain_id, content, transaction.signature)


def transaction_id(raw: bytes) -> Digest:
    """Return the digest that identifies the transaction with these bytes."""
    return digest("transaction", raw)


def _signed_content(kind: str, sender: bytes, nonce: int, payload: bytes) -> bytes:
    return encode((kind, sender, nonce, payload))
