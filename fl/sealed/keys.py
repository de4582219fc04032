"""Keys that participants deal to sets of validators. One law: a wrong key is somebody's provable fault.

A participant draws one key for each set of n - f validators and commits to each by its hash. What a validator is to
know goes to it in one sealed box (`crypto_box_seal`: X25519, XSalsa20, Poly1305). The box's ephemeral key pair comes
from a seed that the dealer keeps until the setup is over: when a validator complains, the dealer reveals that seed, and
everybody can open this one box and compare it with the hashes. Either the dealer lied or the complainer did; nothing is
learnt that a lying one did not know already.

Keys are ratcheted: a slot's subkey is made from the key at that slot, and so is the next slot's key. Neither way back
can be computed. Who has deleted the keys up to a slot cannot be made to reveal its pads, whatever else is on its disk;
the validators' own box keys serve one setup and are deleted after it, or the boxes on the ledger would bring everything
back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import nacl.bindings
import nacl.exceptions

from fl.sealed.committee import Committee
from ledger.digest import Digest, digest

KEY_BYTES: Final = 32
BOX_OVERHEAD_BYTES: Final = 48
SLOTS_MAX: Final = 1024
"""Most slots that a ring looks ahead of the oldest key it still has."""

_NONCE_BYTES: Final = 24


class SealedKeyError(ValueError):
    """Bytes that should be a key, a seed or a box are not; the message says what was needed."""


class ForgottenSlotError(LookupError):
    """A subkey is asked for whose key has been deleted, or that is too far ahead."""

    def __init__(self, *, slot: int, first: int) -> None:
        super().__init__(f"keys of slots {first}..{first + SLOTS_MAX - 1} can be made, slot {slot} is asked for")
        self.slot = slot
        self.first = first


@dataclass(frozen=True, slots=True)
class Deal:
    """What a participant puts on the ledger at the beginning of an epoch."""

    hashes: tuple[Digest, ...]
    """Commitment to the key of each set, in the order of `Committee.sets`."""

    boxes: tuple[bytes, ...]
    """One a validator: the keys of its sets, in order."""


@dataclass(frozen=True, slots=True)
class Dealt:
    """A deal, and what its dealer keeps: the keys for good, the seeds until the setup is over."""

    deal: Deal
    keys: tuple[bytes, ...]
    seeds: tuple[bytes, ...]


class KeyRing:
    """Keys by dealer and set, at the oldest slot that has not been used up."""

    def __init__(self, keys: Mapping[tuple[int, int], bytes], first: int = 0) -> None:
        """Take keys by (dealer, place of the set) as they are at slot `first`."""
        self._keys = dict(keys)
        self._first = first

    @property
    def first(self) -> int:
        """The oldest slot whose subkeys can still be made."""
        return self._first

    def subkey(self, dealer: int, place: int, slot: int) -> bytes:
        """Return a slot's subkey.

        Raises:
            ForgottenSlotError: the slot is used up, or too far ahead.
        """
        if not self._first <= slot < self._first + SLOTS_MAX:
            raise ForgottenSlotError(slot=slot, first=self._first)
        key = self._keys[dealer, place]
        for _ in range(slot - self._first):
            key = digest("sealed-ratchet", key)
        return digest("sealed-subkey", key)

    def forget(self, slot: int) -> None:
        """Delete what could make the subkeys of all slots up to this one."""
        while self._first <= slot:
            self._keys = {name: digest("sealed-ratchet", key) for name, key in self._keys.items()}
            self._first += 1


def box_keys(seed: bytes) -> tuple[bytes, bytes]:
    """Return a validator's public and secret key for the boxes of one setup.

    Raises:
        SealedKeyError: the seed is not 32 bytes long.
    """
    _require_length("a seed", seed)
    public, secret = nacl.bindings.crypto_box_seed_keypair(seed)
    return public, secret


def commitment(epoch: bytes, dealer: int, place: int, key: bytes) -> Digest:
    """Return the hash by which a dealer commits to the key of a set."""
    return digest("sealed-key", epoch, dealer.to_bytes(8, "big"), place.to_bytes(8, "big"), key)


def deal_keys(
    committee: Committee, epoch: bytes, dealer: int, public_keys: Sequence[bytes], entropy: Sequence[bytes]
) -> Dealt:
    """Return a deal.

    Args:
        committee: the validators.
        epoch: what the keys are for; a deal means nothing in another epoch.
        dealer: the participant's place.
        public_keys: the validators' keys for boxes.
        entropy: 32 random bytes for each set and then for each validator.

    Raises:
        SealedKeyError: too little entropy, or a public key that nothing can be sealed for.
    """
    sets, needed = len(committee.sets), len(committee.sets) + committee.n
    if len(entropy) != needed:
        raise SealedKeyError(f"{needed} times {KEY_BYTES} random bytes are needed, got {len(entropy)}")
    keys, seeds = tuple(entropy[:sets]), tuple(entropy[sets:])
    for key in keys:
        _require_length("a key", key)
    boxes = tuple(
        seal(b"".join(keys[place] for place in committee.sets_of(validator)), public_keys[validator], seed)
        for validator, seed in enumerate(seeds)
    )
    hashes = tuple(commitment(epoch, dealer, place, key) for place, key in enumerate(keys))
    return Dealt(Deal(hashes, boxes), keys, seeds)


def seal(message: bytes, public_key: bytes, seed: bytes) -> bytes:
    """Return what `crypto_box_seal` gives when its ephemeral key pair comes from a seed.

    Raises:
        SealedKeyError: the seed's length, or a public key that nothing can be sealed for.
    """
    ephemeral, secret = box_keys(seed)
    try:
        return ephemeral + nacl.bindings.crypto_box(message, _nonce(ephemeral, public_key), public_key, secret)
    except (nacl.exceptions.CryptoError, ValueError) as error:
        raise SealedKeyError(f"nothing can be sealed for the public key {public_key.hex()}") from error


def opened_by_receiver(box: bytes, public_key: bytes, secret_key: bytes) -> bytes | None:
    """Return what is in a box; None where it is not a box for this key."""
    try:
        message: bytes = nacl.bindings.crypto_box_seal_open(box, public_key, secret_key)
    except (nacl.exceptions.CryptoError, ValueError):
        return None
    return message


def opened_by_seed(box: bytes, public_key: bytes, seed: bytes) -> bytes | None:
    """Return what anybody finds in a box whose seed is known; None where it does not open with it."""
    ephemeral, secret = box_keys(seed)
    if box[:KEY_BYTES] != ephemeral:
        return None
    try:
        nonce = _nonce(ephemeral, public_key)
        message: bytes = nacl.bindings.crypto_box_open(box[KEY_BYTES:], nonce, public_key, secret)
    except (nacl.exceptions.CryptoError, ValueError):
        return None
    return message


def keys_in(
    committee: Committee, epoch: bytes, dealer: int, validator: int, deal: Deal, message: bytes | None
) -> dict[int, bytes] | None:
    """Return a validator's keys by place of the set; None unless every one is what the dealer committed to."""
    places = committee.sets_of(validator)
    if message is None or len(message) != KEY_BYTES * len(places):
        return None
    keys = {place: message[KEY_BYTES * order :][:KEY_BYTES] for order, place in enumerate(places)}
    right = all(commitment(epoch, dealer, place, key) == deal.hashes[place] for place, key in keys.items())
    return keys if right else None


def is_well_formed(committee: Committee, deal: Deal) -> bool:
    """Say whether a deal has a hash for each set and a box of the right length for each validator."""
    lengths = [BOX_OVERHEAD_BYTES + KEY_BYTES * len(committee.sets_of(seat)) for seat in range(committee.n)]
    return len(deal.hashes) == len(committee.sets) and [len(box) for box in deal.boxes] == lengths


def _nonce(ephemeral: bytes, public_key: bytes) -> bytes:
    return blake2b(ephemeral + public_key, digest_size=_NONCE_BYTES).digest()


def _require_length(what: str, data: bytes) -> None:
    if len(data) != KEY_BYTES:
        raise SealedKeyError(f"{what} of {KEY_BYTES} bytes is needed, got {len(data)}")
