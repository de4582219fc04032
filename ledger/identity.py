"""Identities: Ed25519 keys that sign under a domain. One law: nobody signs a bare hash.

libsodium (through PyNaCl) is the only implementation of Ed25519 in the project, so that every node takes the
same signatures for valid: it refuses non-canonical scalars and points of small order.
"""

from __future__ import annotations

from typing import Final, NewType, Protocol

import nacl.bindings
import nacl.exceptions

from ledger.digest import Digest, digest

PublicKey = NewType("PublicKey", bytes)
"""32 bytes."""

Signature = NewType("Signature", bytes)
"""64 bytes."""

PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
SEED_BYTES: Final = 32
NO_SIGNATURE: Final = Signature(bytes(SIGNATURE_BYTES))


class InvalidKeyError(ValueError):
    """The bytes are not a usable Ed25519 key."""


class SigningKey:
    """A secret key; the bytes to keep are `seed`."""

    __slots__ = ("_secret", "public_key", "seed")

    def __init__(self, seed: bytes) -> None:
        """Derive the key pair of a 32-byte seed.

        Raises:
            InvalidKeyError: the seed has another length.
        """
        if len(seed) != SEED_BYTES:
            message = f"a signing key's seed has {SEED_BYTES} bytes, got {len(seed)}"
            raise InvalidKeyError(message)
        public, secret = nacl.bindings.crypto_sign_seed_keypair(seed)
        self.seed: Final = seed
        self.public_key: Final = PublicKey(public)
        self._secret: Final = secret

    def sign(self, domain: str, chain_id: Digest, message: bytes) -> Signature:
        """Sign `message` as a `domain` of the chain `chain_id`."""
        signed = nacl.bindings.crypto_sign(signing_input(domain, chain_id, message), self._secret)
        return Signature(signed[:SIGNATURE_BYTES])

    def __repr__(self) -> str:
        """Show whose key it is, never the secret."""
        return f"SigningKey(public_key={self.public_key.hex()})"


class Signer(Protocol):
    """Whatever signs as `SigningKey` does, wherever the secret is."""

    @property
    def public_key(self) -> PublicKey:
        """Whose signatures these are."""
        ...

    def sign(self, domain: str, chain_id: Digest, message: bytes) -> Signature:
        """Sign `message` as a `domain` of the chain `chain_id`."""
        ...


def signing_input(domain: str, chain_id: Digest, message: bytes) -> bytes:
    """Return the 32 bytes that are signed: the tagged digest of domain, chain and message."""
    return digest("sign", domain.encode("ascii"), chain_id, message)


def verify(public_key: bytes, domain: str, chain_id: Digest, message: bytes, signature: bytes) -> bool:
    """Tell whether `signature` is `public_key`'s over `message` in this domain and chain."""
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + signing_input(domain, chain_id, message), public_key)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def require_public_key(key: bytes) -> PublicKey:
    """Return `key` when it may be registered.

    Raises:
        InvalidKeyError: wrong length, not a point of the prime-order group, or of small order.
    """
    if len(key) != PUBLIC_KEY_BYTES:
        message = f"a public key has {PUBLIC_KEY_BYTES} bytes, got {len(key)}"
        raise InvalidKeyError(message)
    if not nacl.bindings.crypto_core_ed25519_is_valid_point(key):
        message = f"{key.hex()} is not a point of Ed25519's prime-order group: generate a new key"
        raise InvalidKeyError(message)
    return PublicKey(key)
